"""A whole simulated study: raw files as a microscope leaves them, and the truth beside them."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from ceiflow.signals.store import create_h5

from . import files, images, spectra
from .design import files_of, settings
from .detectors import Detector
from .edges import nature, white_line_ratio
from .geometry import Scene, layer_truth, pixel_paths, surface_in_view
from .materials import MATERIALS, SPECIES, Material, damaged
from .optics import Lens
from .scenes import cell_of, draw, materials_of, mean_thickness, scene_of
from .streams import stream

_TRUTH = """
acquisition_id cell_id particle_id region_id modality condition electrode thickness_nm coverage
equivalent_thickness_nm longest_bare_nm roughness_nm arc_length_nm cell_thickness_nm particle_thickness_nm
region_thickness_nm amorphous_fraction kind radius_nm depth_nm tilt_mrad skin_nm support_nm pixel_size_nm
dose_e_per_A2 defocus_nm energy_offset_eV low_loss_offset_eV dispersion_eV dispersion_factor
zero_loss_fwhm_eV t_over_lambda contamination_nm layer_C_per_nm3 layer_O_per_nm3 layer_F_per_nm3 carbon_sp2
carbon_aliphatic carbon_ether carbon_carboxyl carbon_carbonate mn_l3_l2_ratio
"""
TRUTH_COLUMNS = tuple(_TRUTH.split())


def simulate(
    design: Mapping[str, Any],
    folder: Path,
    seed: int,
    acquisitions: Iterable[str] | None = None,
    processes: int = 1,
) -> list[dict[str, Any]]:
    """Simulate a study.

    Parameters
    ----------
    design : mapping
        What is recorded and what is true; config/demo/design.yaml is the example.
    folder : Path
        The study folder: raw files and truth go where the design says, below it.
    seed : int
        Seed of the study. Each acquisition has streams of its own: it comes out the same alone or among
        others.
    acquisitions : iterable of str, optional
        Only these; names that the design does not know are left out.
    processes : int
        Processes to use; the files do not depend on it.

    Returns
    -------
    list of dict
        The rows of truth.tsv.
    """
    wanted = None if acquisitions is None else set(acquisitions)
    chosen = [a for a in design["acquisitions"] if wanted is None or a["acquisition_id"] in wanted]
    jobs = [(design, acquisition, Path(folder), seed) for acquisition in chosen]
    if processes > 1:
        # Fork: a caller's script need not be importable, as spawn would ask.
        with ProcessPoolExecutor(processes, mp_context=get_context("fork")) as pool:
            rows = list(pool.map(_simulate, jobs))
    else:
        rows = [_simulate(job) for job in jobs]
    _write_truth(Path(folder) / design["truth"] / "truth.tsv", rows)
    return rows


def _simulate(job: tuple[Mapping[str, Any], Mapping[str, Any], Path, int]) -> dict[str, Any]:
    return simulate_acquisition(*job)


def simulate_acquisition(
    design: Mapping[str, Any], acquisition: Mapping[str, Any], folder: Path, seed: int
) -> dict[str, Any]:
    """Write the raw files and the truth maps of one acquisition; returns its row of truth.tsv."""
    full = settings(design, acquisition)
    cell = cell_of(design, acquisition)
    levels = mean_thickness(design, acquisition, seed)
    scene = scene_of(design, acquisition, seed)
    row: dict[str, Any] = {name: acquisition[name] for name in TRUTH_COLUMNS[:5]}
    row |= {"condition": cell["condition"], "electrode": cell["electrode"]}
    row |= {f"{level}_thickness_nm": levels[f"{level}_nm"] for level in ("cell", "particle", "region")}
    row |= {"kind": scene.kind, "radius_nm": scene.radius_nm if scene.kind == "sphere" else math.nan}
    row |= {"depth_nm": scene.depth_nm, "tilt_mrad": 1e3 * scene.tilt_rad, "skin_nm": scene.skin_nm}
    row |= {name: full.get(name, math.nan) for name in ("dose_e_per_A2", "defocus_nm", "pixel_size_nm")}
    row["support_nm"] = full.get("support_nm", 0.0)
    paths = {name: Path(folder) / path for name, path in files_of(design, acquisition).items()}
    for path in paths.values():
        path.parent.mkdir(parents=True, exist_ok=True)
    recorder = {"eels_si": _spectrum_image, "eels_spectrum": _single_spectrum}.get(full["modality"], _image)
    maps = recorder(design, full, scene, paths, seed, row)
    if full["modality"] != "eels_spectrum":
        surface = surface_in_view(scene, (full["rows"], full["columns"]), full["pixel_size_nm"])
        row |= layer_truth(surface, scene.closed)
        maps |= {f"surface/{name}": values for name, values in surface.items()}
    _write_maps(Path(folder) / design["truth"] / f"{full['acquisition_id']}.h5", full, maps)
    return row


def _layer_truth_of_material(layer: Material) -> dict[str, float]:
    row = {f"layer_{el}_per_nm3": layer.atoms.get(el, 0.0) for el in ("C", "O", "F")}
    return row | {f"carbon_{species}": layer.carbon.get(species, 0.0) for species in SPECIES}


def _carbon_in_the_beam(
    lengths: Mapping[str, np.ndarray], materials: Mapping[str, Material]
) -> dict[str, float]:
    """Shares of the carbon bonding over everything that a single spectrum holds."""
    atoms = {
        name: materials[name].atoms.get("C", 0.0) * float(length.sum()) for name, length in lengths.items()
    }
    whole = sum(atoms.values())
    if not whole > 0:
        return {}
    return {
        f"carbon_{species}": sum(n * materials[name].carbon.get(species, 0.0) for name, n in atoms.items())
        / whole
        for species in SPECIES
    }


def _beam(full: Mapping[str, Any], seed: int, electrons: float) -> spectra.Beam:
    def number(name: str, default: Any = 0.0) -> float:
        return draw(full.get(name, default), seed, name, full["acquisition_id"])

    detector = Detector(**full.get("detector", {}), spike_rate=full.get("spike_rate", 0.0))
    return spectra.Beam(
        beam_energy_keV=full["beam_energy_keV"],
        convergence_mrad=full["convergence_mrad"],
        collection_mrad=full["collection_mrad"],
        start_eV=full["start_eV"],
        channels=full["channels"],
        low_start_eV=full["low_start_eV"],
        low_channels=full["low_channels"],
        dispersion_eV=full["dispersion_eV"],
        dispersion_factor=1 + number("dispersion_error"),
        offset_eV=number("offset_eV"),
        low_offset_eV=number("low_offset_eV"),
        electrons=electrons,
        low_electrons=electrons * full["low_loss_exposure_s"] / full["exposure_s"],
        zero_loss_fwhm_eV=number("zero_loss_fwhm_eV", 1.0),
        jitter_eV=number("jitter_eV"),
        drift_eV=number("drift_eV"),
        detector=detector,
    )


def _write_spectra(
    full: Mapping[str, Any], beam: spectra.Beam, recorded: spectra.SpectrumImage, paths: Mapping[str, Path]
) -> None:
    axes, pixel = beam.file_axes(), full.get("pixel_size_nm", 1.0)
    single = full["modality"] == "eels_spectrum"
    core, low = (array[0, 0] if single else array for array in (recorded.core, recorded.low))
    step = axes["dispersion_eV"]
    told = {
        name: full[name] for name in ("beam_energy_keV", "convergence_mrad", "collection_mrad", "exposure_s")
    }
    signals = {
        "path": files.spectra(core, pixel, axes["core_start_eV"], step, told, "core loss"),
        "low_loss_path": files.spectra(
            low,
            pixel,
            axes["low_start_eV"],
            step,
            told | {"exposure_s": full["low_loss_exposure_s"]},
            "low loss",
        ),
    }
    if paths["path"] == paths["low_loss_path"]:
        files.write(paths["path"], *signals.values())
    else:
        for name, signal in signals.items():
            files.write(paths[name], signal)


def _spectral_truth(
    row: dict[str, Any],
    beam: spectra.Beam,
    recorded: spectra.SpectrumImage,
    materials: Mapping[str, Material],
) -> dict[str, np.ndarray]:
    """Fill the row's spectral columns; returns the truth maps."""
    row |= _layer_truth_of_material(materials["layer"])
    row |= {
        "energy_offset_eV": beam.offset_eV,
        "low_loss_offset_eV": beam.low_offset_eV,
        "dispersion_eV": beam.true_dispersion_eV,
        "dispersion_factor": beam.dispersion_factor,
        "zero_loss_fwhm_eV": beam.zero_loss_fwhm_eV,
        "mn_l3_l2_ratio": white_line_ratio(materials["oxide"].metal, "Mn"),
    }
    maps = {"thickness_over_mfp": recorded.thickness_over_mfp, "shift_eV": recorded.shift_eV}
    maps |= {f"areal_density/{el}": values for el, values in recorded.areal_density.items()}
    return maps | {f"edge_electrons/{el}": values for el, values in recorded.edge_counts.items()}


def _spectrum_image(
    design: Mapping[str, Any],
    full: Mapping[str, Any],
    scene: Scene,
    paths: Mapping[str, Path],
    seed: int,
    row: dict,
) -> dict[str, np.ndarray]:
    name, pixel = full["acquisition_id"], full["pixel_size_nm"]
    shape = (full["rows"], full["columns"])
    materials = materials_of(design, full)
    ways = pixel_paths(scene, shape, pixel, 5, full["probe_fwhm_nm"], full.get("probe_tail", 0.0))
    contamination = draw(
        full.get("contamination_nm", 0.0), seed, "contamination", full["cell_id"], full["region_id"]
    )
    support = float(full.get("support_nm", 0.0))
    matter = ways["oxide"] + ways["skin"] + ways["layer"]
    lengths = {material: ways[material] for material in materials}
    # Grown on both faces of whatever the beam meets.
    lengths["carbon"] = contamination * np.clip(matter / 5.0, 0, 1) + support
    materials = materials | {"carbon": MATERIALS["carbon"]}
    electrons = full["dose_e_per_A2"] * 100 * pixel**2
    beam = _beam(full, seed, electrons)
    recorded = spectra.simulate_dual(lengths, materials, beam, nature(seed), stream(seed, "record", name))
    _write_spectra(full, beam, recorded, paths)
    if "adf_path" in paths:
        counts = images.dark_field(lengths, materials, electrons, stream(seed, "adf", name))
        told = {key: full[key] for key in ("beam_energy_keV",)}
        files.write(paths["adf_path"], files.image(counts, pixel, told, "ADF", scanning=True))
    maps = _spectral_truth(row, beam, recorded, materials)
    inside = ways["height"] < -4
    row["t_over_lambda"] = float(recorded.thickness_over_mfp[inside].mean()) if inside.any() else math.nan
    row["contamination_nm"] = contamination
    return (
        maps
        | {f"length_nm/{key}": values for key, values in lengths.items()}
        | {"distance_nm": ways["height"]}
    )


def _single_spectrum(
    design: Mapping[str, Any],
    full: Mapping[str, Any],
    scene: Scene,
    paths: Mapping[str, Path],
    seed: int,
    row: dict,
) -> dict[str, np.ndarray]:
    materials = materials_of(design, full)
    # Besides the particle and its layer, anything that an electrode holds.
    materials |= {name: MATERIALS[name] for name in full["lengths_nm"] if name not in materials}
    before = float(full.get("dose_before_e_per_A2", 0.0)) + 0.5 * float(full["dose_e_per_A2"])
    if "critical_e_per_A2" in full:
        materials["layer"] = damaged(materials["layer"], before, full["critical_e_per_A2"])
    lengths = {name: np.full((1, 1), float(full["lengths_nm"].get(name, 0.0))) for name in materials}
    beam = _beam(full, seed, float(full["electrons"]))
    rng = stream(seed, "record", full["acquisition_id"])
    recorded = spectra.simulate_dual(lengths, materials, beam, nature(seed), rng)
    _write_spectra(full, beam, recorded, paths)
    maps = _spectral_truth(row, beam, recorded, materials)
    row["t_over_lambda"] = float(recorded.thickness_over_mfp[0, 0])
    row |= _carbon_in_the_beam(lengths, materials)
    return maps | {f"length_nm/{key}": values for key, values in lengths.items()}


def _image(
    design: Mapping[str, Any],
    full: Mapping[str, Any],
    scene: Scene,
    paths: Mapping[str, Path],
    seed: int,
    row: dict,
) -> dict[str, np.ndarray]:
    name, modality, pixel = full["acquisition_id"], full["modality"], full["pixel_size_nm"]
    shape, rng = (full["rows"], full["columns"]), stream(seed, "record", full["acquisition_id"])
    materials, cell = materials_of(design, full), cell_of(design, full)
    if modality == "adf":
        taken = images.dark_field_image(
            scene, materials, rng, shape, pixel, full["dose_e_per_A2"], full["probe_fwhm_nm"]
        )
    else:
        optics = ("beam_energy_keV", "defocus_nm", "cs_mm", "focal_spread_nm", "dose_e_per_A2", "mtf_half")
        lens = Lens(**{key: full[key] for key in optics if key in full})
        if modality == "tem":
            taken = images.overview(scene, materials, lens, rng, shape, pixel)
        else:
            coating = design["coatings"][cell["coating"]]
            taken = images.high_resolution(
                scene, materials, lens, rng, shape, pixel,
                crystal=design["particles"][cell["particle"]]["crystal"],
                support_nm=float(full.get("support_nm", 0.0)),
                crystallites_per_nm2=coating.get("crystallites_per_nm2", 0.0),
                strength=draw(full.get("strength", 1.0), seed, "strength", name),
            )  # fmt: skip
    covered = bool((scene.arc.thickness_nm > 0).any())
    row["amorphous_fraction"] = taken.amorphous_fraction if covered else math.nan
    told = {key: full[key] for key in ("beam_energy_keV", "exposure_s") if key in full}
    files.write(paths["path"], files.image(taken.counts, pixel, told, name, scanning=modality == "adf"))
    return {"spacings_nm": np.array(taken.spacings_nm)}


def _write_maps(path: Path, full: Mapping[str, Any], maps: Mapping[str, np.ndarray]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with create_h5(path) as file:
        file.attrs["acquisition_id"] = full["acquisition_id"]
        if "pixel_size_nm" in full:
            file.attrs["pixel_size_nm"] = float(full["pixel_size_nm"])
        for name, values in sorted(maps.items()):
            file.create_dataset(name, data=np.asarray(values, np.float32))


def _write_truth(path: Path, rows: list[dict[str, Any]]) -> None:
    def text(value: Any) -> str:
        if value is None or (isinstance(value, float) and math.isnan(value)):
            return ""
        return value if isinstance(value, str) else f"{float(value):.6g}"

    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle, delimiter="\t", lineterminator="\n")
        writer.writerow(TRUTH_COLUMNS)
        writer.writerows([text(row.get(name)) for name in TRUTH_COLUMNS] for row in rows)
