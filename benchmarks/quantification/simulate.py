"""A simulated spectrum image with a known truth, and the Cramer-Rao bound of every pixel.

Own code throughout: nothing of `ceiflow.eels` is used. The edge curves are eXSpy's hydrogenic ones for every
program, so that all of them fit the shapes the data were made with: the comparison is about fitting.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

ELEMENTS = ("C", "O", "F", "Mn")
EDGES = ("C_K", "O_K", "F_K", "Mn_L3")
BEAM_KEV, CONVERGENCE_MRAD, COLLECTION_MRAD = 300.0, 10.0, 20.0
ROWS, COLUMNS, CHANNELS = 60, 100, 1024
START_EV, STEP_EV = 200.0, 0.5
PIXEL_NM, LAYER_NM = 0.5, 10.0
LAYER = (0.45, 0.40, 0.13, 0.02)
PARTICLE = (0.05, 0.60, 0.05, 0.30)
THICKNESS_OVER_MFP = 0.5
# Height of the C K jump in the layer over the background under it: at 5 counts C/O is known to 38 % a pixel.
CARBON_JUMP = 0.45
REFERENCE_EV = 280.0
DOSES = {"high": 200.0, "low": 5.0}


@dataclass(frozen=True)
class Scene:
    """What the data are made of; amplitudes multiply `shapes`.

    Parameters
    ----------
    energy_eV : (n,) array
    low_loss_eV, low_loss : (k,) array
        Area 1, zero loss at 0 eV.
    shapes, convolved : (4, n) array
        Edge curves before and after plural scattering.
    amplitude : (p, 4) array
        For one count per channel at `REFERENCE_EV`.
    exponent : (p,) array
    layer : (p,) bool array
    """

    energy_eV: np.ndarray
    low_loss_eV: np.ndarray
    low_loss: np.ndarray
    shapes: np.ndarray
    convolved: np.ndarray
    amplitude: np.ndarray
    exponent: np.ndarray
    layer: np.ndarray

    def background(self, exponent: np.ndarray) -> np.ndarray:
        return (self.energy_eV / REFERENCE_EV) ** -np.asarray(exponent)[..., None]

    def expected(self, dose: float) -> np.ndarray:
        """(p, n) array: expected counts."""
        return dose * (self.background(self.exponent) + self.amplitude @ self.convolved)


def energy_axis() -> np.ndarray:
    return START_EV + STEP_EV * np.arange(CHANNELS)


def low_loss(
    step_eV: float, start_eV: float = -20.0, stop_eV: float = 200.0, t: float = THICKNESS_OVER_MFP
) -> tuple[np.ndarray, np.ndarray]:
    """Zero loss of 1 eV and plasmons of 23 eV, plural scattering by Poisson's law; area 1."""
    before = round(-start_eV / step_eV)
    energy = step_eV * np.arange(-before, round(stop_eV / step_eV) + 1)
    positive = np.maximum(energy, 0.0)
    plasmon = positive * 10.0 * 23.0**2 / ((positive**2 - 23.0**2) ** 2 + (positive * 10.0) ** 2)
    single = plasmon[before:] / plasmon[before:].sum()
    inelastic, term = np.zeros_like(single), np.zeros_like(single)
    term[0] = 1.0
    for order in range(8):
        if order:
            term = np.convolve(term, single)[: single.size] * t / order
        inelastic += term
    zero_loss = np.exp(-4 * np.log(2) * energy**2)
    spectrum = np.convolve(zero_loss, inelastic)[: energy.size]
    return energy, spectrum / spectrum.sum()


def convolve(curves: np.ndarray, kernel: np.ndarray, zero: int, margin: int) -> np.ndarray:
    """Curves on an axis longer by `margin` channels on both sides, spread by a low loss: direct sums.

    All edges start above the first channel and the margin is longer than the gain side: nothing is cut off.
    """
    inside = slice(zero + margin, zero + curves.shape[1] - margin)
    return np.stack([np.convolve(curve, kernel)[inside] for curve in curves])


def scene(wide_eV: np.ndarray, curves: np.ndarray) -> Scene:
    """The scene from edge curves tabulated beyond both ends of the energy axis.

    Parameters
    ----------
    wide_eV : (n + 2 m,) array
    curves : (4, n + 2 m) array
    """
    energy, margin = energy_axis(), (wide_eV.size - CHANNELS) // 2
    loss_eV, loss = low_loss(STEP_EV)
    convolved = convolve(curves, loss, int(np.argmin(np.abs(loss_eV))), margin)
    shapes = curves[:, margin : margin + CHANNELS]
    row, column = np.mgrid[:ROWS, :COLUMNS]
    thickness = LAYER_NM + 1.0 * np.sin(2 * np.pi * row / 25.0) + 0.5 * np.sin(2 * np.pi * row / 9.0 + 1.0)
    layer = (column + 0.5) * PIXEL_NM < thickness
    exponent = np.where(layer, 3.1, 2.9) + 0.05 * np.sin(row / 8.0) * np.cos(column / 15.0)
    at = round((300.0 - START_EV) / STEP_EV)
    atoms = CARBON_JUMP * (energy[at] / REFERENCE_EV) ** -3.0 / (LAYER[0] * shapes[0, at])
    amplitude = atoms * np.where(layer[..., None], LAYER, PARTICLE)
    return Scene(
        energy, loss_eV, loss, shapes, convolved, amplitude.reshape(-1, 4), exponent.ravel(), layer.ravel()
    )


def cramer_rao(scene: Scene, dose: float) -> np.ndarray:
    """(p, 4) array: smallest standard deviation of `Scene.amplitude` where A and r are unknown too."""
    background = dose * scene.background(scene.exponent)
    log = np.log(scene.energy_eV / REFERENCE_EV)
    bound = np.empty_like(scene.amplitude)
    edges = dose * scene.convolved
    for pixel, under in enumerate(background):
        columns = np.concatenate([edges, under[None], (under * log)[None]])
        expected = under + scene.amplitude[pixel] @ edges
        scale = np.sqrt(np.sum(columns**2 / expected, axis=1))
        columns = columns / scale[:, None]
        information = (columns / expected) @ columns.T
        bound[pixel] = np.sqrt(np.diag(np.linalg.inv(information)))[:4] / scale[:4]
    return bound


def counts(scene: Scene, dose: float, seed: int) -> np.ndarray:
    """(p, n) array, uint16: one Poisson draw."""
    return np.random.default_rng(seed).poisson(scene.expected(dose)).astype(np.uint16)
