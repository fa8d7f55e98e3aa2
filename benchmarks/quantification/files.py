"""Part two: a 300 x 180 x 2048 file to maps, against the floor that reads it and does one weighted pass."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import simulate
from environments import child_environment
from tables import table

ROWS, COLUMNS, CHANNELS = 300, 180, 2048
START_EV, STEP_EV = 250.0, 0.4
LOSS_STEP_EV = 0.4
EDGES = ("C_K", "O_K", "F_K", "Mn_L3", "Co_L3", "Ni_L3")
LAYER = (0.45, 0.40, 0.13, 0.01, 0.005, 0.005)
PARTICLE = (0.05, 0.60, 0.05, 0.09, 0.06, 0.15)
COUNTS, LOW_LOSS_COUNTS = 100.0, 2e4
MARGIN, LONGER, REPEATS, TIMEOUT_S = 64, 10, 3, 280
THICKNESS = np.linspace(0.2, 0.8, 16)
WORKER = Path(__file__).with_name("file_worker.py")


def write_files(cache: Path, work: Path, edge_curves: Callable) -> tuple[Path, Path]:
    """A calibrated file of dual EELS, every pixel with its own low loss, and the edges file."""
    wide = START_EV + STEP_EV * np.arange(-MARGIN, CHANNELS + MARGIN)
    curves = edge_curves({"wide": wide}, list(EDGES), cache, work)
    np.savez(work / "curves.npz", wide=wide, curves=curves["wide"], settings=curves["settings"])
    energy = wide[MARGIN:-MARGIN]
    rng = np.random.default_rng(7)
    column = np.arange(COLUMNS)
    core = np.empty((ROWS, COLUMNS, CHANNELS), np.uint16)
    losses = [simulate.low_loss(LOSS_STEP_EV, t=t) for t in THICKNESS]
    low = np.empty((ROWS, COLUMNS, losses[0][0].size), np.uint16)
    at = round((300.0 - START_EV) / STEP_EV)
    atoms = simulate.CARBON_JUMP / (LAYER[0] * curves["wide"][0, MARGIN + at])
    background = (energy / simulate.REFERENCE_EV) ** -3.0
    zero = int(np.argmin(np.abs(losses[0][0])))
    spread = [simulate.convolve(curves["wide"], loss, zero, MARGIN) for _, loss in losses]
    for row in range(ROWS):
        layer = column < 12 + 4 * np.sin(row / 20.0)
        index = np.clip((column / COLUMNS * len(losses)).astype(int), 0, len(losses) - 1)
        amplitude = atoms * np.where(layer[:, None], LAYER, PARTICLE)
        edges = np.stack([amplitude[c] @ spread[index[c]] for c in column])
        core[row] = rng.poisson(COUNTS * (background + edges))
        low[row] = rng.poisson(LOW_LOSS_COUNTS * np.stack([losses[i][1] for i in index]))
    signal, edges_file = work / "signal.h5", work / "edges.h5"
    np.savez(work / "image.npz", core=core, low=low, energy=energy, loss=losses[0][0], edges=np.array(EDGES))
    return signal, edges_file


def child(job: str, work: Path, cache: Path) -> dict:
    """One job in a process of its own: wall and CPU seconds, peak memory."""
    done = subprocess.run(
        [sys.executable, str(WORKER), job, str(work)],
        env=child_environment(cache), capture_output=True, text=True, timeout=TIMEOUT_S,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"{job}: {done.stderr.strip()[-2000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def lengthen(source: Path, target: Path, times: int) -> None:
    """Repeat all rows on the disk, by blocks."""
    with h5py.File(source, "r") as old, h5py.File(target, "w") as new:
        for name, value in old.attrs.items():
            new.attrs[name] = value
        for role in ("core_loss", "low_loss"):
            data = old[f"{role}/data"]
            rows = data.shape[0]
            longer = new.create_dataset(f"{role}/data", (rows * times, *data.shape[1:]), data.dtype)
            for name, value in data.attrs.items():
                longer.attrs[name] = value
            for first in range(0, rows, 50):
                block = data[first : first + 50]
                for turn in range(times):
                    longer[turn * rows + first : turn * rows + first + block.shape[0]] = block


def measure(jobs: list[str], repeats: int, work: Path, cache: Path) -> dict[str, dict[str, float]]:
    """Medians of a few runs, the jobs in turn."""
    runs: dict[str, list[dict]] = {job: [] for job in jobs}
    for turn in range(repeats):
        for job in jobs:
            print(f"files, run {turn + 1} of {repeats}: {job}", file=sys.stderr, flush=True)
            runs[job].append(child(job, work, cache))
    return {job: {key: float(np.median([run[key] for run in found])) for key in found[0]}
            for job, found in runs.items()}  # fmt: skip


def end_to_end(cache: Path, work: Path, long: bool, edge_curves: Callable) -> tuple[str, dict[str, float]]:
    """The second table and its single numbers."""
    write_files(cache, work, edge_curves)
    child("write", work, cache)
    (work / "image.npz").unlink()
    jobs = {
        "read": "read only (float32)",
        "floor_mean": "floor: read, one pass with the weights of the mean, maps",
        "floor_own": "floor: read, one pass with every pixel's own weights, maps",
        "floor_near": "the same with a near-edge line an edge, as many columns as ceiflow fits",
        "quantify": "`ceiflow.eels.quantify`",
    }
    found = {"300 x 180": measure(list(jobs), REPEATS, work, cache)}
    size = (work / "signal.h5").stat().st_size
    if long and shutil.disk_usage(work).free > (LONGER + 5) * size:
        (work / "signal.h5").rename(work / "short.h5")
        lengthen(work / "short.h5", work / "signal.h5", LONGER)
        found["3000 x 180"] = measure(["floor_own", "floor_near", "quantify"], 1, work, cache)
        (work / "signal.h5").unlink()
    rows, facts = [], {}
    for image, results in found.items():
        for job, item in results.items():
            rows.append(
                [image, jobs[job], f"{item['wall']:.2f}", f"{item['cpu']:.2f}", f"{item['peak_MB']:.0f}"]
            )
        for name, words in (("floor_own", "floor"), ("floor_near", "floor with as many columns")):
            for clock in ("cpu", "wall"):
                facts[f"{image}: quantify / {words}, {clock}"] = (
                    results["quantify"][clock] / results[name][clock]
                )
        facts[f"{image}: peak memory of quantify, MB"] = results["quantify"]["peak_MB"]
    if len(found) == 2:
        short, longer = (item["quantify"]["peak_MB"] for item in found.values())
        facts["memory of quantify that grows with the file, kB a pixel"] = (
            (longer - short) * 1024 / ((LONGER - 1) * ROWS * COLUMNS)
        )
    head = ["pixels", "job", "wall s", "CPU s", "peak memory MB"]
    return table(head, rows), facts
