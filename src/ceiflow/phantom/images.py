"""High-resolution images, overviews and dark-field images of simulated particles."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from . import matter
from .detectors import Detector, record
from .geometry import Scene, paths, pixel_centres, pixel_paths
from .materials import MATERIALS, Material
from .optics import MARGIN, Lens, expose

_CRYSTALLITES = {"LiF": 0.2013, "Li2O": 0.2662, "Li2CO3": 0.2810}


@dataclass(frozen=True)
class Image:
    """Counts (rows, columns), the spacings in it, the amorphous share of the layer's area (NaN: no layer)."""

    counts: np.ndarray
    spacings_nm: tuple[float, ...]
    amorphous_fraction: float


def _crystallites(
    rng: np.random.Generator,
    x: np.ndarray,
    y: np.ndarray,
    ways: Mapping[str, np.ndarray],
    density_per_nm2: float,
) -> tuple[np.ndarray, float]:
    """Nanocrystals in the layer: projected potential in V nm, and the layer's share of area without them."""
    layer = ways["layer"]
    inside = (ways["height"] > 0) & (layer > 1.0)
    area = inside.sum() * (x[0, 1] - x[0, 0]) ** 2
    potential = np.zeros(layer.shape, np.float32)
    occupied = np.zeros(layer.shape, bool)
    spots = np.argwhere(inside)
    for _ in range(rng.poisson(density_per_nm2 * area) if len(spots) else 0):
        row, column = spots[rng.integers(len(spots))]
        size = rng.uniform(1.0, 1.8)
        spacing = list(_CRYSTALLITES.values())[int(rng.integers(3))]
        turn, phase = rng.uniform(0, math.pi), rng.uniform(0, 2 * math.pi)
        reach = math.ceil(2.2 * size / (x[0, 1] - x[0, 0]))
        window = (slice(max(row - reach, 0), row + reach), slice(max(column - reach, 0), column + reach))
        dx, dy = x[:, window[1]] - x[0, column], y[window[0]] - y[row, 0]
        hull = np.exp(-(((dx**2 + dy**2) / size**2) ** 2)) * inside[window]
        wave = np.cos(2 * math.pi / spacing * (dx * math.cos(turn) + dy * math.sin(turn)) + phase)
        potential[window] += (2 * 5.0 * 2.0 * hull * wave).astype(np.float32)
        occupied[window] |= hull > 0.5
    return potential, float(1 - occupied[inside].mean()) if len(spots) else math.nan


def high_resolution(
    scene: Scene,
    materials: Mapping[str, Material],
    lens: Lens,
    rng: np.random.Generator,
    shape: tuple[int, int] = (1024, 1024),
    pixel_nm: float = 0.073,
    crystal: str = "layered",
    support_nm: float = 0.0,
    crystallites_per_nm2: float = 0.0,
    strength: float = 1.0,
    detector: Detector | None = None,
) -> Image:
    """HRTEM image of a particle's surface.

    Parameters
    ----------
    scene : Scene
    materials : mapping of str to Material
        For "oxide", "skin" and "layer".
    crystal : "layered" or "turbostratic"
        Fringes of a layered oxide, or of carbon black.
    support_nm : float
        Amorphous carbon film behind everything.
    crystallites_per_nm2 : float
        Nanocrystals in the layer's area.
    strength : float
        How well the crystal is aligned.

    Returns
    -------
    Image
    """
    padded = (shape[0] + 2 * MARGIN, shape[1] + 2 * MARGIN)
    x, y = pixel_centres(padded, pixel_nm)
    ways = paths(scene, x, y)
    phase = sum(materials[name].potential_V * ways[name] for name in materials)
    attenuation = sum(ways[name] / materials[name].elastic_path_nm for name in materials)
    # Losses and thermal scattering leave the coherent image as well.
    attenuation = attenuation + 0.3 * sum(
        ways[name] / materials[name].mean_free_path_nm for name in materials
    )
    if crystal == "layered":
        reflections = matter.lattice(rng, strength=strength)
        whole = ways["oxide"] + ways["skin"]
        phase = phase + matter.lattice_potential(reflections, x, y, whole, ways["oxide"])
        disorder = 0.1 * whole * _light_atoms(materials["oxide"])
        spacings = tuple(g.spacing_nm for g in reflections)
    else:
        phase = phase + matter.turbostratic_potential(rng, ways["height"], ways["oxide"], padded, pixel_nm)
        disorder = 0.08 * ways["oxide"] * _light_atoms(materials["oxide"])
        spacings = (0.350,)
    atoms = disorder + ways["layer"] * _light_atoms(materials["layer"])
    if support_nm:
        carbon = MATERIALS["carbon"]
        phase = phase + carbon.potential_V * support_nm
        attenuation = attenuation + support_nm / carbon.elastic_path_nm
        atoms = atoms + support_nm * _light_atoms(carbon)
    phase = phase + matter.speckle(rng, padded, pixel_nm) * np.sqrt(atoms)
    extra, amorphous = _crystallites(rng, x, y, ways, crystallites_per_nm2)
    counts = expose((phase + extra) * lens.interaction, attenuation, pixel_nm, lens, rng, detector)
    return Image(counts, spacings, amorphous)


def _light_atoms(material: Material) -> float:
    """Atoms nm^-3 that scatter like the light atom of the speckle; lithium, not in the table, is left out."""
    return sum(material.atoms.values())


def overview(
    scene: Scene,
    materials: Mapping[str, Material],
    lens: Lens,
    rng: np.random.Generator,
    shape: tuple[int, int] = (1024, 1024),
    pixel_nm: float = 0.78,
    detector: Detector | None = None,
) -> Image:
    """TEM overview: a dark particle with a rim of intermediate contrast, Fresnel fringes at both edges.

    Notes
    -----
    The phase saturates at 8 rad: beyond, the particle is opaque, and its phase would alias on the pixels.
    """
    padded = (shape[0] + 2 * MARGIN, shape[1] + 2 * MARGIN)
    ways = paths(scene, *pixel_centres(padded, pixel_nm))
    potential = sum(materials[name].potential_V * ways[name] for name in materials)
    atoms = sum(ways[name] * _light_atoms(materials[name]) for name in materials)
    phase = potential * lens.interaction
    phase = (
        8.0 * np.tanh(phase / 8.0) + matter.speckle(rng, padded, pixel_nm) * np.sqrt(atoms) * lens.interaction
    )
    attenuation = sum(ways[name] / materials[name].elastic_path_nm for name in materials)
    attenuation = attenuation + 0.25 * sum(
        ways[name] / materials[name].mean_free_path_nm for name in materials
    )
    return Image(expose(phase, attenuation, pixel_nm, lens, rng, detector), (), 1.0)


def dark_field(
    ways: Mapping[str, np.ndarray],
    materials: Mapping[str, Material],
    electrons: float,
    rng: np.random.Generator,
    background: float = 0.0005,
) -> np.ndarray:
    """ADF signal: electrons scattered to high angles, as mass-thickness, with the scan's line noise.

    Parameters
    ----------
    ways : mapping of str to (rows, columns) array
        nm of each of `materials`.
    electrons : float
        Through each pixel.

    Returns
    -------
    (rows, columns) uint16 array
    """
    share = background + 2.0e-4 * sum(materials[name].scattering * ways[name] for name in materials)
    lines = 1 + 0.004 * rng.standard_normal((share.shape[0], 1))
    return record(electrons * share * lines, Detector(), rng)


def dark_field_image(
    scene: Scene,
    materials: Mapping[str, Material],
    rng: np.random.Generator,
    shape: tuple[int, int] = (512, 512),
    pixel_nm: float = 0.6,
    dose_e_per_A2: float = 300.0,
    probe_fwhm_nm: float = 0.8,
) -> Image:
    """STEM ADF image of a particle."""
    ways = pixel_paths(scene, shape, pixel_nm, oversample=2, probe_fwhm_nm=probe_fwhm_nm)
    electrons = dose_e_per_A2 * 100 * pixel_nm**2
    return Image(dark_field({name: ways[name] for name in materials}, materials, electrons, rng), (), 1.0)
