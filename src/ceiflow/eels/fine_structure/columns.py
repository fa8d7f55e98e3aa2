"""Columns of the unmixing model: references at a shift and a broadening, spread by plural scattering."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ceiflow.eels.fine_structure.references import Reference
from ceiflow.eels.fine_structure.templates import GRID_STEP_EV

# Room above the window, so that the zero loss's gain side may bring intensity down into it.
_MARGIN_EV = 20.0


class ReferenceColumns:
    """Counts per channel for unit intensity of each reference, at any shift and broadening.

    Parameters
    ----------
    energy_eV : (n,) array
        Channel centres of the window, evenly spaced.
    kernel : ((k,) array, int)
        Low loss of unit area on the same channels, and the index of its zero.
    references : sequence of Reference
    """

    def __init__(
        self, energy_eV: np.ndarray, kernel: tuple[np.ndarray, int], references: Sequence[Reference]
    ):
        self.step = float(energy_eV[1] - energy_eV[0])
        self.size = energy_eV.size
        weights, self.zero = kernel
        extra = int(np.ceil(_MARGIN_EV / self.step))
        self.extended = energy_eV[0] + self.step * np.arange(-self.zero, energy_eV.size + extra)
        self.before = self.zero
        # Losses beyond the window's own length cannot come back into it.
        self.weights = weights[: self.zero + self.extended.size]
        self.length = 1 << (self.extended.size + self.weights.size - 2).bit_length()
        self.transform = np.fft.rfft(self.weights, self.length)
        self.references = list(references)

    def columns(self, shift_eV: float, broadening_eV: float) -> np.ndarray:
        """(n, references) array: each reference moved up by `shift_eV` and blurred by a Gaussian sigma."""
        from scipy.ndimage import gaussian_filter1d

        rows = []
        for item in self.references:
            values = item.intensity
            if broadening_eV > 0:
                values = gaussian_filter1d(values, broadening_eV / GRID_STEP_EV, mode="nearest")
            # The mean over a channel by the difference of the running integral.
            integral = np.concatenate([[0.0], np.cumsum(values) * GRID_STEP_EV])
            places = np.concatenate(
                [item.energy_eV - GRID_STEP_EV / 2, [item.energy_eV[-1] + GRID_STEP_EV / 2]]
            )
            edges = np.append(self.extended - self.step / 2, self.extended[-1] + self.step / 2) - shift_eV
            rows.append(np.diff(np.interp(edges, places, integral)))
        return self._spread(np.stack(rows))

    def _spread(self, rows: np.ndarray) -> np.ndarray:
        product = np.fft.rfft(rows, self.length) * self.transform
        spread = np.fft.irfft(product, self.length)[:, self.zero : self.zero + self.extended.size]
        return spread[:, self.before : self.before + self.size].T
