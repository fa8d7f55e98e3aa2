"""Memory of a spectrum image of any size: `python benchmarks/scaling/large.py --gigabytes 20`.

The file repeats one simulated block, packed once. Ingest, calibration and fit run one after another, each in
a process of its own whose CPU time and largest resident memory are printed. The canonical files take the full
size and go as soon as the next stage has read them: have twice as much room in the folder.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import tempfile
import time
import zlib
from pathlib import Path

import h5py
import numpy as np

ROWS, COLUMNS, CHANNELS = 8, 512, 1024
CONFIG = {"eels": {"elements": ["C", "O"], "energy": {"policy": "file"}}}


def write_large(path: Path, gigabytes: float) -> tuple[int, ...]:
    """A .hspy file of that size, of counts on a power law with two edges."""
    repeats = max(1, round(gigabytes * 1e9 / (4 * ROWS * COLUMNS * CHANNELS)))
    energy = 250 + 0.5 * np.arange(CHANNELS)
    mean = 4e9 * energy**-3.0 + 60 * (energy > 284) + 40 * (energy > 532)
    block = np.random.default_rng(1).poisson(mean, (ROWS, COLUMNS, CHANNELS)).astype(np.float32)
    with h5py.File(path, "w") as file:
        file.attrs.update(file_format="HyperSpy", file_format_version="3.3")
        shape = (repeats * ROWS, COLUMNS, CHANNELS)
        group = file.create_group("Experiments/large")
        data = group.create_dataset("data", shape, np.float32, chunks=block.shape, compression="gzip")
        packed = zlib.compress(block.tobytes(), 1)
        for number in range(repeats):
            data.id.write_direct_chunk((number * ROWS, 0, 0), packed)
        axes = [
            ("y", "nm", 1.0, 0.0, True),
            ("x", "nm", 1.0, 0.0, True),
            ("Energy loss", "eV", 0.5, 250.0, False),
        ]
        for number, (name, units, scale, offset, navigate) in enumerate(axes):
            axis = group.create_group(f"axis-{number}")
            size = shape[number]
            axis.attrs.update(
                name=name, units=units, scale=scale, offset=offset, size=size, navigate=navigate
            )
        group.create_group("metadata/Signal").attrs["signal_type"] = "EELS"
        group.create_group("original_metadata")
    return shape


def measured(name: str, stage, *arguments) -> None:
    """Run a stage in a fresh process and print CPU time, wall time and memory, its children's with it."""

    def run() -> None:
        stage(*arguments)
        both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        cpu = sum(usage.ru_utime + usage.ru_stime for usage in both)
        peak = max(usage.ru_maxrss for usage in both) / 1024
        print(f"| {name} | {cpu:.0f} | {time.monotonic() - begun:.0f} | {peak:.0f} |", flush=True)

    begun = time.monotonic()
    process = multiprocessing.get_context("fork").Process(target=run)
    process.start()
    process.join()
    if process.exitcode != 0:
        raise RuntimeError(name)


def ingest(folder: Path) -> None:
    """Instrument file to signal file."""
    from ceiflow import signals

    row = {
        "acquisition_id": "large",
        "modality": "eels_si",
        "path": "large.hspy",
        "beam_energy_keV": 200,
        "convergence_mrad": 10,
        "collection_mrad": 30,
    }
    header = signals.ingest(row, {}, folder, folder / "signal.h5")
    if not header.ok:
        raise RuntimeError(header.reason)
    (folder / "large.hspy").unlink()


def calibrate(folder: Path) -> None:
    """Energy axis, and the table of cross-sections."""
    from ceiflow import eels
    from ceiflow.study import load_config

    config = load_config(CONFIG)
    eels.calibrate(folder / "signal.h5", folder / "calibrated.h5", config)
    eels.edges([folder / "signal.h5"], folder / "edges.h5", config)
    (folder / "signal.h5").unlink()


def quantify(folder: Path) -> None:
    """The fit of every pixel."""
    from ceiflow import eels
    from ceiflow.study import load_config

    eels.quantify(folder / "calibrated.h5", folder / "edges.h5", folder / "fit.h5", load_config(CONFIG))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=20.0)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as place:
        folder = Path(place)
        shape = write_large(folder / "large.hspy", options.gigabytes)
        print(f"{' x '.join(map(str, shape))}, {np.prod(shape, dtype=float) * 4 / 1e9:.2f} GB")
        print("| stage | CPU s | wall s | largest memory, MB |\n|---|---|---|---|", flush=True)
        for stage in (ingest, calibrate, quantify):
            measured(stage.__name__, stage, folder)


if __name__ == "__main__":
    main()
