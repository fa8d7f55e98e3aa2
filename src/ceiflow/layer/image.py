"""One image: layer along the particle's contour, by the gap (hrtem) or by the rim's brightness (tem, adf)."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ceiflow.layer import output
from ceiflow.layer.summary import Trace, layer_rows, thickness_limit, write_layer
from ceiflow.study.measurements import Measurement, not_identifiable

FloatArray = NDArray[np.float64]

LARGEST_OVERLAY = 1024


@dataclass
class Seen:
    """What one image gave.

    Parameters
    ----------
    trace : Trace or None
    reason : str
        Why there is no trace, or why absence cannot be claimed.
    amorphous : Measurement
    analysed_nm : float
    lattice : (rows, columns) array, optional
        Lattice field, for the overlay, with `lattice_bin` image pixels a sample.
    notes : list of str
    entry : dict
        For summary.json.
    """

    trace: Trace | None
    reason: str
    amorphous: Measurement
    analysed_nm: float = 0.0
    lattice: FloatArray | None = None
    notes: list[str] = field(default_factory=list)
    entry: dict = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


def measure_image(signal: Path, outputs: dict[str, Path], config: dict, pristine: list[Path] = ()) -> None:
    """Measure the layer in one image and write everything that it gives.

    Parameters
    ----------
    signal : Path
        The canonical signal file.
    outputs : dict of str to Path
        `layer`, `overlay`, `measurements`, `summary`.
    config : dict
        The merged configuration.
    pristine : list of Path
        summary.json of pristine images, which calibrate the gap of this one where the settings are alike.
    """
    from ceiflow.layer import bias, lattice_gap, rim
    from ceiflow.signals.store import read_header
    from ceiflow.study import seed_for
    from ceiflow.study.measurements import write_rows

    header = read_header(signal)
    image, role = _read(signal, header)
    pixel_nm = _known(header, "pixel_size_nm")
    bare = bias.read(pristine) if config["images"]["bias"] == "auto" else []
    if pixel_nm is None:
        nothing = not_identifiable("layer", "layer_amorphous_fraction", "pixel size missing")
        seen = Seen(None, "pixel size missing", nothing)
    elif header.modality == "hrtem":
        seen = lattice_gap.measure(image, pixel_nm, header, config, bare)
    else:
        seen = rim.measure(image, pixel_nm, header, config)
    seed = seed_for(config["statistics"]["seed"], header.acquisition_id, "layer")
    rows = layer_rows(seen.trace, seen.reason, seed, config["statistics"]["resamples"])
    rows = output.complete([*rows, seen.amorphous, output.dose_row(header)], header.modality)
    write_layer(outputs["layer"], seen.trace)
    write_overlay(outputs["overlay"], image, pixel_nm, seen.lattice, header.acquisition_id)
    write_rows(outputs["measurements"], rows)
    values = {
        "dose_e_per_A2": _known(header, "dose_e_per_A2"),
        "analysed_length_nm": seen.analysed_nm if pixel_nm else None,
        "lod_thickness_nm": thickness_limit(seen.trace) if seen.trace is not None else None,
        "n_pixels": int(image.size),
    }
    reasons = [seen.reason, *seen.warnings] if seen.reason else seen.warnings
    output.write_summary(
        outputs["summary"], header, values, reasons, notes=seen.notes, layer={"signal": role, **seen.entry}
    )


def _read(signal: Path, header) -> tuple[FloatArray, str]:
    import h5py

    from ceiflow.errors import SignalError

    role = next((name for name in ("image", "adf") if name in header.roles), None)
    if role is None:
        raise SignalError(signal, "image", "no image in the file", "an image")
    with h5py.File(signal, "r") as file:
        image = file[f"{role}/data"][()]
    if image.ndim != 2 or min(image.shape) < 16:
        raise SignalError(signal, "image", f"shape {image.shape}", "an image of 16 pixels a side at least")
    return np.asarray(image, dtype=np.float32), role


def _known(header, name: str) -> float | None:
    value = header.metadata.get(name)
    return float(value.value) if value is not None and value.known else None


def write_overlay(path: Path, image: FloatArray, pixel_nm, lattice: FloatArray | None, name: str) -> None:
    """Write the image, and the lattice amplitude, at a size that a page can show."""
    from scipy.ndimage import map_coordinates

    from ceiflow.signals.store import create_h5

    factor = max(1, int(np.ceil(max(image.shape) / LARGEST_OVERLAY)))
    rows, columns = image.shape[0] // factor, image.shape[1] // factor
    blocks = image[: rows * factor, : columns * factor].reshape(rows, factor, columns, factor)
    with create_h5(path) as file:
        file.attrs["schema"] = "ceiflow-overlay-1"
        file.attrs["acquisition_id"] = name
        file.attrs["pixel_size_nm"] = float("nan") if pixel_nm is None else pixel_nm * factor
        file.attrs["bin"] = factor
        _dataset(file, "image", blocks.mean(axis=(1, 3), dtype=np.float64).astype(np.float32))
        if lattice is not None:
            at = [
                (np.arange(n) + 0.5) * size / n - 0.5
                for n, size in zip((rows, columns), lattice.shape, strict=True)
            ]
            grid = np.meshgrid(*at, indexing="ij")
            shown = map_coordinates(lattice, grid, order=1, mode="nearest").astype(np.float32)
            _dataset(file, "lattice_amplitude", shown)


def _dataset(file, name, values):
    file.create_dataset(name, data=values, compression="gzip", compression_opts=4, shuffle=True)


def without_limit(trace_values: dict, floor_nm: float) -> dict:
    """Where absence cannot be claimed: no limits, and only what is far above the known blur is present."""
    thickness = trace_values["thickness_nm"]
    trace_values["lod_nm"] = np.full(len(thickness), np.nan)
    trace_values["present"] = np.nan_to_num(thickness, nan=-np.inf) > np.maximum(
        floor_nm, 3.29 * np.nan_to_num(trace_values["std_nm"])
    )
    return trace_values
