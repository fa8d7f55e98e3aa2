"""Dual spectrum images: low loss and core loss of the same beam, with every order of plural scattering.

Per pixel and in the Fourier space of the energy loss, the low loss is Z exp(sum_m t_m/lambda_m (S_m - 1)):
Z the zero loss, S_m the single-scattering distribution of material m (Poisson statistics of independent
losses). The core loss is the sum of edges and background for single inner-shell scattering, times the same.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from scipy import fft

from .detectors import Detector, add_spikes, record
from .edges import edge_spectra
from .materials import Material

_PAD_EV = 160.0  # below the core-loss range, so that losses from there can be scattered into it
_CHUNK = 256


@dataclass(frozen=True)
class Beam:
    """How a spectrum image was taken, and what is wrong with its axes.

    True energies are `start_eV + true_dispersion_eV * channel`; `file_axes` is what the files say instead.
    """

    beam_energy_keV: float = 300.0
    convergence_mrad: float = 10.0
    collection_mrad: float = 20.0
    start_eV: float = 250.0
    channels: int = 1300
    low_start_eV: float = -20.0
    low_channels: int = 440
    dispersion_eV: float = 0.5
    dispersion_factor: float = 1.0  # true dispersion over the file's
    offset_eV: float = 0.0  # file minus truth, at the middle of the core-loss range
    low_offset_eV: float = 0.0  # file minus truth, at the zero loss
    electrons: float = 1e6  # through each pixel during the core-loss exposure
    low_electrons: float = 2e4
    zero_loss_fwhm_eV: float = 1.0
    jitter_eV: float = 0.1
    drift_eV: float = 0.15  # over the whole scan
    detector: Detector = field(default_factory=Detector)

    @property
    def true_dispersion_eV(self) -> float:
        """Real energy width of a channel."""
        return self.dispersion_eV * self.dispersion_factor

    def core_energy(self) -> np.ndarray:
        """(channels,) true energy of each core-loss channel, in eV."""
        return self.start_eV + self.true_dispersion_eV * np.arange(self.channels)

    def file_axes(self) -> dict[str, float]:
        """What the files state: core_start_eV, low_start_eV, dispersion_eV."""
        middle = (self.channels - 1) / 2
        core_middle = self.start_eV + self.true_dispersion_eV * middle
        core_start = core_middle + self.offset_eV - self.dispersion_eV * middle
        zero_channel = -self.low_start_eV / self.true_dispersion_eV
        return {
            "core_start_eV": core_start,
            "low_start_eV": self.low_offset_eV - self.dispersion_eV * zero_channel,
            "dispersion_eV": self.dispersion_eV,
        }


@dataclass(frozen=True)
class SpectrumImage:
    """Recorded counts and their truth: arrays (rows, columns, channels), maps (rows, columns)."""

    core: np.ndarray
    low: np.ndarray
    areal_density: dict[str, np.ndarray]
    thickness_over_mfp: np.ndarray
    edge_counts: dict[str, np.ndarray]  # expected, before plural scattering, within 50 eV of the onset
    shift_eV: np.ndarray


def single_scattering(material: Material, energy_eV: np.ndarray) -> np.ndarray:
    """Distribution of one inelastic loss over evenly spaced energies from 0, adding up to one."""
    peak, width = material.plasmon_eV, material.plasmon_width_eV
    drude = energy_eV * width * peak**2 / ((energy_eV**2 - peak**2) ** 2 + (energy_eV * width) ** 2 + 1e-12)
    drude /= drude.sum()
    result = (1 - sum(weight for _, weight in material.shallow)) * drude
    for onset, weight in material.shallow:
        shape = np.where(energy_eV >= onset, (np.maximum(energy_eV, onset) / onset) ** -2.5, 0.0)
        result = result + weight * shape / shape.sum()
    return result


def _core_density(
    material: Material, energy: np.ndarray, beam: Beam, factors: Mapping[str, float]
) -> np.ndarray:
    """Probability nm^-1 eV^-1 of one core loss: background and edges."""
    below = material.background * (np.maximum(energy, 50.0) / 280.0) ** -material.exponent
    edges = edge_spectra(material, energy, factors, beam.beam_energy_keV, beam.collection_mrad)
    return below + sum(edges.values(), np.zeros_like(energy))


def zero_loss_shift(beam: Beam, shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """(rows, columns) shift of the spectrum in eV: slow drift along the scan, and jitter; zero on average."""
    time = np.arange(shape[0] * shape[1]).reshape(shape) / max(shape[0] * shape[1] - 1, 1)
    shift = beam.drift_eV * (time - 0.5) + beam.jitter_eV * rng.standard_normal(shape)
    return shift - shift.mean()


def _slow_field(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Smooth map of unit order: a plane and one wave."""
    y, x = np.meshgrid(np.linspace(-1, 1, shape[0]), np.linspace(-1, 1, shape[1]), indexing="ij")
    a, b, phase = rng.normal(0, 0.6), rng.normal(0, 0.6), rng.uniform(0, 2 * math.pi)
    return a * x + b * y + 0.4 * np.sin(2.5 * x + 1.5 * y + phase)


def _zero_loss(frequency: np.ndarray, beam: Beam, position_eV: np.ndarray) -> np.ndarray:
    """Transform of the zero loss (n, frequencies) at n positions, integrated over channels and sampled.

    Frequencies beyond those of the channels fold back, as sampling does; cut off, they would ring.
    """
    sigma = beam.zero_loss_fwhm_eV / (2 * math.sqrt(2 * math.log(2)))
    step, total = beam.true_dispersion_eV, 0.0
    for order in (-1, 0, 1):
        f = frequency - order / step
        shape = np.exp(-2 * (math.pi * sigma * f) ** 2) * np.sinc(f * step)
        total = total + shape * np.exp(-2j * math.pi * np.outer(position_eV, f))
    return total


def expected_dual(
    lengths_nm: Mapping[str, np.ndarray],
    materials: Mapping[str, Material],
    beam: Beam,
    factors: Mapping[str, float],
    shift_eV: np.ndarray | float = 0.0,
    exponent_change: np.ndarray | float = 0.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Expected electrons per channel in core loss and low loss.

    Parameters
    ----------
    lengths_nm : mapping of str to (...) array
        Way through each material in nm.
    materials : mapping of str to Material
        The same keys.
    factors : mapping of str to float
        See `ceiflow.phantom.edges.nature`.
    shift_eV, exponent_change : (...) array or float
        Shift of the whole spectrum; change of the background's exponent.

    Returns
    -------
    core, low : (..., channels), (..., low channels) float64 arrays
    """
    names = list(lengths_nm)
    shape = np.broadcast_shapes(*(np.shape(lengths_nm[name]) for name in names), np.shape(shift_eV))
    ways = np.stack([np.broadcast_to(lengths_nm[name], shape).ravel() for name in names], 1).astype(float)
    shift = np.broadcast_to(shift_eV, shape).ravel()
    bend = np.broadcast_to(exponent_change, shape).ravel()

    step = beam.true_dispersion_eV
    pad = math.ceil(_PAD_EV / step)
    size = fft.next_fast_len(beam.channels + 2 * pad, real=True)
    energy = beam.start_eV + step * (np.arange(size) - pad)
    loss = step * np.arange(size)
    frequency = fft.rfftfreq(size, step)
    single = np.stack([fft.rfft(single_scattering(materials[name], loss)) for name in names])
    density = np.stack([_core_density(materials[name], energy, beam, factors) for name in names]) * step
    paths = np.array([materials[name].mean_free_path_nm for name in names])
    elastic = np.array([materials[name].elastic_path_nm for name in names])
    log_energy = np.log(np.maximum(energy, 50.0) / 280.0)

    core = np.empty((ways.shape[0], beam.channels))
    low = np.empty((ways.shape[0], beam.low_channels))
    for start in range(0, ways.shape[0], _CHUNK):
        part = slice(start, start + _CHUNK)
        optical = ways[part] / paths
        transmitted = np.exp(-(ways[part] / elastic).sum(1))[:, None]
        plural = np.exp(optical @ (single - 1))
        losses = (ways[part] @ density) * np.exp(-bend[part, None] * log_energy)
        spread = fft.rfft(losses) * plural * _zero_loss(frequency, beam, shift[part])
        core[part] = fft.irfft(spread, size)[:, pad : pad + beam.channels] * (transmitted * beam.electrons)
        spread = plural * _zero_loss(frequency, beam, shift[part] - beam.low_start_eV)
        low[part] = fft.irfft(spread, size)[:, : beam.low_channels] * (transmitted * beam.low_electrons)
    return (
        np.maximum(core, 0).reshape(*shape, beam.channels),
        np.maximum(low, 0).reshape(*shape, beam.low_channels),
    )


def areal_density(
    lengths_nm: Mapping[str, np.ndarray], materials: Mapping[str, Material]
) -> dict[str, np.ndarray]:
    """Atoms nm^-2 by element: density times way, summed over the materials."""
    result: dict[str, np.ndarray] = {}
    for name, length in lengths_nm.items():
        for element, density in materials[name].atoms.items():
            result[element] = result.get(element, 0.0) + density * np.asarray(length)
    return result


def simulate_dual(
    lengths_nm: Mapping[str, np.ndarray],
    materials: Mapping[str, Material],
    beam: Beam,
    factors: Mapping[str, float],
    rng: np.random.Generator,
) -> SpectrumImage:
    """Record a dual spectrum image.

    Parameters
    ----------
    lengths_nm : mapping of str to (rows, columns) array
        Way through each material in nm.
    rng : numpy.random.Generator
        The acquisition's own stream.

    Returns
    -------
    SpectrumImage
    """
    shape = np.shape(next(iter(lengths_nm.values())))
    shift = zero_loss_shift(beam, shape, rng)
    bend = 0.08 * _slow_field(shape, rng)
    core, low = expected_dual(lengths_nm, materials, beam, factors, shift, bend)
    counts = record(core, beam.detector, rng)
    low_detector = replace(beam.detector, spike_rate=0.0)
    low_counts = record(low, low_detector, rng)
    if beam.detector.spike_rate:
        add_spikes(counts, beam.detector.spike_rate, rng)
    optical = sum(
        np.asarray(length) / materials[name].mean_free_path_nm for name, length in lengths_nm.items()
    )
    densities = areal_density(lengths_nm, materials)
    expected = {
        el: _counts_in_window(el, lengths_nm, materials, beam, factors) for el in densities if el in factors
    }
    return SpectrumImage(counts, low_counts, densities, optical, expected, shift)


def _counts_in_window(
    element: str,
    lengths_nm: Mapping[str, np.ndarray],
    materials: Mapping[str, Material],
    beam: Beam,
    factors: Mapping[str, float],
) -> np.ndarray:
    """Electrons that one edge takes within the range of the core loss, without elastic losses."""
    energy = beam.core_energy()
    total = 0.0
    for name, length in lengths_nm.items():
        edges = edge_spectra(materials[name], energy, factors, beam.beam_energy_keV, beam.collection_mrad)
        if element in edges:
            total = (
                total + np.asarray(length) * edges[element].sum() * beam.true_dispersion_eV * beam.electrons
            )
    return total
