"""One virtual environment for each peer, pinned, made once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

# Versions from the package index; each peer has its own environment since they do not agree on everything.
PINS = {
    # numba and numexpr are what HyperSpy recommends for speed.
    "exspy": (
        "exspy==0.3.2",
        "hyperspy==2.5.0",
        "rosettasciio==0.15.0",
        "numba==0.68.1",
        "numexpr==2.14.2",
        "numpy==2.4.6",
        "scipy==1.17.1",
    ),
    "pyeelsmodel": ("pyEELSMODEL==1.0.9", "quadprog==0.1.14", "numpy==2.4.6", "scipy==1.17.1"),
    "nionswift": ("nionswift-eels-analysis==0.6.13", "nionswift==16.16.2", "numpy==2.4.6", "scipy==1.17.1"),
}
INSTALL_TIMEOUT_S = 600


def python_of(name: str, cache: Path) -> Path:
    """Interpreter of a peer's environment, which is made if it is not there with these very versions."""
    folder = cache / name
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    stamp = folder / "pins.txt"
    wanted = "\n".join(PINS[name]) + "\n"
    if stamp.exists() and stamp.read_text() == wanted and python.exists():
        return python
    cache.mkdir(parents=True, exist_ok=True)
    (cache / ".gitignore").write_text("*\n")
    print(f"making the environment of {name} ({', '.join(PINS[name][:2])}) ...", file=sys.stderr, flush=True)
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
    command = [str(python), "-m", "pip", "install", "--quiet", *PINS[name]]
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(command, timeout=INSTALL_TIMEOUT_S, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{name}: pip failed: {done.stderr.strip()[-2000:]}")
    stamp.write_text(wanted)
    return python


def child_environment(cache: Path) -> dict[str, str]:
    """One BLAS thread, and a home of its own: peers write settings there when they are imported."""
    threads = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
    home = cache / "home"
    home.mkdir(parents=True, exist_ok=True)
    return {
        **{k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"},
        **dict.fromkeys(threads, "1"),
        "HOME": str(home),
        "MPLBACKEND": "Agg",
        "TQDM_DISABLE": "1",
    }
