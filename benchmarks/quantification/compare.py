"""Part one: every program on the same simulated spectrum image, in rounds, each round one after the other."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import simulate
from environments import child_environment, python_of

HERE = Path(__file__).resolve().parent
MARGIN = 64
CHILD_TIMEOUT_S = 280
# Name of each method in the table: (program, method of its script) -> words.
METHODS = {
    ("own", "fit"): "ceiflow, `fit_pixels`",
    ("own", "own_weights"): "floor: weights of the mean, then one pass with own weights",
    ("own", "mean_weights"): "floor: one pass, weights of the mean",
    ("exspy", "lm"): "eXSpy 0.3.2 `lm`",
    ("exspy", "linear"): "eXSpy 0.3.2 linear (`lstsq`, r fixed)",
    ("pyeelsmodel", "weighted"): "pyEELSMODEL 1.0.9 weighted",
    ("pyeelsmodel", "ols"): "pyEELSMODEL 1.0.9 ols",
    ("pyeelsmodel", "nnls"): "pyEELSMODEL 1.0.9 nnls",
    ("pyeelsmodel", "quadratic"): "pyEELSMODEL 1.0.9 convex background",
    ("pyeelsmodel", "convolved"): "pyEELSMODEL 1.0.9 weighted, edges spread beforehand",
    ("nionswift", "windows"): "nionswift 16.16 windows",
}
PROGRAMS = ("own", "exspy", "pyeelsmodel", "nionswift")


@dataclass
class Found:
    """What one method returned: CPU seconds per 1000 spectra of every run; by dose, pixels and amplitudes."""

    rates: list[float] = field(default_factory=list)
    pixels: dict[str, list[np.ndarray]] = field(default_factory=dict)
    amplitudes: dict[str, list[np.ndarray]] = field(default_factory=dict)

    def add(self, dose: str, seconds: float, pixels: np.ndarray, amplitude: np.ndarray) -> None:
        if dose != "exact":
            self.rates.append(seconds / pixels.size * 1000)
        self.pixels.setdefault(dose, []).append(pixels)
        self.amplitudes.setdefault(dose, []).append(amplitude)


def command_of(program: str, cache: Path) -> list[str]:
    if program == "own":
        return [sys.executable, str(HERE / "own.py")]
    script = [str(python_of(program, cache)), str(HERE / f"peer_{program}.py")]
    return [*script, "fit"] if program == "exspy" else script


def run_child(command: list[str], cache: Path) -> str:
    """Run one script; its last line of complaint, or nothing."""
    try:
        done = subprocess.run(
            command, env=child_environment(cache), capture_output=True, text=True, timeout=CHILD_TIMEOUT_S
        )
    except subprocess.TimeoutExpired:
        return f"stopped after {CHILD_TIMEOUT_S} s"
    return "" if done.returncode == 0 else (done.stderr.strip().splitlines() or ["failed"])[-1]


def edge_curves(axes: dict[str, np.ndarray], edges: list[str], cache: Path, work: Path) -> dict:
    """Hydrogenic curves from eXSpy on the axes asked for: {axis: (edges, n) array}."""
    request, answer = work / "request.npz", work / "curves.npz"
    settings = np.array([simulate.BEAM_KEV, simulate.CONVERGENCE_MRAD, simulate.COLLECTION_MRAD])
    named = {f"axis_{name}": axis for name, axis in axes.items()}
    np.savez(request, edges=np.array(edges), settings=settings, **named)
    command = [
        str(python_of("exspy", cache)),
        str(HERE / "peer_exspy.py"),
        "shapes",
        str(request),
        str(answer),
    ]
    complaint = run_child(command, cache)
    if complaint:
        raise RuntimeError(f"edge curves: {complaint}")
    found = np.load(answer)
    curves = {name: np.stack([found[f"axis_{name}/{edge}"] for edge in edges]) for name in axes}
    return {**curves, "settings": settings}


def compare(programs: list[str], rounds: int, cache: Path, work: Path) -> tuple[dict, dict, simulate.Scene]:
    """All results: {(program, method): Found}, {program: complaint}, and the scene."""
    steps = np.arange(-MARGIN, simulate.CHANNELS + MARGIN)
    wide = simulate.START_EV + simulate.STEP_EV * steps
    curves = edge_curves({"wide": wide}, list(simulate.EDGES), cache, work)
    scene = simulate.scene(wide, curves["wide"])
    constant = {
        "edges": np.array(simulate.EDGES), "settings": curves["settings"], "energy_eV": scene.energy_eV,
        "low_loss_eV": scene.low_loss_eV, "low_loss": scene.low_loss, "shapes": scene.shapes,
        "convolved": scene.convolved, "wide_eV": wide, "wide_shapes": curves["wide"], "rows": simulate.ROWS,
    }  # fmt: skip
    found: dict[tuple[str, str], Found] = {}
    complaints: dict[str, str] = {}
    for turn in range(rounds):
        doses = {f"counts_{name}": simulate.counts(scene, dose, 532 + 10 * turn + i)
                 for i, (name, dose) in enumerate(simulate.DOSES.items())}  # fmt: skip
        names = list(simulate.DOSES)
        if turn == 0:
            doses["counts_exact"] = scene.expected(simulate.DOSES["high"])
            names.append("exact")
        source = work / "image.npz"
        np.savez(source, **constant, **doses, doses=np.array(names), round=turn)
        for program in programs:
            if program in complaints:
                continue
            output = work / f"{program}.npz"
            print(f"round {turn + 1} of {rounds}: {program}", file=sys.stderr, flush=True)
            complaint = run_child([*command_of(program, cache), str(source), str(output)], cache)
            if complaint:
                complaints[program] = complaint
                continue
            collect(dict(np.load(output)), program, found)
    return found, complaints, scene


def collect(result: dict, program: str, found: dict[tuple[str, str], Found]) -> None:
    for key in (key for key in result if key.endswith("/seconds")):
        method, dose, _ = key.split("/")
        parts = (result[f"{method}/{dose}/{name}"] for name in ("seconds", "pixels", "amplitude"))
        found.setdefault((program, method), Found()).add(dose, *parts)
