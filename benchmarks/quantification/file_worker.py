"""One job of part two in a process of its own; prints its time and peak memory as JSON."""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path

import numpy as np
from floor import BATCH, OnePass, columns_of
from own import header_of, write_curves

from ceiflow.signals.store import create_h5, open_signal, write_header, write_signal


def write(work: Path) -> None:
    """The calibrated file and the edges file from the arrays of `files.write_files`."""
    image, curves = np.load(work / "image.npz"), np.load(work / "curves.npz")
    energy, loss = image["energy"], image["loss"]
    with create_h5(work / "signal.h5") as file:
        write_header(file, header_of(curves["settings"]))
        for role, name, axis in (("core_loss", "core", energy), ("low_loss", "low", loss)):
            write_signal(file, role, image[name], energy_offset_eV=axis[0], energy_scale_eV=axis[1] - axis[0],
                         pixel_size_nm=1.0)  # fmt: skip
    names = [str(name) for name in image["edges"]]
    write_curves(work / "edges.h5", names, curves["wide"], curves["curves"], curves["settings"])


def read(work: Path) -> None:
    for role in ("core_loss", "low_loss"):
        for _ in open_signal(work / "signal.h5", role).blocks(BATCH):
            pass


def near_edges(columns: np.ndarray, energy_eV: np.ndarray) -> np.ndarray:
    """One near-edge line more for every edge among `columns`: as many columns as the project fits."""
    onsets = [energy_eV[int(np.argmax(edge > 0.02 * edge.max()))] for edge in columns[:, 2:].T]
    lines = [np.exp(-0.5 * ((energy_eV - onset - 6.0) / 4.0) ** 2) for onset in onsets]
    return np.concatenate([columns, np.stack(lines, 1)], axis=1)


def floor(work: Path, own_weights: bool, near: bool = False) -> None:
    """Read both signals once, one weighted pass over the core loss, write a map of every column."""
    signal = open_signal(work / "signal.h5", "core_loss")
    curves = np.load(work / "curves.npz")
    columns = None
    edges = curves["curves"].shape[0]
    maps = np.empty((signal.shape[0] * signal.shape[1], 2 + edges * (1 + near)), np.float32)
    for where, spectra in signal.blocks(BATCH):
        if columns is None:
            mean = np.maximum(spectra.mean(0, dtype=np.float64), 1e-3)
            inside = (curves["wide"].size - mean.size) // 2
            columns = columns_of(curves["curves"][:, inside:-inside], signal.energy_eV, mean)
            columns = near_edges(columns, signal.energy_eV) if near else columns
            solver = OnePass(columns, mean, own_weights)
        maps[where] = solver.fit(spectra)
    for _ in open_signal(work / "signal.h5", "low_loss").blocks(BATCH):
        pass
    with create_h5(work / "floor.h5") as file:
        for index in range(maps.shape[1]):
            file.create_dataset(f"map/{index}", data=maps[:, index].reshape(signal.shape[:2]))


def quantify(work: Path) -> None:
    from ceiflow.eels import quantify as job
    from ceiflow.study.config import load_config

    names = ["C", "O", "F", "Mn", "Co", "Ni"]
    config = load_config({"eels": {"elements": names, "fit": {"groups": 16}}})
    job(work / "signal.h5", work / "edges.h5", work / "fit.h5", config)


JOBS = {
    "write": write,
    "read": read,
    "floor_mean": lambda work: floor(work, False),
    "floor_own": lambda work: floor(work, True),
    "floor_near": lambda work: floor(work, True, near=True),
    "quantify": quantify,
}


def peak_megabytes() -> float:
    """Peak resident memory of this process.

    Linux hands `ru_maxrss` on through fork and exec, so that a small child reports its parent's; the
    high-water mark of /proc starts anew with the program.
    """
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return float(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024
    except (OSError, StopIteration):
        unit = 1024**2 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def main(job: str, folder: str) -> None:
    started, cpu = time.perf_counter(), time.process_time()
    JOBS[job](Path(folder))
    wall, cpu = time.perf_counter() - started, time.process_time() - cpu
    print(json.dumps({"wall": wall, "cpu": cpu, "peak_MB": peak_megabytes()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
