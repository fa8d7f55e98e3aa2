"""Small instrument files of every format, for the tests of ceiflow.signals."""

import datetime
import importlib
import json
import struct

import h5py
import numpy as np
import pytest

ENERGY = ("Energy loss", "eV", 0.5, 200.0)


def cube(rows=3, columns=4, channels=32, seed=1):
    """Counts, different in every pixel, float32."""
    return np.random.default_rng(seed).poisson(50, (rows, columns, channels)).astype(np.float32)


def image(rows=12, columns=10, dtype=np.uint16, seed=2):
    return np.random.default_rng(seed).poisson(500, (rows, columns)).astype(dtype)


def axes_of(data, energy=ENERGY, step=0.5, unit="nm", spectra=True):
    """Axis dictionaries (name, unit, scale, offset) as RosettaSciIO passes them about."""
    names = ("y", "x")[-(data.ndim - 1) :] if spectra and data.ndim > 1 else () if spectra else ("y", "x")
    rows = [(name, unit, step, 0.0, spectra) for name in names]
    rows += [(*energy, False)] if spectra else []
    return [
        {
            "_type": "UniformDataAxis",
            "name": name,
            "units": units,
            "scale": scale,
            "offset": offset,
            "size": size,
            "navigate": navigate,
            "is_binned": False,
            "index_in_array": i,
        }
        for i, ((name, units, scale, offset, navigate), size) in enumerate(zip(rows, data.shape, strict=True))
    ]


def dictionary(data, axes, title="signal", signal_type="EELS", **instrument):
    return {
        "data": data,
        "axes": axes,
        "metadata": {
            "General": {"title": title},
            "Signal": {"signal_type": signal_type},
            "Acquisition_instrument": {"TEM": instrument},
        },
        "original_metadata": {},
        "attributes": {"_lazy": False, "ragged": False},
        "package_info": {"package": "hyperspy", "package_version": "2.0"},
        "learning_results": {},
        "tmp_parameters": {},
        "models": {},
    }


INSTRUMENT = {
    "beam_energy": 200.0,
    "convergence_angle": 21.0,
    "Detector": {"EELS": {"collection_angle": 40.0, "exposure": 0.05}},
}


def write(path, data=None, axes=None, **options):
    """One signal through RosettaSciIO's writer of the format that the name asks for."""
    data = cube() if data is None else data
    spectra = options.pop("spectra", True)
    axes = axes_of(data, spectra=spectra) if axes is None else axes
    module = {".nxs": "nexus", ".tif": "tiff", ".rpl": "ripple"}.get(path.suffix, path.suffix[1:])
    options = {**INSTRUMENT, **options} if spectra else options
    signal = dictionary(data, axes, **{"signal_type": "EELS" if spectra else "", **options})
    signal = [signal] if module == "nexus" else signal
    importlib.import_module(f"rsciio.{module}").file_writer(str(path), signal)
    return path


def write_many(path, *signals):
    """Several signals in one NCEM file or NeXus file; each is (data, axes, title)."""
    from rsciio import nexus

    nexus.file_writer(str(path), [dictionary(data, axes, title) for data, axes, title in signals])
    return path


def write_zspy(path, data=None):
    """The layout of a .zspy folder: RosettaSciIO cannot write one with this zarr, but reads it."""
    import zarr

    data = cube() if data is None else data
    root = zarr.open_group(str(path), mode="w", zarr_format=2)
    root.attrs.update({"file_format": "ZSpy", "file_format_version": "3.3"})
    experiment = root.require_group("Experiments/SI")
    experiment.attrs.update({"package": "hyperspy", "package_version": "2.0"})
    experiment.create_array("data", data=data, chunks=data.shape)
    for axis in axes_of(data):
        axis.pop("_type")
        number = axis.pop("index_in_array")
        experiment.require_group(f"axis-{number}").attrs.update({"_type": "UniformDataAxis", **axis})
    for name in ("attributes", "learning_results", "original_metadata"):
        experiment.require_group(name)
    metadata = experiment.require_group("metadata")
    metadata.require_group("General").attrs["title"] = "SI"
    metadata.require_group("Signal").attrs["signal_type"] = "EELS"
    metadata.require_group("Acquisition_instrument/TEM").attrs["beam_energy"] = 200.0
    return path


def write_dm(
    path, data=None, *, step=2.0, unit="nm", energy=(0.5, 200.0, "eV"), volts=2e5, angles=(21.0, 40.0)
):
    """A DM3 or DM4 file; the reader gives its energy axis first."""
    pytest.importorskip("nionswift_plugin.DM_IO", reason="DM files are written by nionswift-io (extra: demo)")
    from nion.data import Calibration, DataAndMetadata
    from nionswift_plugin.DM_IO import dm3_image_utils

    data = cube() if data is None else data
    metadata = {
        "hardware_source": {},
        "Microscope Info": {"Voltage": volts, "Illumination Mode": "STEM NANOPROBE"},
    }
    if data.ndim == 3:
        metadata["Meta Data"] = {"Format": "Spectrum image", "Signal": "EELS"}
        conditions = dict(zip(("Convergence", "Collection"), angles, strict=True))
        conditions = {f"{name} semi-angle (mrad)": angle for name, angle in conditions.items()}
        acquisition = {"Exposure (s)": 0.01, "Number of frames": 5}
        metadata["EELS"] = {"Experimental Conditions": conditions, "Acquisition": acquisition}
    calibrations = [Calibration.Calibration(0.0, step, unit) for _ in range(2)]
    descriptor = DataAndMetadata.DataDescriptor(False, 0, 2)
    if data.ndim == 3:
        calibrations.append(Calibration.Calibration(energy[1], energy[0], energy[2]))
        descriptor = DataAndMetadata.DataDescriptor(False, 2, 1)
    xdata = DataAndMetadata.new_data_and_metadata(
        data,
        dimensional_calibrations=calibrations,
        data_descriptor=descriptor,
        metadata=metadata,
        timestamp=datetime.datetime(2020, 1, 1),
        timezone="Z",
        timezone_offset="+0000",
    )
    with open(path, "wb") as handle:
        dm3_image_utils.save_image(xdata, handle, int(path.suffix[-1]))
    return path


def write_msa(path, data, *lines, unit="eV", points=None):
    head = [
        "#FORMAT      : EMSA/MAS Spectral Data File",
        "#VERSION     : 1.0",
        "#TITLE       : spectrum",
        f"#NPOINTS     : {len(data) if points is None else points}",
        "#NCOLUMNS    : 1",
        "#DATATYPE    : Y",
        "#XPERCHAN    : 0.5",
        "#OFFSET      : 200",
        "#SIGNALTYPE  : ELS",
        *([f"#XUNITS      : {unit}"] if unit else []),
        *lines,
        "#SPECTRUM    : ",
    ]
    values = [f"{value:.6g}" for value in data]
    path.write_text("\n".join([*head, *values, "#ENDOFDATA   : "]) + "\n")
    return path


def write_mrc(path, data, pixel_nm=0.1, byte_order="<"):
    """An MRC file of one section (or a stack); the cell is in angstrom."""
    stack = data if data.ndim == 3 else data[None]
    sections, rows, columns = stack.shape
    mode = {"i2": 1, "f4": 2, "u2": 6}[stack.dtype.str[1:]]
    header = struct.pack(f"{byte_order}10i", columns, rows, sections, mode, 0, 0, 0, columns, rows, sections)
    cell = (columns * pixel_nm * 10, rows * pixel_nm * 10, sections * pixel_nm * 10, 90, 90, 90)
    header += struct.pack(f"{byte_order}6f3i", *cell, 1, 2, 3)
    path.write_bytes(header.ljust(1024, b"\0") + stack.astype(stack.dtype.newbyteorder(byte_order)).tobytes())
    return path


def _column(document):
    text = json.dumps(document).encode()
    return np.frombuffer(text, np.uint8)[:, None]


def write_velox(path, picture=None, spectra=None, size_nm=0.5, chunks=None):
    """A Velox file: a HAADF image, and a spectrum image where one is given."""
    picture = image() if picture is None else picture
    size = {"width": str(size_nm * 1e-9), "height": str(size_nm * 1e-9)}
    metadata = {
        "BinaryResult": {
            "PixelSize": size,
            "Offset": {"x": "0", "y": "0"},
            "PixelUnitX": "m",
            "PixelUnitY": "m",
            "DetectorIndex": "0",
            "Detector": "HAADF",
        },
        "Detectors": {"Detector-0": {"DetectorName": "HAADF"}},
        "Acquisition": {"AcquisitionStartDatetime": {"DateTime": "0"}},
        "CustomProperties": {},
        "Optics": {"AccelerationVoltage": "200000", "BeamConvergence": "0.021"},
        "Scan": {"FrameTime": "1.0", "DwellTime": "1e-05"},
    }
    with h5py.File(path, "w") as file:
        text = h5py.string_dtype()
        file.create_dataset("Version", data=[json.dumps({"format": "Velox", "version": "11"})], dtype=text)
        group = file.create_group("Data/Image/aa")
        group.create_dataset("Data", data=picture[:, :, None], chunks=chunks)
        group["Metadata"] = _column(metadata)
        if spectra is not None:
            file.create_group("Data/SpectrumImage/bb")["Metadata"] = _column(metadata)
            group = file.create_group("Data/EelsSpectrumImage/cc")
            # The cube in the file is (column, channel, row).
            group["Data"] = spectra.transpose(1, 2, 0)
            group["Metadata"] = _column(metadata)
            group["AcquisitionMetadata"] = _column({"Data": {"offset": 200.0, "dispersion": 0.5}})
            display = {"id": "HAADF", "data": "/SharedProperties/ImageSeriesDataReference/dd"}
            file.create_dataset("Displays/ImageDisplay/ee", data=[json.dumps(display)], dtype=text)
            reference = [json.dumps({"dataPath": "/Data/Image/aa"})]
            file.create_dataset("SharedProperties/ImageSeriesDataReference/dd", data=reference, dtype=text)
    return path
