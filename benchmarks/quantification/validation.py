"""Are errors and detection limits what they say? Spectra of `ceiflow.phantom`, many noise draws of each.

    python benchmarks/quantification/validation.py [--draws 400] [--write docs/benchmarks.md]

Every row of a simulated image holds the same expected spectra with noise of its own, so that one file is as
many repeats as it has rows. What the estimator makes of the mean over all rows is its expectation, with all
that is known to be off about it (phantom and estimator share neither cross-sections nor edge shapes): the
errors for counting noise are judged by the scatter about that, the systematic errors by its distance from
the truth.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from page import BEGIN, END, insert
from tables import table

from ceiflow.eels.cross_sections import Setting, write_edges
from ceiflow.eels.pixels import fit_pixels
from ceiflow.eels.source import open_source
from ceiflow.eels.zones import fit_source_zones
from ceiflow.phantom.detectors import Detector, record
from ceiflow.phantom.edges import nature
from ceiflow.phantom.materials import MATERIALS, Material, mix
from ceiflow.phantom.spectra import Beam, areal_density, expected_dual
from ceiflow.signals.store import Header, create_h5, write_header, write_signal
from ceiflow.study.config import load_config
from ceiflow.study.metadata import Value

ELEMENTS = ("C", "O", "F", "Mn", "Co", "Ni")
ZONE_PIXELS = 4
CARBONATE = {"Li2CO3": 0.5, "polyether": 0.3, "LiF": 0.2}
MIXED = {**CARBONATE, "NMC532": 0.15}
FLUORIDE = {"ROCO2Li": 0.6, "LixPOyFz": 0.4}
ELECTRODE = {"carbon": 0.55, "LiF": 0.2, "polyether": 0.25}


@dataclass(frozen=True)
class Scene:
    """One microscope, two or three materials and a dose.

    Parameters
    ----------
    zones : mapping of str to (composition, t/lambda)
        Each is `ZONE_PIXELS` pixels a draw, of thickness within 10 % of that.
    counts : float
        Core-loss counts a channel of 0.5 eV at 290 eV in a pixel of the first zone.
    """

    name: str
    zones: Mapping[str, tuple[Mapping[str, float], float]]
    counts: float
    beam: Beam = field(default_factory=Beam)
    seed: int = 71


ANGLES = {"convergence_mrad": 18.0, "collection_mrad": 36.0}
SCENES = (
    Scene("300 kV, 10/20 mrad", {"layer": (CARBONATE, 0.3), "oxide": ({"NMC532": 1}, 0.6)}, 400.0),
    Scene("the same at 5 counts", {"layer": (CARBONATE, 0.3), "oxide": ({"NMC532": 1}, 0.6)}, 5.0),
    Scene(
        "200 kV, 18/36 mrad, 0.3 eV",
        {"layer": (FLUORIDE, 0.2), "LMR": ({"LMR": 1}, 0.45), "electrode": (ELECTRODE, 0.5)},
        60.0,
        Beam(beam_energy_keV=200.0, dispersion_eV=0.3, channels=2100, low_channels=700, **ANGLES),
        72,
    ),
    Scene(
        "thick",
        {"layer": (CARBONATE, 0.9), "mixed": (MIXED, 0.9), "oxide": ({"NMC532": 1}, 0.9)},
        100.0,
        seed=73,
    ),
    Scene(
        "camera, gain 8, read noise 6",
        {"layer": (CARBONATE, 0.4), "rock salt": ({"rocksalt": 1}, 0.5)},
        40.0,
        Beam(
            beam_energy_keV=200.0,
            detector=Detector(counting=False, gain=8.0, read_noise=6.0, dark=100.0, point_spread=1.0),
        ),
        74,
    ),
    Scene("2 counts", {"electrode": (ELECTRODE, 0.4), "LMR": ({"LMR": 1}, 0.7)}, 2.0, seed=75),
)  # fmt: skip


@dataclass
class Result:
    """One element in one zone of one scene."""

    scene: str
    zone: str
    element: str
    truth: float
    value: float
    error: float
    se: float
    spread: float
    coverage: float
    offset: float
    pixel_shift: float
    pixel_spread: float
    pixel_coverage: float
    holds_truth: float


def lengths_of(scene: Scene) -> tuple[dict[str, np.ndarray], dict[str, Material], np.ndarray]:
    """Ways through the materials for one row of the image, and which zone each pixel is in."""
    ways: dict[str, np.ndarray] = {}
    materials: dict[str, Material] = {}
    owner = np.repeat(np.arange(len(scene.zones)), ZONE_PIXELS)
    for index, (zone, (composition, thickness)) in enumerate(scene.zones.items()):
        material = mix(composition) if len(composition) > 1 else MATERIALS[next(iter(composition))]
        within = np.where(owner == index, np.resize(np.linspace(0.9, 1.1, ZONE_PIXELS), owner.size), 0.0)
        ways[zone], materials[zone] = within * thickness * material.mean_free_path_nm, material
    return ways, materials, owner


def expectation(scene: Scene) -> tuple[np.ndarray, np.ndarray, Beam, dict[str, np.ndarray], np.ndarray]:
    """Expected core and low loss of one row, the beam with its dose, true atoms nm^-2, owners."""
    ways, materials, owner = lengths_of(scene)
    factors = nature(scene.seed)
    core, low = expected_dual(ways, materials, scene.beam, factors)
    at = int(np.argmin(np.abs(scene.beam.core_energy() - 290.0)))
    dose = scene.counts * scene.beam.dispersion_eV / 0.5 / core[0, at]
    electrons = scene.beam.electrons * dose
    # The low loss is bright enough not to matter, as with real dual spectra.
    low_dose = max(dose, 3e5 / scene.beam.low_electrons)
    beam = replace(scene.beam, electrons=electrons, low_electrons=scene.beam.low_electrons * low_dose)
    density = areal_density(ways, materials)
    truth = {name: density.get(name, np.zeros(owner.size)) * factors[name] for name in ELEMENTS}
    return core * dose, low * low_dose, beam, truth, owner


def write_files(scene: Scene, draws: int, folder: Path) -> tuple[Path, Path, dict, dict, np.ndarray]:
    """Calibrated file, edges file, configuration, truth and owners."""
    core, low, beam, truth, owner = expectation(scene)
    rng = np.random.default_rng(scene.seed)
    detector = beam.detector
    energy = beam.core_energy()
    loss = beam.low_start_eV + beam.dispersion_eV * np.arange(beam.low_channels)
    values = {
        "beam_energy_keV": beam.beam_energy_keV,
        "convergence_mrad": beam.convergence_mrad,
        "collection_mrad": beam.collection_mrad,
        "exposure_s": 1.0,
        "low_loss_exposure_s": beam.low_electrons / beam.electrons,
    }
    signal, edges = folder / "signal.h5", folder / "edges.h5"
    with create_h5(signal) as file:
        metadata = {name: Value(value, "file") for name, value in values.items()}
        write_header(file, Header("validation", "eels_si", metadata=metadata))
        for role, expected, axis in (("core_loss", core, energy), ("low_loss", low, loss)):
            counts = record(np.broadcast_to(expected, (draws, *expected.shape)), detector, rng)
            write_signal(
                file, role, counts, energy_offset_eV=axis[0], energy_scale_eV=axis[1] - axis[0],
                pixel_size_nm=1.0,
            )  # fmt: skip
    setting = Setting(beam.beam_energy_keV, beam.convergence_mrad, beam.collection_mrad)
    write_edges(edges, [setting], list(ELEMENTS))
    told = {"gain": detector.gain, "read_noise": detector.read_noise, "dark": detector.dark}
    return signal, edges, {"eels": {"elements": list(ELEMENTS)}, "detector": told}, truth, owner


def judge(scene: Scene, draws: int, folder: Path) -> list[Result]:
    """All elements of all zones of one scene."""
    signal, edges, raw, truth, owner = write_files(scene, draws, folder)
    source = open_source(signal, edges, load_config(raw))
    columns = owner.size
    masks = {}
    for index, zone in enumerate(scene.zones):
        inside = np.broadcast_to(owner == index, (draws, columns))
        masks[zone] = inside
        masks |= {f"{zone}/{row}": inside & (np.arange(draws) == row)[:, None] for row in range(draws)}
    whole = fit_source_zones(source, {zone: masks[zone] for zone in scene.zones})
    single = fit_source_zones(source, {k: v for k, v in masks.items() if "/" in k}, windows=False)
    pixels = fit_pixels(source)
    theta, std = (values.reshape(draws, columns, -1) for values in (pixels.theta, pixels.theta_std))
    electrons = (source.low.total * source.exposure_ratio).reshape(draws, columns, 1)
    densities, density_se = theta / electrons, std / electrons
    results = []
    for index, zone in enumerate(scene.zones):
        fits = [single[f"{zone}/{row}"] for row in range(draws) if f"{zone}/{row}" in single]
        for element in source.elements:
            value, statistical, systematic, _ = whole[zone].areal_density[element]
            true = float(truth[element][owner == index].mean())
            found = np.array([fit.areal_density[element] for fit in fits])
            error = (found[:, 0] - found[:, 0].mean()) / found[:, 1]
            error *= np.sqrt(draws / (draws - 1))
            i = source.elements.index(element)
            mine = theta[:, owner == index, i]
            away_from_zone = float(np.mean(densities[:, owner == index, i]) - value)
            pixel_se = float(np.mean(density_se[:, owner == index, i]))
            away = (mine - mine.mean(0)) / std[:, owner == index, i] * np.sqrt(draws / (draws - 1))
            results.append(
                Result(
                    scene.name, zone, element,
                    true, value, float(np.hypot(statistical, systematic)),
                    float(found[:, 1].mean()), float(np.sqrt(np.mean(error**2))),
                    float(np.mean(np.abs(error) < 1.96)),
                    float((found[:, 0].mean() - value) / found[:, 1].mean()),
                    away_from_zone / pixel_se,
                    float(np.sqrt(np.mean(away**2))), float(np.mean(np.abs(away) < 1.96)),
                    float(np.mean(np.abs(found[:, 0] - true) < 1.96 * np.hypot(found[:, 1], found[:, 2]))),
                )
            )  # fmt: skip
    return results


def table_of(results: list[Result]) -> str:
    """Markdown."""
    head = ["scene", "zone", "element", "truth nm^-2", "found", "off by", "in errors",
            "se of a draw", "scatter / se", "coverage 95 %", "shift by noise / se",
            "pixels: shift / se", "scatter / se", "coverage", "truth within both errors"]  # fmt: skip
    rows = []
    for r in results:
        off = f"{100 * (r.value / r.truth - 1):+.0f} %" if r.truth > 0 else "-"
        rows.append([
            r.scene, r.zone, r.element, f"{r.truth:.0f}", f"{r.value:.0f}", off,
            f"{(r.value - r.truth) / r.error:+.1f}", f"{r.se:.3g}", f"{r.spread:.2f}",
            f"{r.coverage:.3f}", f"{r.offset:+.2f}", f"{r.pixel_shift:+.2f}",
            f"{r.pixel_spread:.2f}", f"{r.pixel_coverage:.3f}",
            f"{r.holds_truth:.2f}",
        ])  # fmt: skip
    return table(head, rows)


def summary(results: list[Result]) -> dict[str, float]:
    """What the table says in single numbers."""
    coverage = np.array([r.coverage for r in results])
    pixels = np.array([r.pixel_coverage for r in results])
    off = np.array([(r.value - r.truth) / r.error for r in results])
    return {
        "mean coverage of zones": coverage.mean(), "lowest": coverage.min(), "highest": coverage.max(),
        "mean coverage of pixels": pixels.mean(), "lowest of pixels": pixels.min(),
        "root mean square distance of all draws together from the truth, in errors": np.sqrt(np.mean(off**2)),
        "largest": np.abs(off).max(),
        "single draws with the truth within both errors": np.mean([r.holds_truth for r in results]),
    }  # fmt: skip


TEXT = """\
## Errors on simulated spectra

Written by `python benchmarks/quantification/validation.py --write docs/benchmarks.md`. Each scene of
`ceiflow.phantom` (its own cross-sections, off by about 7 % for K and 15 % for L edges, edge shapes,
backgrounds and plasmons) is recorded {draws} times with fresh noise; a zone is {pixels} pixels.

- *Found* is the fit of all draws together; *off by* is against the truth, and beside it in units of the
  error that the fit states, counting noise and systematic.
- *Scatter / se* is the scatter of single draws over the stated error of counting noise; *coverage* the share
  of draws whose 95 % interval holds the mean of all draws (known to about {uncertainty:.2f}).
- *Shift by noise* is how far that mean lies from the fit of all draws together: what priors on edge shapes
  do at few counts. It belongs to the systematic error.
- *Pixels: shift* is how far the mean over pixels and draws lies from the zone's own fit of all draws, over
  the error of one pixel: pixels share shapes and low losses with a group of like ones.
- The last column is the share of draws whose 95 % interval by both errors holds the truth.
"""


def section(results: list[Result], draws: int) -> str:
    """The part of the page, between its markers."""
    lines = [f"- {words}: {value:.3g}" for words, value in summary(results).items()]
    text = TEXT.format(draws=draws, pixels=ZONE_PIXELS, uncertainty=np.sqrt(0.05 * 0.95 / draws))
    return "\n".join([BEGIN, text, table_of(results), "", *lines, END, ""])


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=400)
    parser.add_argument("--scenes", type=int, nargs="+", help="only these, from 0")
    parser.add_argument("--write", type=Path, metavar="FILE", help="put the section into this page")
    options = parser.parse_args(argv)
    chosen = SCENES if options.scenes is None else [SCENES[i] for i in options.scenes]
    results = []
    for scene in chosen:
        with tempfile.TemporaryDirectory() as folder:
            results += judge(scene, options.draws, Path(folder))
    part = section(results, options.draws)
    print(part)
    if options.write:
        old = options.write.read_text(encoding="utf-8") if options.write.exists() else ""
        options.write.write_text(insert(old, part), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
