"""Projected potentials: lattice fringes, amorphous speckle, turbostratic carbon."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import fft
from scipy.ndimage import map_coordinates

from .optics import frequencies

# Layered oxide, space group R-3m, hexagonal axes in nm.
_A_NM, _C_NM = 0.2868, 1.423
# Reflections of the zone [010] and their potential in V: about a third of an aligned crystal's, since
# dynamical scattering, not simulated, weakens the fringes of thick crystals.
_REFLECTIONS = {(0, 0, 3): 1.6, (1, 0, 1): 1.0, (1, 0, -2): 0.5, (1, 0, 4): 1.5, (0, 0, 6): 0.4}
_ATOM_V_NM3 = 0.085  # projected potential of one light atom, integrated over its area


@dataclass(frozen=True)
class Reflection:
    """Lattice planes: wave vector in nm^-1, potential in V, phase; `layered` ones stop at the skin."""

    kx: float
    ky: float
    potential_V: float
    phase: float
    layered: bool

    @property
    def spacing_nm(self) -> float:
        """Distance of the planes."""
        return 1 / math.hypot(self.kx, self.ky)


def lattice(
    rng: np.random.Generator, direction_rad: float | None = None, strength: float = 1.0
) -> list[Reflection]:
    """Reflections of a layered oxide seen along [010], at any orientation in the plane.

    Parameters
    ----------
    direction_rad : float, optional
        Direction of c*, else drawn.
    strength : float
        Scales every potential: how well the crystal is aligned.
    """
    turn = rng.uniform(0, math.pi) if direction_rad is None else direction_rad
    result = []
    for (h, _, miller), potential in _REFLECTIONS.items():
        along = miller / _C_NM
        across = 2 * h / (math.sqrt(3) * _A_NM)
        kx = along * math.cos(turn) - across * math.sin(turn)
        ky = along * math.sin(turn) + across * math.cos(turn)
        amplitude = strength * potential * rng.uniform(0.75, 1.15)
        result.append(Reflection(kx, ky, amplitude, rng.uniform(0, 2 * math.pi), h == 0))
    return result


def lattice_potential(
    reflections: list[Reflection],
    x_nm: np.ndarray,
    y_nm: np.ndarray,
    length_nm: np.ndarray,
    layered_nm: np.ndarray,
    extinction_nm: float = 110.0,
) -> np.ndarray:
    """Projected lattice modulation in V nm, zero on average.

    Parameters
    ----------
    x_nm, y_nm : (1, columns), (rows, 1) arrays
    length_nm, layered_nm : (rows, columns) arrays
        Way through all crystal, and through the layered part of it.
    extinction_nm : float
        The diffracted beams saturate and return with thickness, as sin(pi t / extinction).
    """

    def saturated(length: np.ndarray) -> np.ndarray:
        return (
            extinction_nm / math.pi * np.sin(np.minimum(length, extinction_nm) * (math.pi / extinction_nm))
        ).astype(np.float32)

    whole, layered = saturated(length_nm), saturated(layered_nm)
    total = np.zeros(whole.shape, np.float32)
    for g in reflections:
        # A plane wave is a product of a row and a column: no cosine of every pixel.
        across = np.exp(2j * math.pi * g.kx * x_nm).astype(np.complex64)
        down = np.exp(1j * (2 * math.pi * g.ky * y_nm + g.phase)).astype(np.complex64)
        fringes = down.real * across.real - down.imag * across.imag
        total += (2 * g.potential_V) * fringes * (layered if g.layered else whole)
    return total


def speckle(rng: np.random.Generator, shape: tuple[int, int], pixel_nm: float) -> np.ndarray:
    """Projected potential of amorphous matter with one atom per nm^2, in V nm; scale it by sqrt(atoms nm^-2).

    White noise times an atomic form factor and the structure factor of a glass: little at long distances (no
    two atoms overlap), a ring at 3 nm^-1 and one at 5.4 nm^-1.
    """
    white = rng.standard_normal(shape, dtype=np.float32) / np.float32(pixel_nm)
    k = np.sqrt(frequencies(shape, pixel_nm)[:, : shape[1] // 2 + 1])
    form = np.exp(-((k / 6.5) ** 2))
    structure = 0.25 + 0.75 / (1 + np.exp(-(k - 2.4) / 0.25))
    structure += 1.1 * np.exp(-(((k - 3.0) / 0.45) ** 2)) + 0.35 * np.exp(-(((k - 5.4) / 0.7) ** 2))
    return fft.irfft2(
        fft.rfft2(white) * (_ATOM_V_NM3 * form * np.sqrt(structure)).astype(np.float32), s=shape
    )


def coarse_noise(
    rng: np.random.Generator, shape: tuple[int, int], pixel_nm: float, correlation_nm: float
) -> np.ndarray:
    """Smooth Gaussian field of unit variance: nodes a correlation length apart, splined."""
    nodes = tuple(math.ceil(side * pixel_nm / correlation_nm) + 4 for side in shape)
    white = rng.standard_normal(nodes)
    rows = (np.arange(shape[0]) * pixel_nm / correlation_nm + 1.5)[:, None]
    columns = (np.arange(shape[1]) * pixel_nm / correlation_nm + 1.5)[None, :]
    # Splining row by row, then column by column, is the same as in two dimensions and far cheaper.
    first = map_coordinates(white, np.broadcast_arrays(rows, np.arange(nodes[1])[None, :]), order=3)
    both = map_coordinates(first, np.broadcast_arrays(np.arange(shape[0])[:, None], columns), order=3)
    return (both / both.std()).astype(np.float32)


def turbostratic_potential(
    rng: np.random.Generator,
    height_nm: np.ndarray,
    length_nm: np.ndarray,
    shape: tuple[int, int],
    pixel_nm: float,
    spacing_nm: float = 0.350,
    potential_V: float = 6.0,
) -> np.ndarray:
    """Graphene layers parallel to the surface of a carbon black particle, in V nm.

    Parameters
    ----------
    height_nm : (rows, columns) array
        Distance from the surface, negative inside.
    length_nm : (rows, columns) array
        Way through the carbon.

    Notes
    -----
    A shell gives fringes only where it stands along the beam, for a few nm of the way (`edge_on`), and in
    domains that end and shift against each other.
    """
    depth = np.maximum(-height_nm, 0)
    bend = 1.6 * coarse_noise(rng, shape, pixel_nm, 2.5)
    domains = 1 / (1 + np.exp(-2.5 * (coarse_noise(rng, shape, pixel_nm, 1.8) + 0.5)))
    edge_on = np.minimum(length_nm, 7.0) * np.exp(-depth / 14.0)
    # The outermost layer lies at the surface, so that the first fringes are parallel to it.
    fringes = np.cos(2 * math.pi * height_nm / spacing_nm + bend * (1 - np.exp(-depth / 1.5)))
    return (2 * potential_V * fringes * domains * edge_on).astype(np.float32)
