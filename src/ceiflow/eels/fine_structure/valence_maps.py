"""Maps of L3/L2, of the position of L3 and of valence, by bins that are as small as counts allow.

L3 and L2 above their steps are sums over channels of a spectrum, each with its own factor, once background
exponent, line positions and plural scattering are those of the particle as a whole. So both, their variances
and their covariance are known pixel by pixel, and add up. The image is cut by them into rectangles that know
the ratio well enough; each rectangle's spectrum is then read by the recipe of `white_lines`, as a zone is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ceiflow.eels import low_loss as ll
from ceiflow.eels.adaptive import cut_bins, pool
from ceiflow.eels.fine_structure.line_templates import TemplateCalibration
from ceiflow.eels.fine_structure.plural import single_scattering
from ceiflow.eels.fine_structure.valence import Calibration, valence_of
from ceiflow.eels.fine_structure.white_lines import (
    BACKGROUND_EV,
    LINES_EV,
    WINDOW_EV,
    Recipe,
    WhiteLines,
    ratio_of,
    white_lines,
)
from ceiflow.eels.source import Source, fixed_batches
from ceiflow.study import seed_for

# L3/L2 of MnO and of MnO2 differ by a factor of 1.5: this is less than a step of valence.
RELATIVE_ERROR = 0.15
LARGEST_NUMBER = 200
BATCH = 4096


@dataclass(frozen=True)
class LineBins:
    """White lines bin by bin.

    Parameters
    ----------
    label : (rows, columns) int array
        -1 outside the particle.
    lines : list of WhiteLines
    valence : (b, 2) array
        Value and statistical error; NaN without references, or where templates separate no integers.
    """

    label: np.ndarray
    lines: list[WhiteLines]
    valence: np.ndarray

    def maps(self, element: str) -> dict[str, np.ndarray]:
        """(rows, columns) arrays by their names in maps.h5; NaN where lines do not stand out."""
        columns = {
            "l3_l2_ratio": [item.ratio for item in self.lines],
            "l3_l2_ratio_std": [item.ratio_se for item in self.lines],
            "l3_position_eV": [item.position_eV for item in self.lines],
            "l3_position_std_eV": [item.position_se_eV for item in self.lines],
            "valence": self.valence[:, 0],
            "valence_std": self.valence[:, 1],
        }
        inside = self.label >= 0
        found = {}
        for name, values in columns.items():
            drawn = np.full(self.label.shape, np.nan)
            drawn[inside] = np.asarray(values, float)[self.label[inside]]
            if np.isfinite(drawn).any():
                found[f"{name}/{element}"] = drawn
        return found


def line_factors(
    energy_eV: np.ndarray, counts: np.ndarray, kernel: tuple[np.ndarray, int] | None, lines: WhiteLines
) -> np.ndarray:
    """(2, n) array: L3 and L2 of a spectrum are its products with these.

    Parameters
    ----------
    energy_eV, counts : (n,) array
        Of the zone that exponent and lines come from.
    kernel : ((k,) array, int) or None
    lines : WhiteLines
    """
    l3 = lines.position_eV
    l2 = l3 + LINES_EV[lines.element][1] - LINES_EV[lines.element][0]
    keep = (energy_eV >= l3 + WINDOW_EV[0]) & (energy_eV <= l2 + WINDOW_EV[1])
    energy, y = energy_eV[keep], np.maximum(counts[keep], 1.0)
    before = (energy >= l3 + BACKGROUND_EV[0]) & (energy <= l3 + BACKGROUND_EV[1])
    slope = np.polyfit(np.log(energy[before] / l3), np.log(y[before]), 1, w=np.sqrt(y[before]))[0]
    shape = (energy / l3) ** slope
    identity = np.eye(energy.size)
    # The background's amount by likelihood: counts before the edge over those of its shape.
    net = identity - np.outer(before / shape[before].sum(), shape)
    single = single_scattering(net, kernel, float(energy[1] - energy[0]))
    factors = np.zeros((2, energy_eV.size))
    factors[:, keep] = ratio_of(energy, single, l3, l2, Recipe())
    return factors


def pixel_moments(source: Source, factors: np.ndarray) -> np.ndarray:
    """(p, 5) array: L3 and L2 of every pixel, their variances and their covariance."""
    moments = np.empty((source.pixels, 5))
    products = np.stack([factors[0] ** 2, factors[1] ** 2, factors[0] * factors[1]])
    noise = source.noise
    for where, batch in fixed_batches(source.core, BATCH):
        spectra = batch[:, source.channels].astype(np.float64) - noise.dark
        moments[where, :2] = spectra @ factors.T
        variance = noise.gain * np.maximum(spectra, 0.0)
        moments[where, 2:] = variance @ products.T + noise.read_noise**2 * products.sum(1)
    return moments


def line_bins(
    source: Source,
    masks: Mapping[str, np.ndarray],
    kernel: tuple[np.ndarray, int] | None,
    counts: np.ndarray,
    lines: WhiteLines,
    standards: Calibration,
    names: Sequence[object],
) -> LineBins | None:
    """White lines and valence by bins; none lies partly at the surface and partly below it.

    Parameters
    ----------
    source : Source
    masks : mapping of zone to (rows, columns) bool array
        `particle` and, where there is one, `surface`.
    kernel, counts, lines
        Low loss, summed spectrum on the fit's channels and white lines of the particle.
    standards : Calibration
    names : sequence
        Study seed and names that the draws of counting noise come from.
    """
    shape = source.core.shape[:2]
    moments = pixel_moments(source, line_factors(source.energy_eV, counts, kernel, lines))
    surface = np.asarray(masks.get("surface", np.zeros(shape, bool)), bool)
    label = np.full(shape, -1)
    for part in (surface, np.asarray(masks["particle"], bool) & ~surface):
        share = max(int(LARGEST_NUMBER * part.sum() / max((surface | masks["particle"]).sum(), 1)), 8)
        cut = cut_bins(moments, shape, part.ravel(), RELATIVE_ERROR, share).reshape(shape)
        label[cut >= 0] = cut[cut >= 0] + label.max() + 1
    if label.max() < 0:
        return None
    pooled, _ = pool(source, label.ravel())
    low = pooled.low
    found = []
    for index in range(len(pooled.core.data)):
        own = kernel
        if low is not None and not low.shared:
            spectrum = np.clip(low.signal.data[index], 0, None)
            own = ll.kernel(low.energy_eV, spectrum, source.core.energy_scale_eV)
        seed = seed_for(names[0], *(str(item) for item in names[1:]), "bin", lines.element, str(index))
        found.append(
            white_lines(
                source.energy_eV,
                pooled.core.data[index],
                lines.element,
                own,
                source.noise.gain,
                seed=seed,
                others=False,
            )
        )
    return LineBins(label, found, np.array([_valence(item, standards) for item in found]))


def _valence(lines: WhiteLines, standards: Calibration) -> tuple[float, float]:
    # Templates that overlap give no number, whatever the ratio.
    overlap = isinstance(standards, TemplateCalibration) and not standards.falls
    if overlap or not lines.known:
        return np.nan, np.nan
    found = valence_of(lines.ratio, lines.ratio_se, 0.0, standards)
    return found.value, found.se
