"""Instrument files of simulated signals. The same signal gives the same bytes, whenever it is written."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

_MOMENT = datetime.datetime(2020, 1, 1)


@dataclass(frozen=True)
class Axis:
    """One axis of a signal: name, unit, value of the first element, step."""

    name: str
    unit: str
    start: float
    step: float


@dataclass(frozen=True)
class Signal:
    """What goes into a file.

    Parameters
    ----------
    data : array
        (rows, columns), (rows, columns, channels) or (channels,).
    axes : sequence of Axis
        In the order of `data`.
    title : str
    beam : mapping
        beam_energy_keV, and convergence_mrad, collection_mrad, exposure_s where known.
    spectrum : bool
        The last axis is an energy loss.
    scanning : bool
        Recorded with a scanned probe.
    """

    data: np.ndarray
    axes: Sequence[Axis]
    title: str = ""
    beam: dict[str, float] = field(default_factory=dict)
    spectrum: bool = False
    scanning: bool = False


def image(
    data: np.ndarray, pixel_nm: float, beam: dict[str, float], title: str = "", scanning: bool = False
) -> Signal:
    """Image (rows, columns) with square pixels."""
    axes = (Axis("y", "nm", 0.0, pixel_nm), Axis("x", "nm", 0.0, pixel_nm))
    return Signal(data, axes, title, dict(beam), False, scanning)


def spectra(
    data: np.ndarray,
    pixel_nm: float,
    start_eV: float,
    step_eV: float,
    beam: dict[str, float],
    title: str = "",
) -> Signal:
    """Spectrum image (rows, columns, channels), or a single spectrum (channels,)."""
    axes = [Axis("Energy loss", "eV", start_eV, step_eV)]
    if data.ndim == 3:
        axes = [Axis("y", "nm", 0.0, pixel_nm), Axis("x", "nm", 0.0, pixel_nm), *axes]
    return Signal(data, axes, title, dict(beam), True, True)


def write(path: Path, *signals: Signal) -> None:
    """Write signals in the format of the path's suffix.

    Parameters
    ----------
    path : Path
        .dm3, .dm4, .hspy (several signals), .msa (one spectrum) or .tif (one image). Its folder has to exist.

    Raises
    ------
    ValueError
        A suffix or a number of signals that has no writer.
    """
    path = Path(path)
    if path.suffix == ".hspy":
        _write_hspy(path, signals)
        return
    writers = {".dm3": _write_dm, ".dm4": _write_dm, ".msa": _write_msa, ".tif": _write_tif}
    if path.suffix not in writers or len(signals) != 1:
        raise ValueError(f"cannot write {len(signals)} signals into a {path.suffix} file")
    writers[path.suffix](path, signals[0])


def _write_dm(path: Path, signal: Signal) -> None:
    """Digital Micrograph, by nionswift-io."""
    from nion.data import Calibration, DataAndMetadata
    from nionswift_plugin.DM_IO import dm3_image_utils

    beam, data = signal.beam, np.ascontiguousarray(signal.data)
    mode = "STEM NANOPROBE" if signal.scanning else "TEM"
    tags: dict = {"Microscope Info": {"Voltage": beam["beam_energy_keV"] * 1e3, "Illumination Mode": mode}}
    if signal.spectrum:
        tags["EELS"] = {
            "Experimental Conditions": {
                "Convergence semi-angle (mrad)": beam["convergence_mrad"],
                "Collection semi-angle (mrad)": beam["collection_mrad"],
            },
            "Acquisition": {"Exposure (s)": beam["exposure_s"], "Number of frames": 1},
        }
        descriptor = DataAndMetadata.DataDescriptor(False, data.ndim - 1, 1)
    else:
        if "exposure_s" in beam and not signal.scanning:
            tags["Acquisition"] = {"Parameters": {"Detector": {"exposure (s)": beam["exposure_s"]}}}
        descriptor = DataAndMetadata.DataDescriptor(False, 0, 2)
    calibrations = [Calibration.Calibration(axis.start, axis.step, axis.unit) for axis in signal.axes]
    xdata = DataAndMetadata.new_data_and_metadata(
        data,
        dimensional_calibrations=calibrations,
        metadata=tags,
        data_descriptor=descriptor,
        timestamp=_MOMENT,
        timezone=None,
        timezone_offset=None,
    )
    with open(path, "wb") as handle:
        dm3_image_utils.save_image(xdata, handle, int(path.suffix[-1]))


def _write_hspy(path: Path, signals: Sequence[Signal]) -> None:
    """HyperSpy's HDF5, by RosettaSciIO; several signals are several experiments."""
    import h5py
    from rsciio.hspy import file_writer

    def put(target: Path, signal: Signal) -> None:
        file_writer(target, _hyperspy_dictionary(signal), compression="gzip", show_progressbar=False)

    put(path, signals[0])
    # The writer's own way to add a second signal (mode "a") fails with h5py: write it elsewhere and copy.
    for signal in signals[1:]:
        part = path.with_name(f".{path.name}.part")
        put(part, signal)
        with h5py.File(part) as source, h5py.File(path, "a") as target:
            source.copy(f"Experiments/{signal.title}", target["Experiments"])
        part.unlink()


def _hyperspy_dictionary(signal: Signal) -> dict:
    beam = signal.beam
    microscope: dict = {"beam_energy": float(beam["beam_energy_keV"])}
    microscope["acquisition_mode"] = "STEM" if signal.scanning else "TEM"
    if signal.spectrum:
        microscope["convergence_angle"] = float(beam["convergence_mrad"])
        detector = {"collection_angle": float(beam["collection_mrad"]), "exposure": float(beam["exposure_s"])}
        microscope["Detector"] = {"EELS": detector}
    elif "exposure_s" in beam:
        microscope["Camera"] = {"exposure": float(beam["exposure_s"])}
    navigation = signal.data.ndim - 1 if signal.spectrum else 0
    axes = [
        {
            "_type": "UniformDataAxis",
            "name": axis.name,
            "units": axis.unit,
            "offset": float(axis.start),
            "scale": float(axis.step),
            "size": int(size),
            "navigate": index < navigation,
            "is_binned": signal.spectrum and index >= navigation,
        }
        for index, (axis, size) in enumerate(zip(signal.axes, signal.data.shape, strict=True))
    ]
    return {
        "data": np.ascontiguousarray(signal.data),
        "axes": axes,
        "metadata": {
            "General": {"title": signal.title},
            "Signal": {"signal_type": "EELS" if signal.spectrum else ""},
            "Acquisition_instrument": {"TEM": microscope},
        },
        "original_metadata": {},
        "tmp_parameters": {},
        "attributes": {"_lazy": False, "ragged": False},
        "learning_results": {},
        "models": {},
        "package_info": {"package": "ceiflow", "package_version": ""},
    }


def _write_msa(path: Path, signal: Signal) -> None:
    """EMSA/MAS text of one spectrum."""
    if signal.data.ndim != 1:
        raise ValueError("an MSA file holds one spectrum")
    axis, beam = signal.axes[0], signal.beam
    header = [
        ("FORMAT", "EMSA/MAS Spectral Data File"),
        ("VERSION", "1.0"),
        ("TITLE", signal.title),
        ("DATE", ""),
        ("TIME", ""),
        ("OWNER", ""),
        ("NPOINTS", f"{signal.data.size}."),
        ("NCOLUMNS", "1."),
        ("XUNITS", axis.unit),
        ("YUNITS", "Intensity"),
        ("DATATYPE", "XY"),
        ("XPERCHAN", f"{axis.step:.8g}"),
        ("OFFSET", f"{axis.start:.8g}"),
        ("SIGNALTYPE", "ELS"),
        ("BEAMKV   -kV", f"{beam['beam_energy_keV']:g}"),
        ("CONVANGLE-mR", f"{beam['convergence_mrad']:g}"),
        ("COLLANGLE-mR", f"{beam['collection_mrad']:g}"),
        ("INTEGTIME-ms", f"{beam['exposure_s'] * 1e3:g}"),
        ("SPECTRUM", "Spectral Data Starts Here"),
    ]
    energies = axis.start + axis.step * np.arange(signal.data.size)
    lines = [f"#{key:<12}: {value}" for key, value in header]
    lines += [f"{energy:.6f}, {count:.9g}" for energy, count in zip(energies, signal.data, strict=True)]
    lines += [f"#{'ENDOFDATA':<12}: "]
    path.write_text("\r\n".join(lines) + "\r\n", encoding="ascii", newline="")


def _write_tif(path: Path, signal: Signal) -> None:
    """TIFF with the pixel size in ImageJ's way; readers may miss its unit, and it holds no beam energy."""
    import tifffile

    if signal.data.ndim != 2 or signal.axes[0].unit != "nm":
        raise ValueError("a TIFF file holds one image with pixels in nm")
    per_nm = 1 / signal.axes[0].step
    unit = {"unit": "nm"}
    tifffile.imwrite(path, signal.data, imagej=True, resolution=(per_nm, per_nm), metadata=unit, software="")
