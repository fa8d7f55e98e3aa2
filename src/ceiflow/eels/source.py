"""What a fit needs of one calibrated acquisition, read once: axes, noise, window, low-loss counts."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ceiflow.eels import low_loss as ll
from ceiflow.eels.batch import BATCH
from ceiflow.eels.cross_sections import CrossSection, Setting, read_edges, setting_of
from ceiflow.eels.design import elements_in_view
from ceiflow.eels.fit import Noise
from ceiflow.eels.table import chosen_edges
from ceiflow.eels.window import usable_window
from ceiflow.eels.zero_loss import find_zero_loss
from ceiflow.errors import SignalError
from ceiflow.signals.store import Header, SignalFile, open_signal, read_dead, read_header


def fixed_batches(signal: SignalFile, block_pixels: int) -> Iterator[tuple[slice, np.ndarray]]:
    """Spectra in C order, always `BATCH` at a time, read `block_pixels` at a time.

    Sums over these batches come out the same to the last bit however much is read at once.
    """
    rest: list[np.ndarray] = []
    held, start = 0, 0
    for _, block in signal.blocks(max(int(block_pixels), 1)):
        rest.append(block)
        held += block.shape[0]
        if held < BATCH:
            continue
        joined = np.concatenate(rest) if len(rest) > 1 else rest[0]
        whole = held // BATCH * BATCH
        for first in range(0, whole, BATCH):
            yield slice(start, start + BATCH), joined[first : first + BATCH]
            start += BATCH
        held -= whole
        rest = [joined[whole:]] if held else []
    if held:
        joined = np.concatenate(rest) if len(rest) > 1 else rest[0]
        yield slice(start, start + held), joined


def sums_by_label(spectra: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Labels that occur, and the sum of the spectra of each: (k,) and (k, n) arrays.

    Gathered first and summed then, which is several times as fast as a product with an indicator matrix or
    `np.add.reduceat`.
    """
    order = np.argsort(labels, kind="stable")
    found, starts = np.unique(labels[order], return_index=True)
    ordered, ends = spectra[order], [*starts[1:], labels.size]
    sums = np.empty((found.size, spectra.shape[1]))
    for index, (first, last) in enumerate(zip(starts, ends, strict=True)):
        sums[index] = np.add.reduce(ordered[first:last], axis=0)
    return found, sums


def sampled_sum(signal: SignalFile, live: np.ndarray | None = None) -> tuple[np.ndarray, int]:
    """Sum of the spectra of evenly spaced rows, at least `SAMPLE_PIXELS` or all, and how many they are.

    Parameters
    ----------
    signal : SignalFile
    live : (p,) bool array, optional
        Pixels that hold a measurement; only these are counted.
    """
    rows, columns, channels = signal.shape
    summed, number = np.zeros(channels), 0
    for where, spectra in signal.blocks(BATCH, max(rows * columns // SAMPLE_PIXELS, 1)):
        summed += spectra.sum(0)
        number += spectra.shape[0] if live is None else int(live[where].sum())
    return summed, number


MIN_CHANNELS = 40
# So many spectra tell where the window ends, where the zero loss is and how the mean spectrum looks.
SAMPLE_PIXELS = 8192
#: How notes say that the low loss is not of the same pixels.
ONE_FOR_ALL = "one low loss stands for all pixels"


@dataclass
class LowLoss:
    """Low-loss counts of every pixel of the core loss.

    Parameters
    ----------
    energy_eV : (n,) array
    shared : bool
        One spectrum stands for all pixels.
    split_eV, dark, missing : float
        Between zero loss and inelastic; per channel; share of inelastic counts beyond the range.
    zero_loss, total : (p,) array
        Counts; one number repeated where `shared`.
    thickness, thickness_se : (p,) array
        t/lambda; NaN without counts.
    """

    signal: SignalFile
    energy_eV: np.ndarray
    shared: bool
    split_eV: float
    dark: float
    missing: float
    zero_loss: np.ndarray
    total: np.ndarray
    thickness: np.ndarray
    thickness_se: np.ndarray


@dataclass
class Source:
    """A calibrated acquisition, ready to be fitted.

    `elements` are those that can be answered for; `modelled` begins with them and goes on with edges that are
    in view but too close to its ends. `mean` is the mean spectrum of a sample on the channels of the fit,
    without the dark level. `live` (p,) are the pixels that hold a measurement; `noise_label` says what errors
    rest on.
    """

    header: Header
    core: SignalFile
    low: LowLoss | None
    noise: Noise
    setting: Setting
    sections: dict[str, CrossSection]
    energy_eV: np.ndarray
    channels: slice
    elements: list[str]
    modelled: list[str]
    mean: np.ndarray
    reasons: dict[str, str]
    exposure_ratio: float | None
    config: Mapping[str, Any]
    live: np.ndarray
    noise_label: str = "Poisson assumed"
    notes: list[str] = field(default_factory=list)

    @property
    def pixels(self) -> int:
        return self.core.shape[0] * self.core.shape[1]

    def density_reason(self) -> str:
        """Why areal densities cannot be told at all; empty where they can."""
        if not self.setting.known:
            return f"unknown: {', '.join(self.setting.missing)} (edge shapes only, no cross-sections)"
        if self.low is None:
            return "no low loss: the number of incident electrons is unknown"
        if self.exposure_ratio is None:
            return "exposures unknown: core and low loss cannot be put on one scale"
        return ""

    def fraction_reason(self) -> str:
        """Why ratios of elements cannot be told at all."""
        if not self.setting.known:
            return f"unknown: {', '.join(self.setting.missing)} (cross-section ratios depend on it)"
        return ""


def read_noise(header: Header, config: Mapping[str, Any]) -> tuple[Noise, str]:
    """Noise of the detector, and what it rests on.

    By the configuration, Poisson counts where that says nothing; where the spectra scatter otherwise beyond
    their error (`ceiflow.eels.detector`), by what they show.
    """
    detector = config.get("detector", {})
    noise = Noise(
        float(detector.get("gain", 1.0) or 1.0),
        float(detector.get("read_noise", 0.0) or 0.0),
        float(detector.get("dark", 0.0) or 0.0),
    )
    shown = json.loads(header.attributes.get("calibration", "{}")).get("detector")
    if not shown:
        return noise, "Poisson assumed"
    if shown["contradicts"]:
        noise = Noise(float(shown["gain"]), float(shown["read_noise"]), noise.dark)
    return noise, str(shown["label"])


def with_point_spread(
    sections: Mapping[str, CrossSection], spread_channels: float, core_step: float, low_step: float | None
) -> dict[str, CrossSection]:
    """Cross-sections blurred by what of the detector's point spread no low loss brings along.

    A low loss of the same detector has the spread in its zero loss already, on its own channels; what is
    missing is the difference of the two, squared, and all of it where there is no low loss.

    Parameters
    ----------
    sections : mapping of str to CrossSection
    spread_channels : float
        Channels, 1 sigma.
    core_step, low_step : float, float or None
        Widths of a channel, in eV.
    """
    variance = spread_channels**2 * max(core_step**2 - (low_step or 0.0) ** 2, 0.0)
    if not variance > 0:
        return dict(sections)
    from scipy.ndimage import gaussian_filter1d

    width = float(np.sqrt(variance))
    step = min(0.1, width / 4)
    blurred = {}
    for name, section in sections.items():
        # The jump at the onset reaches below it now.
        grid = np.arange(section.energy_eV[0] - 6 * width, section.energy_eV[-1], step)
        curves = {
            key: gaussian_filter1d(
                replace(section, values_nm2_per_eV=curve)(grid), width / step, mode="nearest"
            )
            for key in ("values_nm2_per_eV", "second_nm2_per_eV", "deepest_nm2_per_eV")
            if (curve := getattr(section, key)) is not None
        }
        blurred[name] = replace(section, energy_eV=grid, **curves)
    return blurred


def axis_notes(header: Header, options: Mapping[str, Any]) -> list[str]:
    """What is suspicious about the axis that calibration left: a dispersion beyond the configured search."""
    factor = float(json.loads(header.attributes.get("calibration", "{}")).get("dispersion_factor") or 1.0)
    largest = float((options.get("energy") or {}).get("max_dispersion_error", 0.05))
    if abs(factor - 1) <= largest:
        return []
    return [f"dispersion factor {factor:.3f} is beyond eels.energy.max_dispersion_error {largest:g}"]


def open_source(calibrated: Path, edges: Path, config: Mapping[str, Any]) -> Source:
    """Open a calibrated file with all that quantification needs to know beforehand.

    Parameters
    ----------
    calibrated, edges : Path
        Files of `calibrate` and `edges`.
    config : mapping
    """
    header = read_header(calibrated)
    core = open_signal(calibrated, "core_loss")
    options = config["eels"]
    noise, noise_label = read_noise(header, config)
    block = int(options["fit"].get("block_pixels") or 1024)
    energy = core.energy_eV
    low, notes = None, []
    if "low_loss" in header.roles:
        low, note = _open_low_loss(calibrated, core, noise, options, block)
        notes += [note] if note else []
    dead = read_dead(calibrated)
    live = np.ones(core.shape[0] * core.shape[1], bool) if dead is None else ~dead.ravel()
    mean, number = sampled_sum(core, live)
    mean = mean / max(number, 1) - noise.dark
    start, stop = usable_window(energy, mean)
    if options["fit"].get("start_eV") is not None:
        start = float(options["fit"]["start_eV"])
    if options["fit"].get("stop_eV") is not None:
        stop = float(options["fit"]["stop_eV"])
    chosen = np.flatnonzero((energy >= start - 1e-9) & (energy <= stop + 1e-9))
    if chosen.size < MIN_CHANNELS:
        window = f"{chosen.size} channels between {start:.0f} and {stop:.0f} eV"
        raise SignalError(header.acquisition_id, "core_loss energy range", window, f"at least {MIN_CHANNELS}")
    channels = slice(int(chosen[0]), int(chosen[-1]) + 1)
    setting = setting_of(header.metadata)
    notes += axis_notes(header, options)
    table = chosen_edges(list(options["elements"]))
    elements, reasons, shown = elements_in_view(table, start, stop)
    times = [header.metadata.get(name) for name in ("exposure_s", "low_loss_exposure_s")]
    known = all(item is not None and item.value for item in times)
    ratio = float(times[0].value / times[1].value) if known else None
    sections = read_edges(edges, setting, list(table))
    for element in [name for name in elements if not np.any(sections[name].values_nm2_per_eV)]:
        elements.remove(element)
        reasons[element] = f"no cross-section of {table[element].name.replace('_', ' ')} in this source"
    shown = [name for name in shown if np.any(sections[name].values_nm2_per_eV)]
    spread = float(config.get("detector", {}).get("point_spread", 0.0) or 0.0)
    low_step = None if low is None else low.signal.energy_scale_eV
    sections = with_point_spread(sections, spread, core.energy_scale_eV, low_step)
    return Source(
        header=header,
        core=core,
        low=low,
        noise=noise,
        setting=setting,
        sections=sections,
        energy_eV=energy[channels],
        channels=channels,
        elements=elements,
        modelled=elements + shown,
        mean=mean[channels],
        reasons=reasons,
        exposure_ratio=ratio,
        config=config,
        live=live,
        noise_label=noise_label,
        notes=notes,
    )


def _open_low_loss(
    calibrated: Path, core: SignalFile, noise: Noise, options: Mapping[str, Any], block: int
) -> tuple[LowLoss | None, str]:
    signal = open_signal(calibrated, "low_loss")
    energy = signal.energy_eV
    summed, number = sampled_sum(signal)
    peak = find_zero_loss(energy, summed, float(options["energy"]["max_offset_eV"]))
    if peak is None:
        return None, "the low loss holds no zero loss: not used"
    energy = energy - peak.position_eV if abs(peak.position_eV) > 0.5 else energy
    dark = ll.dark_level(energy, summed / number, peak.fwhm_eV, noise.dark)
    split = ll.split_energy(energy, summed - dark * number, peak.fwhm_eV)
    same = signal.shape[:2] == core.shape[:2]
    pixels = core.shape[0] * core.shape[1]
    note = ""
    if same:
        zero, total = np.empty(pixels), np.empty(pixels)
        for where, batch in fixed_batches(signal, block):
            zero[where], total[where] = ll.zero_loss_and_total(energy, batch - np.float32(dark), split)
    else:
        one = ll.zero_loss_and_total(energy, summed / number - dark, split)
        zero, total = np.full(pixels, one[0]), np.full(pixels, one[1])
        note = f"{ONE_FOR_ALL}: plural scattering and incident current are its"
    missing = ll.missing_tail(energy, summed - dark * number, split)
    value, error = ll.thickness_over_mfp(zero, total, noise.gain, missing)
    return LowLoss(signal, energy, not same, split, max(dark, 0.0), missing, zero, total, value, error), note


def to_json(value: Any) -> str:
    """JSON with sorted keys, for attributes that have to be byte-identical."""
    return json.dumps(value, sort_keys=True)
