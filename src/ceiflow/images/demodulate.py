"""Complex amplitude of single frequencies of an image, in Gaussian windows."""

from __future__ import annotations

import numpy as np
from scipy import fft

from ceiflow.images.field import on_grid


class Demodulator:
    """Complex amplitude of any frequency of one image, on a grid coarser by a whole factor.

    The window acts in Fourier space, where a patch about the frequency is all that is left of the image: the
    inverse transform is as small as the coarse grid.
    """

    def __init__(self, flat: np.ndarray, step_nm: float, factor: int, taper_nm: float = 0.5):
        self.shape = (flat.shape[0] // factor, flat.shape[1] // factor)
        self.step, self.factor = step_nm, factor
        ramp = [_taper(n, max(2, int(taper_nm / step_nm))) for n in flat.shape]
        self.transform = fft.fft2(flat * ramp[0][:, None] * ramp[1][None, :], workers=1)
        self.size = flat.shape

    def amplitude(
        self,
        g_row: float,
        g_column: float,
        sigma_nm: float,
        thin: int = 1,
        shift_nm: tuple[float, float] = (0.0, 0.0),
    ) -> np.ndarray:
        """Complex amplitude of exp(2 pi i g r) in a Gaussian window of one standard deviation `sigma_nm`.

        With `thin` on a grid that is coarser still, by that factor; `shift_nm` moves what is seen towards
        larger rows and columns.
        """
        axes = []
        shape = tuple(max(8, n // thin) for n in self.shape)
        for g, size, out, moved in zip((g_row, g_column), self.size, shape, shift_nm, strict=True):
            centre = round(g * size * self.step)
            offset = fft.fftfreq(out, 1 / out).astype(int)
            frequency = (centre + offset) / (size * self.step) - g
            window = np.exp(-2 * (np.pi * sigma_nm * frequency) ** 2)
            # Coarse samples stand in the middle of their block of fine ones.
            shift = np.exp(1j * np.pi * offset * (size / out - 1 - 2 * moved / self.step) / size)
            axes.append(((centre + offset) % size, (window * shift).astype(np.complex64)))
        (rows, weight_r), (columns, weight_c) = axes
        patch = self.transform[np.ix_(rows, columns)] * weight_r[:, None] * weight_c[None, :]
        return fft.ifft2(patch, workers=1) * (patch.size / (self.size[0] * self.size[1]))

    def spread(self, small: np.ndarray) -> np.ndarray:
        """A map of the coarser grid on the whole one, by linear interpolation."""
        return on_grid(small, self.shape)


def _taper(length: int, width: int) -> np.ndarray:
    """Ones with cosine ramps at both ends."""
    ramp = np.ones(length, np.float32)
    rise = 0.5 - 0.5 * np.cos(np.pi * (np.arange(width) + 0.5) / width)
    ramp[:width] = rise
    ramp[-width:] = rise[::-1]
    return ramp
