"""This project's fit through its own files and functions, and the floor beside it, in one process."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import numpy as np

# ceiflow imports these where they are first used; imports are timed for no program here.
import scipy.ndimage
import scipy.signal  # noqa: F401
from floor import BATCH, OnePass, columns_of

from ceiflow.eels import design, pixels
from ceiflow.eels.source import open_source
from ceiflow.signals.store import Header, create_h5, write_header, write_signal
from ceiflow.study.config import load_config
from ceiflow.study.metadata import Value

FINE = 10
# The image ends 26.5 eV above F K. The project asks for 30 eV before it names an element identifiable; for
# the sake of the same four elements in every program that rule is eased here.
ROOM_ABOVE_EV = 25.0


def write_curves(
    path: Path, names: list[str], energy_eV: np.ndarray, curves: np.ndarray, settings: np.ndarray
) -> None:
    """An edges file that holds the benchmark's curves, constant over each channel as the data have them.

    The project averages a cross-section over a channel; the data and the other programs take it at the
    channel's middle. Held constant, both are the same.
    """
    step = float(energy_eV[1] - energy_eV[0])
    offset = energy_eV[0] - step / 2 + step / (2 * FINE)
    with create_h5(path) as file:
        group = file.create_group("_".join(f"{value:g}" for value in settings))
        for name, curve in zip(names, curves, strict=True):
            data = group.create_dataset(name.split("_")[0], data=np.repeat(curve, FINE).astype(np.float32))
            data.attrs["energy_offset_eV"] = offset
            data.attrs["energy_scale_eV"] = step / FINE


def header_of(settings: np.ndarray) -> Header:
    names = ("beam_energy_keV", "convergence_mrad", "collection_mrad")
    metadata = {name: Value(float(value), "file") for name, value in zip(names, settings, strict=True)}
    metadata |= {name: Value(1.0, "file") for name in ("exposure_s", "low_loss_exposure_s")}
    return Header("benchmark", "eels_si", metadata=metadata)


def fit(data: dict, counts: np.ndarray, folder: Path) -> dict[str, tuple[float, np.ndarray]]:
    """Amplitudes by `fit_pixels`, timed from the opening of the file to the last pixel."""
    energy, loss_eV = data["energy_eV"], data["low_loss_eV"]
    step = float(energy[1] - energy[0])
    image = counts.reshape(int(data["rows"]), -1, energy.size)
    names = [str(name) for name in data["edges"]]
    signal, edges = folder / "signal.h5", folder / "edges.h5"
    with create_h5(signal) as file:
        write_header(file, header_of(data["settings"]))
        write_signal(
            file, "core_loss", image, energy_offset_eV=energy[0], energy_scale_eV=step, pixel_size_nm=0.5
        )
        bright = (data["low_loss"] * 1e9).astype(np.float32)[None, None]
        write_signal(file, "low_loss", bright, energy_offset_eV=loss_eV[0], energy_scale_eV=step)
    write_curves(edges, names, data["wide_eV"], data["wide_shapes"], data["settings"])
    config = load_config({"eels": {"elements": [name.split("_")[0] for name in names]}})
    design.ROOM_ABOVE_EV = min(design.ROOM_ABOVE_EV, ROOM_ABOVE_EV)
    started = time.process_time()
    source = open_source(signal, edges, config)
    fits = pixels.fit_pixels(source)
    seconds = time.process_time() - started
    return seconds, fits.theta * step


def floor(data: dict, counts: np.ndarray, own_weights: bool) -> tuple[float, np.ndarray]:
    started = time.process_time()
    mean = counts.mean(0)
    columns = columns_of(data["convolved"], data["energy_eV"], mean)
    solver = OnePass(columns, mean, own_weights)
    spectra = counts.astype(np.float32)
    parts = [solver.fit(spectra[first : first + BATCH]) for first in range(0, len(spectra), BATCH)]
    return time.process_time() - started, np.concatenate(parts)[:, 2:]


def main(source: str, output: str) -> None:
    data = dict(np.load(source))
    result = {}
    with tempfile.TemporaryDirectory() as folder:
        for dose in (str(name) for name in data["doses"]):
            counts = data[f"counts_{dose}"]
            found = {
                "fit": fit(data, counts, Path(folder)),
                "mean_weights": floor(data, counts, False),
                "own_weights": floor(data, counts, True),
            }
            for method, (seconds, amplitude) in found.items():
                answer = {"seconds": seconds, "pixels": np.arange(len(counts)), "amplitude": amplitude}
                result |= {f"{method}/{dose}/{key}": value for key, value in answer.items()}
    np.savez(output, **result)


if __name__ == "__main__":
    main(*sys.argv[1:])
