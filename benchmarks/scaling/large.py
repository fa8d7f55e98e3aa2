"""Memory of a spectrum image of any size: `python benchmarks/scaling/large.py --gigabytes 20`.

The file shows a round oxide particle in a thin layer of carbon and oxygen: its inside and the vacuum each
repeat one simulated tile, packed once, and only tiles on the surface are simulated one by one. The stages run
one after another, each in a process of its own whose CPU time and largest resident memory are printed. The
canonical files take the full size and go as soon as no later stage reads them: have 2.4 times as much room in
the folder. With `--folder` files stay, and `--stages` takes some of them up again.
"""

from __future__ import annotations

import argparse
import csv
import multiprocessing
import resource
import tempfile
import time
import zlib
from pathlib import Path

import h5py
import numpy as np

from ceiflow.study import load_config

TILE, CHANNELS = 16, 1024
OFFSET_EV, STEP_EV = 250.0, 0.7
LAYER_PIXELS = 10.0
ELEMENTS = ["C", "O", "F", "Mn", "Co", "Ni"]
# Onset in eV, and counts at it: in the oxide, and in the layer. Edges are plain steps that decay.
EDGES = {
    "C": (284.0, 0.0, 90.0),
    "O": (532.0, 60.0, 15.0),
    "Mn": (640.0, 20.0, 0.0),
    "Co": (779.0, 12.0, 0.0),
    "Ni": (855.0, 14.0, 0.0),
}
CONFIG = {"eels": {"elements": ELEMENTS, "energy": {"policy": "file"}}}
CELLS = ("cell_id", "condition"), ("cell", "shorted")
ROW = {
    "acquisition_id": "large",
    "cell_id": "cell",
    "particle_id": "p1",
    "region_id": "r1",
    "modality": "eels_si",
    "path": "large.hspy",
    "beam_energy_keV": 200,
    "convergence_mrad": 10,
    "collection_mrad": 30,
}


def mean_spectra() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(n,) counts expected in the oxide, in the layer, and in vacuum."""
    energy = OFFSET_EV + STEP_EV * np.arange(CHANNELS)
    background = 200 * (energy / OFFSET_EV) ** -3.0
    oxide, layer = background.copy(), 0.5 * background
    for onset, inside, outside in EDGES.values():
        step = (energy > onset) * (energy / onset) ** -3.5
        oxide, layer = oxide + inside * step, layer + outside * step
    return oxide, layer, 0.01 * background


def tile(rows: np.ndarray, columns: np.ndarray, side: int, rng: np.random.Generator) -> bytes:
    """A packed tile of counts: what of each pixel lies in the particle, and what in the layer."""
    middle, radius = (side - 1) / 2, 0.35 * side
    away = np.hypot(rows[:, None] - middle, columns[None, :] - middle) - radius
    inside = np.clip(0.5 - away, 0, 1)
    layer = np.clip(0.5 + LAYER_PIXELS - away, 0, 1) - inside
    parts = np.stack([inside, layer, 1 - inside - layer], axis=-1)
    return zlib.compress(rng.poisson(parts @ np.stack(mean_spectra())).astype(np.float32).tobytes(), 1)


def write_large(path: Path, gigabytes: float) -> tuple[int, ...]:
    """A .hspy file of that size."""
    tiles = max(8, round(np.sqrt(gigabytes * 1e9 / (4 * TILE**2 * CHANNELS))))
    side, rng = tiles * TILE, np.random.default_rng(1)
    shape = (side, side, CHANNELS)
    repeated: dict[str, bytes] = {}
    with h5py.File(path, "w") as file:
        file.attrs.update(file_format="HyperSpy", file_format_version="3.3")
        group = file.create_group("Experiments/large")
        data = group.create_dataset(
            "data", shape, np.float32, chunks=(TILE, TILE, CHANNELS), compression="gzip"
        )
        for row, column in np.ndindex(tiles, tiles):
            rows, columns = (np.arange(number * TILE, (number + 1) * TILE) for number in (row, column))
            corners = np.hypot(*(np.array(ends)[[0, -1]] - (side - 1) / 2 for ends in np.ix_(rows, columns)))
            kind = "surface"
            if corners.max() < 0.35 * side - 2:
                kind = "inside"
            elif corners.min() > 0.35 * side + LAYER_PIXELS + TILE:
                kind = "vacuum"
            packed = repeated.get(kind) or tile(rows, columns, side, rng)
            if kind != "surface":
                repeated[kind] = packed
            data.id.write_direct_chunk((row * TILE, column * TILE, 0), packed)
        axes = [
            ("y", "nm", 1.0, 0.0, True),
            ("x", "nm", 1.0, 0.0, True),
            ("Energy loss", "eV", STEP_EV, OFFSET_EV, False),
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


def repeat_calibrated(folder: Path, gigabytes: float) -> tuple[int, ...]:
    """A calibrated file of that size without one to ingest: spectra of a small one's materials, repeated."""
    from ceiflow.signals.store import carry_header, create_h5

    write_large(folder / "large.hspy", 0.0)
    ingest(folder)
    calibrate(folder)
    small = (folder / "calibrated.h5").rename(folder / "small.h5")
    side = round(np.sqrt(gigabytes * 1e9 / (4 * CHANNELS)))
    pool = np.random.default_rng(2).poisson(np.stack(mean_spectra())[:, None], (3, 256, CHANNELS))
    pool = pool.astype(np.float32)
    with h5py.File(small, "r") as source, create_h5(folder / "calibrated.h5") as file:
        data = file.create_dataset("core_loss/data", (side, side, CHANNELS), np.float32, track_times=False)
        data.attrs.update(source["core_loss/data"].attrs)
        carry_header(small, file)
        column = np.arange(side)
        for row in range(side):
            away = np.hypot(row - side / 2, column - side / 2) - 0.35 * side
            material = np.digitize(away, [0.0, LAYER_PIXELS])
            data[row] = pool[material, (7 * row + column) % pool.shape[1]]
    small.unlink()
    return side, side, CHANNELS


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

    header = signals.ingest(ROW, {}, folder, folder / "signal.h5")
    if not header.ok:
        raise RuntimeError(header.reason)
    (folder / "large.hspy").unlink()


def calibrate(folder: Path) -> None:
    """Energy axis, and the table of cross-sections."""
    from ceiflow import eels

    config = load_config(CONFIG)
    eels.calibrate(folder / "signal.h5", folder / "calibrated.h5", config)
    eels.edges([folder / "signal.h5"], folder / "edges.h5", config)
    (folder / "signal.h5").unlink()


def quantify(folder: Path) -> None:
    """The fit of every pixel."""
    from ceiflow import eels

    eels.quantify(folder / "calibrated.h5", folder / "edges.h5", folder / "fit.h5", load_config(CONFIG))


def results(folder: Path) -> Path:
    """Where a study's run would leave what pages read."""
    return folder / "results" / "eels" / "large"


def layer(folder: Path) -> None:
    """The layer along the surface, zones, fine structure."""
    from ceiflow.layer import measure_spectrum_image

    names = {"maps": "h5", "layer": "tsv", "spectra": "tsv", "measurements": "tsv"}
    names |= {"summary": "json", "fine_structure": "json"}
    outputs = {name: results(folder) / f"{name}.{kind}" for name, kind in names.items()}
    results(folder).mkdir(parents=True, exist_ok=True)
    files = [folder / name for name in ("calibrated.h5", "fit.h5", "edges.h5")]
    measure_spectrum_image(*files, outputs, load_config(CONFIG))


def explore(folder: Path) -> None:
    """The page of its spectra."""
    from ceiflow.report.explorer import write_explorer

    files = [folder / "calibrated.h5", folder / "edges.h5", results(folder) / "maps.h5"]
    write_explorer(*files, folder / "results" / "reports" / "explorer" / "large.html", load_config(CONFIG))


def export(folder: Path) -> None:
    """Core loss and maps for HyperSpy."""
    from ceiflow import eels

    eels.export_hyperspy(folder / "calibrated.h5", results(folder) / "maps.h5", folder / "export.hspy")
    (folder / "export.hspy").unlink()


def page(folder: Path) -> None:
    """The page of its cell, which draws its maps."""
    from ceiflow import report

    sheets = {"sheet": CELLS, "acquisitions": (tuple(ROW), tuple(ROW.values()))}
    for name, rows in sheets.items():
        with open(folder / f"{name}.tsv", "w", encoding="utf-8", newline="") as file:
            csv.writer(file, delimiter="\t").writerows(rows)
    notebook = Path(__file__).resolve().parents[2] / "notebooks" / "cell.ipynb"
    values = {"results": folder / "results", "cell_id": "cell"}
    values |= {name: folder / f"{name}.tsv" for name in sheets}
    report.execute(notebook, folder / "cell.ipynb", values)
    report.render(folder / "cell.ipynb", folder / "cell.html")


STAGES = {stage.__name__: stage for stage in (ingest, calibrate, quantify, layer, explore, export, page)}

STAGES_BEFORE = ("ingest", "calibrate")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=20.0)
    parser.add_argument("--folder", type=Path, help="keep the files here")
    parser.add_argument("--calibrated", action="store_true", help="begin with a calibrated file")
    parser.add_argument("--stages", nargs="*", choices=STAGES, default=list(STAGES))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = options.folder or Path(place)
        folder.mkdir(parents=True, exist_ok=True)
        stages = [name for name in options.stages if name not in STAGES_BEFORE or not options.calibrated]
        if options.calibrated or "ingest" in stages:
            make = repeat_calibrated if options.calibrated else write_large
            shape = make(folder if options.calibrated else folder / "large.hspy", options.gigabytes)
            print(f"{' x '.join(map(str, shape))}, {np.prod(shape, dtype=float) * 4 / 1e9:.2f} GB")
        print("| stage | CPU s | wall s | largest memory, MB |\n|---|---|---|---|", flush=True)
        for name in stages:
            measured(name, STAGES[name], folder)


if __name__ == "__main__":
    main()
