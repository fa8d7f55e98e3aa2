"""The vocabulary of measurements.tsv: endpoints, zones, units and the row itself."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

ZONES = ("layer", "particle", "surface", "all")
STATUSES = ("identified", "bounded", "not_identifiable")
SPECIES = ("sp2", "aliphatic", "ether", "carboxyl", "carbonate")
OXYGEN_SPECIES = ("oxide", "carbonate", "ice_or_ether", "Li2O", "Li2O2")
LITHIUM_SPECIES = ("LiF", "Li2CO3", "Li2O")
METALS = ("mn", "co", "ni")
METAL_KINDS = ("l3_l2_ratio", "valence", "l3_o_k_separation_eV")
LAYER_ENDPOINTS = (
    "layer_thickness_nm",
    "layer_equivalent_thickness_nm",
    "layer_coverage",
    "layer_longest_bare_nm",
    "layer_conformality",
    "layer_roughness_nm",
)
SPECTRUM_MODALITIES = ("eels_si", "eels_spectrum")
IMAGE_MODALITIES = ("hrtem", "tem", "adf")
MODALITIES = SPECTRUM_MODALITIES + IMAGE_MODALITIES
#: What a run finds of an acquisition, in its summary.json and in tables/acquisitions.tsv.
SUMMARY_COLUMNS = (
    "energy_offset_eV",
    "energy_offset_se_eV",
    "low_loss_offset_eV",
    "dispersion_factor",
    "residual_shift_eV",
    "residual_shift_se_eV",
    "fine_structure_ready",
    "noise_model",
    "thickness_over_mfp",
    "thickness_over_mfp_se",
    "dose_e_per_A2",
    "analysed_length_nm",
    "lod_thickness_nm",
    "n_pixels",
)


def endpoints(modality: str, elements: Sequence[str] = ()) -> tuple[str, ...]:
    """Every endpoint that an analysed acquisition of `modality` has a row for.

    Parameters
    ----------
    modality : str
        One of `MODALITIES`.
    elements : sequence of str
        Chemical symbols that the configuration quantifies; unused for images.
    """
    if modality in IMAGE_MODALITIES:
        return (*LAYER_ENDPOINTS, "layer_amorphous_fraction", "dose_e_per_A2")
    # Where an element ends takes a surface to count from.
    placed = (f"interface_position_{element}_nm" for element in elements) if modality == "eels_si" else ()
    return (
        *LAYER_ENDPOINTS,
        *placed,
        "thickness_over_mfp",
        *(f"areal_density_{element}_per_nm2" for element in elements),
        *(f"atomic_fraction_{element}" for element in elements),
        *(f"carbon_fraction_{species}" for species in SPECIES),
        *(f"oxygen_fraction_{species}" for species in OXYGEN_SPECIES),
        *(f"lithium_fraction_{species}" for species in LITHIUM_SPECIES),
        *(f"{metal}_{kind}" for metal in METALS for kind in METAL_KINDS),
        "oxygen_prepeak_ratio",
        "dose_e_per_A2",
        "dose_over_critical",
    )


def unit(endpoint: str) -> str:
    """Unit of an endpoint as it stands in the tables; "1" for a pure number."""
    if endpoint.endswith("_per_nm2"):
        return "nm^-2"
    if endpoint == "dose_e_per_A2":
        return "e/A^2"
    if endpoint.endswith("_eV"):
        return "eV"
    return "nm" if endpoint.endswith("_nm") else "1"


@dataclass
class Measurement:
    """One row of measurements.tsv: acquisition x zone x endpoint.

    `value`, `se_stat`, `se_sys` and `lod` are None where there is none. `status` is one of
    `STATUSES`; `bounded` has no value and a limit, `not_identifiable` has a reason in `note`.
    `correlation` says how the statistical error of an areal density goes with those of other elements in the
    same spectrum (`O=-0.12;F=0.05`). The columns of the sheets (cell, particle, condition...) are filled in
    when tables are made.
    """

    zone: str
    endpoint: str
    value: float | None = None
    se_stat: float | None = None
    se_sys: float | None = None
    lod: float | None = None
    status: str = "identified"
    n: int | None = None
    note: str = ""
    correlation: str = ""

    def __post_init__(self) -> None:
        for name in ("value", "se_stat", "se_sys", "lod"):
            number = getattr(self, name)
            if number is not None:
                number = float(number)
                setattr(self, name, number if math.isfinite(number) else None)
        if self.zone not in ZONES or self.status not in STATUSES:
            raise ValueError(f"zone {self.zone!r} or status {self.status!r} is not in the vocabulary")
        if self.status == "identified" and (self.value is None or self.se_stat is None):
            raise ValueError(f"{self.zone}/{self.endpoint}: identified without a value and an error")
        if self.status == "bounded" and (self.value is not None or self.lod is None):
            raise ValueError(f"{self.zone}/{self.endpoint}: bounded needs a limit and no value")
        if self.status == "not_identifiable" and not self.note:
            raise ValueError(f"{self.zone}/{self.endpoint}: not identifiable needs a reason")


def not_identifiable(zone: str, endpoint: str, reason: str) -> Measurement:
    """A row that says why the data cannot answer."""
    return Measurement(zone, endpoint, status="not_identifiable", note=reason)


def bounded(zone: str, endpoint: str, limit: float, n: int | None = None, note: str = "") -> Measurement:
    """A row that holds an upper limit only."""
    return Measurement(zone, endpoint, lod=limit, status="bounded", n=n, note=note)


def format_correlation(correlation: Mapping[str, float]) -> str:
    """Correlations by element as a table cell, elements in alphabetical order."""
    return ";".join(f"{element}={correlation[element]:.4f}" for element in sorted(correlation))


def read_correlation(text: object) -> dict[str, float]:
    """Correlations by element from a table cell; nothing where it is empty."""
    pairs = (part.partition("=") for part in str(text or "").split(";"))
    return {element: float(value) for element, _, value in pairs if value}


def format_number(value: float | int | None) -> str:
    """Shortest text of a number at seven digits, which single precision carries; empty for None and NaN."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return ""
    return f"{value:.7g}" if isinstance(value, float) else str(value)


def write_rows(path: Path, rows: Iterable[Measurement]) -> None:
    """Write measurement rows of one acquisition as a tab-separated table."""
    columns = [field.name for field in fields(Measurement)]
    with open(path, "w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle, delimiter="\t", lineterminator="\n")
        writer.writerow([*columns, "unit"])
        for row in rows:
            cells = asdict(row)
            texts = [
                cells[name] if isinstance(cells[name], str) else format_number(cells[name])
                for name in columns
            ]
            writer.writerow([*texts, unit(row.endpoint)])
