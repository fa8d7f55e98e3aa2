"""Differential cross-sections of ionisation edges, once a study, behind one interface."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np

from ceiflow.eels.k_factors import KFactor
from ceiflow.eels.section_sources import GRID_STEP_EV, SECOND_SOURCE, deepest_share, source_of
from ceiflow.eels.table import EDGES, Edge, chosen_edges

# Sources are compared over the window whose counts an areal density rests on.
RATIO_WINDOW_EV = 50.0
# A middle-of-the-road microscope, for the shape of an edge alone where the real settings are not known.
NOMINAL = (200.0, 10.0, 20.0)
_NAMES = ("beam_energy_keV", "convergence_mrad", "collection_mrad")


@dataclass(frozen=True)
class Setting:
    """A microscope setting that cross-sections depend on.

    `known` is False where an angle or the beam energy is missing: then shapes may be used, areas may not.
    """

    beam_energy_keV: float
    convergence_mrad: float
    collection_mrad: float
    known: bool = True
    missing: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        numbers = "_".join(
            f"{value:g}" for value in (self.beam_energy_keV, self.convergence_mrad, self.collection_mrad)
        )
        return numbers if self.known else f"shape_{numbers}"


def setting_of(metadata: Mapping[str, object]) -> Setting:
    """The setting that an acquisition's metadata describe; nominal numbers fill what is missing.

    Parameters
    ----------
    metadata : mapping of str to ceiflow.study.metadata.Value
    """
    values, missing = [], []
    for name, nominal in zip(_NAMES, NOMINAL, strict=True):
        item = metadata.get(name)
        value = None if item is None else item.value
        if value is None or (name != "convergence_mrad" and value <= 0):
            missing.append(name)
            value = nominal
        values.append(float(value))
    return Setting(*values, known=not missing, missing=tuple(missing))


def write_edges(
    output: Path,
    settings: Iterable[Setting],
    elements: list[str],
    source: str = "hydrogenic",
    gosh_file: str | Path | None = None,
    k_factors: Mapping[str, KFactor] | None = None,
) -> None:
    """Compute and store the cross-sections of `elements` for every setting that occurs.

    Parameters
    ----------
    output : Path
        HDF5 file: one group per setting, one data set per element. Attributes of a data set name its source
        and how many times as large the partial cross-section of a second source is. `{element}_second` is the
        curve of that source at the same partial cross-section, `{element}_deepest` what of the curve is L1.
    settings : iterable of Setting
    elements : list of str
    source : str
        A name that `section_sources.source_of` knows.
    gosh_file : path, optional
        What the source `gosh` reads.
    k_factors : mapping of str to KFactor, optional
        Cross-sections are stored with their factor.
    """
    from ceiflow.signals.store import create_h5

    first = source_of(source, gosh_file)
    second_name = SECOND_SOURCE[source]
    second = source_of(second_name)
    factors = k_factors or {}
    unique = {setting.key: setting for setting in settings}
    with create_h5(output) as file:
        file.attrs["schema"] = "ceiflow-edges-1"
        file.attrs["source"] = source
        file.attrs["second_source"] = second_name
        for key in sorted(unique):
            setting = unique[key]
            group = file.create_group(key)
            for name in _NAMES:
                group.attrs[name] = getattr(setting, name)
            group.attrs["shape_only"] = not setting.known
            group.attrs["missing"] = " ".join(setting.missing)
            for edge in chosen_edges(elements).values():
                energy, values = first(edge, setting)
                other = second(edge, setting)[1]
                ratio = _ratio(edge, energy, values, other)
                factor = factors.get(edge.element, KFactor())
                values = values * factor.factor
                # Without a second curve there is nothing that the first could differ from.
                other = other * (factor.factor / ratio) if np.isfinite(ratio) else values
                curves = {
                    edge.element: values,
                    f"{edge.element}_second": other,
                    f"{edge.element}_deepest": values * deepest_share(edge, energy),
                }
                for name, curve in curves.items():
                    group.create_dataset(
                        name,
                        data=curve.astype(np.float32),
                        compression="gzip",
                        shuffle=True,
                        track_times=False,
                    )
                data = group[edge.element]
                data.attrs["energy_offset_eV"] = energy[0]
                data.attrs["energy_scale_eV"] = GRID_STEP_EV
                data.attrs["edge"] = edge.name
                data.attrs["onset_eV"] = edge.onset_eV
                data.attrs["unit"] = "nm^2/eV"
                data.attrs["source"] = source
                data.attrs["second_source"] = second_name
                data.attrs["second_ratio"] = ratio
                data.attrs["k_factor"] = factor.factor
                data.attrs["k_factor_error"] = np.nan if factor.error is None else factor.error
                data.attrs["k_factor_source"] = factor.source


def _ratio(edge: Edge, energy_eV: np.ndarray, first: np.ndarray, second: np.ndarray) -> float:
    """Partial cross-section of `second` over that of `first`; NaN where one of them has none."""
    window = (energy_eV >= edge.onset_eV) & (energy_eV < edge.onset_eV + RATIO_WINDOW_EV)
    sums = float(first[window].sum()), float(second[window].sum())
    return round(sums[1] / sums[0], 4) if min(sums) > 0 else float("nan")


@dataclass(frozen=True)
class CrossSection:
    """A tabulated curve, evaluated by interpolation, and where it comes from.

    Parameters
    ----------
    edge : Edge
    energy_eV, values_nm2_per_eV : (n,) array
        With the k-factor in it.
    source, second_source : str
        Names of tables; empty where not known.
    second_ratio : float
        Partial cross-section of the second source over that of the first, over 50 eV from the onset.
    k_factor : KFactor
    second_nm2_per_eV, deepest_nm2_per_eV : (n,) array, optional
        Curve of the second source, brought to the same partial cross-section; and that part of the curve
        which is L1.
    """

    edge: Edge
    energy_eV: np.ndarray
    values_nm2_per_eV: np.ndarray
    source: str = ""
    second_source: str = ""
    second_ratio: float = float("nan")
    k_factor: KFactor = field(default_factory=KFactor)
    second_nm2_per_eV: np.ndarray | None = None
    deepest_nm2_per_eV: np.ndarray | None = None

    def __call__(self, energy_eV: np.ndarray) -> np.ndarray:
        """nm^2 eV^-1 at the energies asked for; zero below the onset."""
        return np.interp(energy_eV, self.energy_eV, self.values_nm2_per_eV, left=0.0)

    def origin(self) -> str:
        """Where the curve comes from, in the few words of a note; empty where not known."""
        if not self.source:
            return ""
        text = f"{self.source} cross-section"
        if self.k_factor.given:
            text += f" x k-factor {self.k_factor.factor:g}"
            text += f" ({self.k_factor.source})" if self.k_factor.source else ""
        if np.isfinite(self.second_ratio):
            text += f", {self.second_source} {self.second_ratio:.2f} times it"
        return text

    def summary(self) -> dict[str, object]:
        """`origin` as values for summary.json."""
        ratio = float(self.second_ratio)
        return {
            "edge": self.edge.name,
            "source": self.source,
            "second_source": self.second_source,
            "second_ratio": ratio if np.isfinite(ratio) else None,
            "k_factor": self.k_factor.factor,
            "k_factor_error": self.k_factor.error,
            "k_factor_source": self.k_factor.source,
        }


def read_edges(path: Path, setting: Setting, elements: list[str]) -> dict[str, CrossSection]:
    """Cross-sections of one setting out of `write_edges`'s file."""
    result = {}
    with h5py.File(path, "r") as file:
        group = file[setting.key]
        for element in elements:
            data = group[element]
            values = data[()].astype(np.float64)
            attrs = dict(data.attrs)
            energy = attrs["energy_offset_eV"] + attrs["energy_scale_eV"] * np.arange(values.size)
            error = float(attrs.get("k_factor_error", np.nan))
            factor = KFactor(
                float(attrs.get("k_factor", 1.0)),
                error if np.isfinite(error) else None,
                str(attrs.get("k_factor_source", "")),
            )
            result[element] = CrossSection(
                EDGES[element],
                energy,
                values,
                str(attrs.get("source", "")),
                str(attrs.get("second_source", "")),
                float(attrs.get("second_ratio", np.nan)),
                factor,
                group[f"{element}_second"][()].astype(np.float64),
                group[f"{element}_deepest"][()].astype(np.float64),
            )
    return result


def origins(path: Path, metadata: Mapping[str, object], elements: list[str]) -> dict[str, dict]:
    """What summary.json says of each element's cross-section (`CrossSection.summary`); empty without any.

    Parameters
    ----------
    path : Path
        File of `write_edges`.
    metadata : mapping of str to ceiflow.study.metadata.Value
        Of the acquisition.
    elements : list of str
    """
    setting = setting_of(metadata)
    with h5py.File(path, "r") as file:
        if setting.key not in file:
            return {}
    return {name: item.summary() for name, item in read_edges(path, setting, elements).items()}
