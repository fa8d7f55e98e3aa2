"""One small type for a signal of any format, and the choice of one signal in a file of several."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ceiflow.errors import SignalError
from ceiflow.signals.filemeta import file_metadata, signal_type, title
from ceiflow.signals.formats import PLAIN, LazyArray, folder_size, guard, read_dictionaries, source_files
from ceiflow.units import to_electronvolts, to_nanometres

# Points of an axis given one by one may lie this share of a step beside the even grid.
_UNEVEN = 0.05
# No lossless compression of counts reaches this; small files of a few constants may.
_LARGEST_COMPRESSION = 1000
_SMALL_BYTES = 2**26
_NO_UNIT = {
    "",
    "none",
    "<undefined>",
    "undefined",
    "t.undefined",
    "px",
    "pixel",
    "pixels",
    "channel",
    "channels",
}
_RECIPROCAL = re.compile(r"^1\s*/|\^\s*-\s*1|⁻¹|-1$")


@dataclass(frozen=True)
class Axis:
    """One axis of a raw signal as the file states it.

    Attributes
    ----------
    name, unit : str
        Empty where the file has none.
    scale, offset : float
        Step and value at index 0, in `unit`.
    size : int
    navigate : bool or None
        Whether the file counts it among the scan axes; None where it does not say.
    even : bool
        False where the points of the axis are not equally spaced.
    """

    name: str
    unit: str
    scale: float
    offset: float
    size: int
    navigate: bool | None = None
    even: bool = True

    @property
    def is_energy(self) -> bool:
        return to_electronvolts(self.unit) is not None

    @property
    def is_length(self) -> bool:
        return to_nanometres(self.unit) is not None

    @property
    def is_reciprocal(self) -> bool:
        return bool(_RECIPROCAL.search(self.unit.strip()))


@dataclass(frozen=True)
class RawSignal:
    """One signal of an instrument file; its data are not read yet.

    Attributes
    ----------
    name : str
        The file as the sheet writes it, for messages.
    index : int
        Which signal of the file.
    title : str
    data : LazyArray
        In the file's order of axes.
    axes : tuple of Axis
    signal_type : str
        EELS, EDS_TEM... or empty.
    metadata : dict of str to float
        beam_energy_keV, convergence_mrad, collection_mrad, exposure_s, as far as stated.
    notes : tuple of str
        Placeholders that were taken out, units that were put right.
    """

    name: str
    index: int
    title: str
    data: LazyArray
    axes: tuple[Axis, ...]
    signal_type: str = ""
    metadata: dict[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        return self.data.shape

    @property
    def energy_index(self) -> int | None:
        """The axis that is an energy: by unit, else by signal type and flag, else by name."""
        by_unit = [i for i, axis in enumerate(self.axes) if axis.is_energy]
        if by_unit:
            return by_unit[-1] if len(by_unit) == 1 else None
        bare = [i for i, axis in enumerate(self.axes) if axis.unit == ""]
        if self.signal_type == "EELS":
            signal = [i for i, axis in enumerate(self.axes) if axis.navigate is False]
            if len(signal) == 1 and signal[0] in bare:
                return signal[0]
        named = [i for i in bare if self.axes[i].name.lower().startswith("energy")]
        return named[0] if len(named) == 1 else None

    @property
    def pixels(self) -> int:
        """Number of points outside the energy axis."""
        skip = self.energy_index
        return int(np.prod([n for i, n in enumerate(self.shape) if i != skip], dtype=np.int64))

    @property
    def energy_range_eV(self) -> tuple[float, float] | None:
        """Lowest and highest energy of the axis, None without an energy axis in a known unit."""
        index = self.energy_index
        if index is None or not self.axes[index].is_energy:
            return None
        axis = self.axes[index]
        factor = to_electronvolts(axis.unit)
        ends = (axis.offset * factor, (axis.offset + axis.scale * (axis.size - 1)) * factor)
        return min(ends), max(ends)

    @property
    def label(self) -> str:
        shape = " x ".join(str(length) for length in self.shape)
        return f"{self.index} '{self.title}' ({shape})"


def read_file(path: str | Path, name: str | None = None) -> list[RawSignal]:
    """All signals of an instrument file, data unread where the format allows.

    Parameters
    ----------
    path : path
    name : str, optional
        How messages call the file; the path's last part by default.

    Raises
    ------
    SignalError
        If the file is absent, empty, of an unknown format, cannot be read or holds no signal.
    """
    path = Path(path)
    name = name or path.name
    items = read_dictionaries(path, name)
    # What the file says of itself may be of any kind; a name that the program lacks is no fault of the file.
    with guard(name, path, (SignalError, MemoryError, ImportError, NameError)):
        signals = [_raw_signal(item, i, name, path) for i, item in enumerate(items)]
    if not signals:
        raise SignalError(name, "content", "no signal", "at least one signal")
    return signals


def list_signals(path: str | Path) -> list[str]:
    """Index, title and shape of every signal of a file, as messages write them."""
    return [signal.label for signal in read_file(path)]


def read_signal(path: str | Path, role: str = "core_loss", wanted: int | str | None = None) -> RawSignal:
    """The signal of a file that plays a role, see `read_file` and `choose`."""
    return choose(read_file(path), role, wanted)


def choose(signals: Sequence[RawSignal], role: str, wanted: int | str | None = None) -> RawSignal:
    """The signal that is asked for, or the only one that fits.

    Parameters
    ----------
    signals : sequence of RawSignal
        Of one file.
    role : {"core_loss", "low_loss", "adf", "image"}
        Spectra fit the first two, one picture the others. Among several spectra a spectrum image goes
        before a single spectrum, and the zero loss in range tells low loss from core loss.
    wanted : int or str, optional
        Index or title. A number that is nobody's title is an index.

    Raises
    ------
    SignalError
        If there is no such signal, or more than one; lists index, title and shape of each.
    """
    if wanted is not None and wanted != "":
        return _named(signals, wanted)
    if len(signals) == 1:
        return signals[0]
    spectra = role in ("core_loss", "low_loss")
    fitting = [signal for signal in signals if (_is_eels(signal) if spectra else _is_picture(signal))]
    if spectra and len(fitting) > 1:
        fitting = _narrow(fitting, lambda signal: _holds_zero(signal) == (role == "low_loss"))
        fitting = _narrow(fitting, lambda signal: signal.pixels > 1)
    if len(fitting) == 1:
        return fitting[0]
    kind = "spectrum" if spectra else "image"
    found = f"{len(fitting)} signals that fit among {_listed(signals)}"
    raise SignalError(signals[0].name, "signal", found, f"one {kind}, or its index or title in the sheet")


def _named(signals: Sequence[RawSignal], wanted: int | str) -> RawSignal:
    text = str(wanted).strip()
    found = [signal for signal in signals if signal.title == text]
    found = found or [signal for signal in signals if signal.title.lower() == text.lower()]
    if not found and re.fullmatch(r"\d+(\.0)?", text):
        found = [signal for signal in signals if signal.index == int(float(text))]
    if len(found) != 1:
        amount = f"{len(found)} signals called '{text}'" if found else f"no signal '{text}'"
        raise SignalError(signals[0].name, "signal", f"{amount} among {_listed(signals)}", "one of them")
    return found[0]


def _narrow(signals: list[RawSignal], test: Any) -> list[RawSignal]:
    return [signal for signal in signals if test(signal)] or signals


def _listed(signals: Sequence[RawSignal]) -> str:
    return "; ".join(signal.label for signal in signals)


def _is_eels(signal: RawSignal) -> bool:
    return (
        signal.energy_index is not None and not signal.signal_type.startswith("EDS") and signal.data.size > 0
    )


def _is_picture(signal: RawSignal) -> bool:
    lengths = [length for length in signal.shape if length != 1]
    return signal.energy_index is None and len(lengths) == 2 and signal.data.dtype.kind != "c"


def _holds_zero(signal: RawSignal) -> bool:
    ends = signal.energy_range_eV
    return ends is not None and ends[0] <= 0 <= ends[1]


def _raw_signal(item: Mapping[str, Any], index: int, name: str, path: Path) -> RawSignal:
    data = LazyArray(item["data"], name, path)
    is_msa = path.suffix.lower() in (".msa", ".emsa")
    values, notes = file_metadata(item, is_msa)
    signal = RawSignal(
        name=name,
        index=index,
        title=title(item),
        data=data,
        axes=_axes(item.get("axes") or [], data, name),
        signal_type=signal_type(item),
        metadata=values,
        notes=tuple(notes),
    )
    _check_length(signal, path)
    if is_msa:
        _check_msa(signal, item.get("original_metadata") or {})
    return signal


def _check_length(signal: RawSignal, path: Path) -> None:
    """Refuse a file too short for the array its header announces; a lazy reader does not look."""
    expected = signal.data.size * signal.data.itemsize
    found = sum(folder_size(source) for source in source_files(path))
    factor = 1 if path.suffix.lower() in PLAIN else _LARGEST_COMPRESSION
    if expected > found * factor and (factor == 1 or expected > _SMALL_BYTES):
        raise SignalError(signal.name, "size", f"{found} bytes", f"{expected} bytes of data {signal.label}")


def _check_msa(signal: RawSignal, original: Mapping[str, Any]) -> None:
    """Refuse an MSA file that is not what its header announces: the reader takes any number of lines."""
    expected = _number(original.get("NPOINTS"))
    if expected is None or not signal.data.size:
        expected = "an MSA file with NPOINTS and XPERCHAN"
        raise SignalError(signal.name, "header", "no MSA header before the data", expected)
    if _number(original.get("XPERCHAN")) is None:
        raise SignalError(
            signal.name, "XPERCHAN", original.get("XPERCHAN", "nothing"), "the width of a channel"
        )
    if signal.data.size != expected:
        raise SignalError(signal.name, "NPOINTS", f"{signal.data.size} points", f"{expected:g} points")


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) else None


def _axes(entries: Sequence[Mapping[str, Any]], data: LazyArray, name: str) -> tuple[Axis, ...]:
    try:
        axes = [_axis(entry) for entry in entries]
    except (TypeError, ValueError) as error:
        raise SignalError(name, "axes", str(error), "a number for each step and offset") from error
    if tuple(axis.size for axis in axes) != data.shape:
        # The list is in order of the array in every format but where the reader says otherwise.
        keyed = zip((entry.get("index_in_array", i) for i, entry in enumerate(entries)), axes, strict=True)
        axes = [axis for _, axis in sorted(keyed, key=lambda pair: pair[0])]
    if tuple(axis.size for axis in axes) != data.shape:
        sizes = tuple(axis.size for axis in axes)
        raise SignalError(name, "axes", f"axes of {sizes} for data of {data.shape}", "one axis a dimension")
    return tuple(axes)


def _axis(entry: Mapping[str, Any]) -> Axis:
    name, unit = _text(entry.get("name")), _text(entry.get("units"))
    navigate = entry.get("navigate")
    navigate = None if navigate is None else bool(navigate)
    if entry.get("axis") is None:
        size = int(entry.get("size", 0))
        even = "expression" not in entry
        return Axis(
            name, unit, float(entry.get("scale", 1.0)), float(entry.get("offset", 0.0)), size, navigate, even
        )
    points = np.asarray(entry["axis"], float)
    first = float(points[0]) if points.size else 0.0
    step = float(points[-1] - points[0]) / (points.size - 1) if points.size > 1 else 1.0
    beside = np.abs(points - (first + step * np.arange(points.size)))
    even = bool(np.all(beside <= _UNEVEN * abs(step))) and step != 0
    return Axis(name, unit, step, first, points.size, navigate, even)


def _text(value: Any) -> str:
    text = "" if value is None else str(value).strip()
    return "" if text.lower() in _NO_UNIT else text
