"""nionswift's EELS analysis: a power law before each edge, a window above it. Runs in its own environment.

Net counts are divided by those of a unit edge with plural scattering in the same window, which is more than
its own cross-sections offer (K shells only, single scattering): what remains is the method of windows.
"""

from __future__ import annotations

import sys
import time

import numpy as np
from nion.eels_analysis.EELS_DataAnalysis import core_loss_edge

# Background and signal windows in eV, as wide as the neighbouring edges leave.
WINDOWS = {
    "C_K": ((230.0, 282.0), (284.0, 334.0)),
    "O_K": ((470.0, 530.0), (532.0, 582.0)),
    "F_K": ((655.0, 684.0), (685.0, 711.5)),
    "Mn_L3": ((585.0, 638.0), (640.0, 684.0)),
}


def fit(data: dict, counts: np.ndarray) -> tuple[float, np.ndarray]:
    energy = data["energy_eV"]
    step = float(energy[1] - energy[0])
    axis = np.array([energy[0], energy[-1] + step])
    spectra = counts.astype(np.float64)
    nets = []
    started = time.process_time()
    for name in (str(name) for name in data["edges"]):
        below, (first, last) = WINDOWS[name]
        nets.append(core_loss_edge(spectra, axis, first, last - first, np.array(below))[0])
    seconds = time.process_time() - started
    amplitudes = []
    for index, name in enumerate(str(name) for name in data["edges"]):
        first, last = WINDOWS[name][1]
        window = slice(round((first - energy[0]) / step), round((last - energy[0]) / step))
        amplitudes.append(nets[index] / np.trapezoid(data["convolved"][index, window], dx=step))
    return seconds, np.stack(amplitudes, axis=1)


def main(source: str, output: str) -> None:
    data = dict(np.load(source))
    result = {}
    for dose in (str(name) for name in data["doses"]):
        counts = data[f"counts_{dose}"]
        seconds, amplitude = fit(data, counts)
        answer = {"seconds": seconds, "pixels": np.arange(len(counts)), "amplitude": amplitude}
        result |= {f"windows/{dose}/{key}": value for key, value in answer.items()}
    np.savez(output, **result)


if __name__ == "__main__":
    main(*sys.argv[1:])
