"""Raw signals in canonical order: rows, columns, energy; energies in eV and lengths in nm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ceiflow.errors import SignalError
from ceiflow.signals.formats import LazyArray
from ceiflow.signals.reader import Axis, RawSignal
from ceiflow.units import to_electronvolts, to_nanometres

# Two steps that differ by less than this share are one pixel size.
_SQUARE = 0.01
_COLUMN_NAMES = ("x", "width", "column", "columns")
_ROW_NAMES = ("y", "height", "row", "rows")


@dataclass(frozen=True)
class Spectra:
    """Spectra in canonical order.

    Attributes
    ----------
    data : LazyArray, (rows, columns, channels)
    energy_offset_eV, energy_scale_eV : float or None
        Centre of channel 0 and width of a channel; None where the axis has no unit.
    pixel_size_nm : float or None
        None where the step has no unit.
    oblong : str
        The two steps, where they differ; empty for square pixels.
    no_size : str
        Why there is no pixel size; empty where there is one, or nothing to have one.
    notes : tuple of str
    """

    data: LazyArray
    energy_offset_eV: float | None
    energy_scale_eV: float | None
    pixel_size_nm: float | None
    oblong: str = ""
    no_size: str = ""
    notes: tuple[str, ...] = ()

    @property
    def grid(self) -> tuple[int, int]:
        return self.data.shape[0], self.data.shape[1]


@dataclass(frozen=True)
class Picture:
    """One image: data (rows, columns), pixel size in nm (None where it has no unit)."""

    data: LazyArray
    pixel_size_nm: float | None
    oblong: str = ""
    no_size: str = ""
    notes: tuple[str, ...] = ()


def as_spectra(raw: RawSignal) -> Spectra:
    """A raw signal as spectra on a grid.

    A single spectrum is (1, 1, channels), a line (1, n, channels) or, where the file calls its axis y,
    (n, 1, channels). A falling energy axis is turned round.

    Raises
    ------
    SignalError
        If it holds an image, X-rays, no or several energy axes, an uneven one, or more than two others.
    """
    index = _energy_index(raw)
    energy = raw.axes[index]
    kept = _scan_axes(raw, index)
    data = raw.data.map(lambda array: _arranged(array, [*kept, index]))
    axes = [raw.axes[i] for i in kept]
    if len(axes) == 1:
        upright = axes[0].name.lower() in _ROW_NAMES
        data = data.map(lambda array: array[:, None, :] if upright else array[None, :, :])
    elif not axes:
        data = data.map(lambda array: array[None, None, :])
    factor = to_electronvolts(energy.unit)
    offset = scale = None
    if factor is not None:
        offset, scale = energy.offset * factor, energy.scale * factor
    if energy.scale < 0:
        data = data.map(lambda array: array[..., ::-1])
        if factor is not None:
            offset, scale = offset + scale * (energy.size - 1), -scale
    return Spectra(data, offset, scale, *_pixel_size(axes), raw.notes)


def as_picture(raw: RawSignal) -> Picture:
    """A raw signal as one image.

    Raises
    ------
    SignalError
        If it holds spectra, a stack, complex values, or is in reciprocal space.
    """
    if raw.energy_index is not None:
        raise SignalError(raw.name, "modality", f"spectra {_shape(raw)} in signal {raw.label}", "an image")
    _check_values(raw)
    kept = [i for i, axis in enumerate(raw.axes) if axis.size != 1]
    if len(kept) != 2:
        found = f"{len(kept)} axes, {_shape(raw)}, in signal {raw.label}"
        raise SignalError(raw.name, "dimension", found, "one image of two axes, not a stack or a line")
    kept = _rows_first(raw, kept)
    axes = [raw.axes[i] for i in kept]
    for axis in axes:
        if axis.is_reciprocal:
            raise SignalError(raw.name, "axes", f"reciprocal space ({axis.unit})", "an image in real space")
    notes = raw.notes
    if raw.data.is_colour:
        notes = (*notes, "a colour picture was read as its luminance; what is drawn on it stays")
    data = raw.data.map(lambda array: _arranged(array, kept))
    return Picture(data, *_pixel_size(axes), notes)


def cropped(signal: Any, margins: tuple[int, int, int, int]) -> Any:
    """Spectra or a picture without margins of (top, bottom, left, right) pixels."""
    top, bottom, left, right = margins
    rows, columns = signal.data.shape[:2]
    data = signal.data.map(lambda array: array[top : rows - bottom, left : columns - right])
    return replace(signal, data=data)


def _energy_index(raw: RawSignal) -> int:
    if raw.signal_type.startswith("EDS"):
        raise SignalError(raw.name, "signal", f"X-ray spectra ({raw.signal_type})", "electron energy losses")
    index = raw.energy_index
    if index is None:
        units = ", ".join(f"'{axis.unit}'" for axis in raw.axes)
        what = "an image" if len(raw.axes) == 2 else f"{len(raw.axes)} axes, {_shape(raw)},"
        found = f"{what} with units {units} in signal {raw.label}"
        raise SignalError(raw.name, "axes", found, "spectra with one energy axis in eV")
    _check_values(raw)
    axis = raw.axes[index]
    if axis.size < 2:
        raise SignalError(raw.name, "energy axis", f"{axis.size} channel", "a spectrum")
    if not axis.even or not np.isfinite([axis.scale, axis.offset]).all() or axis.scale == 0:
        found = (
            f"step {axis.scale:g}, offset {axis.offset:g}" if axis.even else "uneven or not monotonic steps"
        )
        raise SignalError(raw.name, "energy axis", found, "channels of one width")
    return index


def _check_values(raw: RawSignal) -> None:
    if raw.data.size == 0:
        raise SignalError(raw.name, "size", f"no data in signal {raw.label}", "at least one value")
    if raw.data.dtype.kind not in "uifb":
        raise SignalError(raw.name, "data type", str(raw.data.dtype), "integer or real numbers")


def _scan_axes(raw: RawSignal, energy: int) -> list[int]:
    others = [i for i in range(len(raw.axes)) if i != energy]
    if len(others) > 2:
        others = [i for i in others if raw.axes[i].size != 1]
    if len(others) > 2:
        found = f"{len(others)} axes beside the energy, {_shape(raw)}"
        raise SignalError(raw.name, "dimension", found, "rows, columns and energy")
    return _rows_first(raw, others)


def _rows_first(raw: RawSignal, kept: list[int]) -> list[int]:
    """Axes in order of the array, unless the file itself calls the first x and the second y."""
    names = [raw.axes[i].name.lower() for i in kept]
    if len(kept) == 2 and names[0] in _COLUMN_NAMES and names[1] in _ROW_NAMES:
        return kept[::-1]
    return kept


def _arranged(array: Any, order: Sequence[int]) -> Any:
    """The given axes in the given order; the others have length 1 and are dropped."""
    dropped = [i for i in range(array.ndim) if i not in order]
    array = array.transpose([*order, *dropped])
    return array[(..., *([0] * len(dropped)))] if dropped else array


def _pixel_size(axes: Sequence[Axis]) -> tuple[float | None, str, str]:
    """Pixel size in nm, a text where rows and columns differ, and why there is none."""
    used = [axis for axis in axes if axis.size > 1]
    if not used:
        return None, "", ""
    units = sorted({axis.unit for axis in used if not axis.is_length})
    if units:
        return None, "", f"the unit '{units[0]}' is no length" if units[0] else "the step has no unit"
    steps = [abs(axis.scale) * to_nanometres(axis.unit) for axis in used]
    if not np.isfinite(steps).all() or min(steps) <= 0:
        return None, "", f"the step is {steps[0]:g} nm"
    if max(steps) > min(steps) * (1 + _SQUARE):
        oblong = f"{steps[0]:.6g} nm a row, {steps[1]:.6g} nm a column"
        return None, oblong, f"pixels are not square ({oblong})"
    return float(np.mean(steps)), "", ""


def _shape(raw: RawSignal) -> str:
    return " x ".join(str(length) for length in raw.shape)
