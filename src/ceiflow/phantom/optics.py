"""Image formation: an exit wave through a lens with aberrations and limited coherence, then a camera."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import fft

from .detectors import Detector, record

_REST_KEV = 510.999
# Pixels simulated around the frame, so that fringes of one side do not wrap to the other.
MARGIN = 88


@dataclass(frozen=True)
class Lens:
    """Microscope and exposure of an image. Defocus is positive under focus."""

    beam_energy_keV: float = 300.0
    defocus_nm: float = 80.0
    cs_mm: float = 0.005
    focal_spread_nm: float = 3.5
    illumination_mrad: float = 0.15
    dose_e_per_A2: float = 400.0
    mtf_half: float = 0.45  # cycles a pixel at which the camera transfers half

    @property
    def wavelength_nm(self) -> float:
        """Relativistic wavelength of the beam's electrons."""
        energy = self.beam_energy_keV
        return 1.239842 / math.sqrt(energy * (energy + 2 * _REST_KEV))

    @property
    def interaction(self) -> float:
        """Phase in rad of 1 V nm of projected potential."""
        energy = self.beam_energy_keV
        return (
            2
            * math.pi
            / (self.wavelength_nm * energy * 1e3)
            * (_REST_KEV + energy)
            / (2 * _REST_KEV + energy)
        )


def frequencies(shape: tuple[int, int], pixel_nm: float) -> np.ndarray:
    """(rows, columns) squared spatial frequency in nm^-2, in FFT order."""
    ky = fft.fftfreq(shape[0], pixel_nm)
    kx = fft.fftfreq(shape[1], pixel_nm)
    return (ky[:, None] ** 2 + kx[None, :] ** 2).astype(np.float32)


def transfer(k_squared: np.ndarray, lens: Lens) -> np.ndarray:
    """Complex transfer function of the wave: aberrations, focal spread and illumination angle."""
    wavelength = lens.wavelength_nm
    cs_nm = lens.cs_mm * 1e6
    chi = math.pi * (0.5 * cs_nm * wavelength**3 * k_squared**2 - wavelength * lens.defocus_nm * k_squared)
    temporal = np.exp(-0.5 * (math.pi * wavelength * lens.focal_spread_nm * k_squared) ** 2)
    slope = cs_nm * wavelength**3 * k_squared - lens.defocus_nm * wavelength  # (d chi / d k) / (2 pi k)
    spatial = np.exp(-((math.pi * lens.illumination_mrad * 1e-3 / wavelength * slope) ** 2) * k_squared)
    return (temporal * spatial * np.exp(-1j * chi)).astype(np.complex64)


def expected_image(phase: np.ndarray, attenuation: np.ndarray, pixel_nm: float, lens: Lens) -> np.ndarray:
    """Mean electrons per pixel.

    Parameters
    ----------
    phase : (rows, columns) array
        Phase of the exit wave in rad.
    attenuation : (rows, columns) array
        Minus the logarithm of the transmitted intensity.

    Returns
    -------
    (rows, columns) float32 array
        One vacuum pixel holds dose * pixel area.
    """
    wave = np.exp(-0.5 * attenuation).astype(np.complex64) * np.exp(1j * phase.astype(np.complex64))
    imaged = fft.ifft2(fft.fft2(wave) * transfer(frequencies(phase.shape, pixel_nm), lens))
    intensity = (imaged.real**2 + imaged.imag**2).astype(np.float32)
    if lens.mtf_half:
        cycles = frequencies(phase.shape, pixel_nm)[:, : phase.shape[1] // 2 + 1] * pixel_nm**2
        mtf = np.exp2(-cycles / lens.mtf_half**2).astype(np.float32)
        intensity = fft.irfft2(fft.rfft2(intensity) * mtf, s=phase.shape)
    return intensity * (lens.dose_e_per_A2 * 100 * pixel_nm**2)


def expose(
    phase: np.ndarray,
    attenuation: np.ndarray,
    pixel_nm: float,
    lens: Lens,
    rng: np.random.Generator,
    detector: Detector | None = None,
    margin: int = MARGIN,
) -> np.ndarray:
    """One recorded image; `margin` pixels are cut off on each side.

    Returns
    -------
    (rows - 2 margin, columns - 2 margin) array, see `ceiflow.phantom.detectors.record`
    """
    image = expected_image(phase, attenuation, pixel_nm, lens)[margin:-margin, margin:-margin]
    return record(image, detector or Detector(), rng)
