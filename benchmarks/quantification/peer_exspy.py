"""eXSpy 0.3: edge curves for everybody, and its model fits. Runs in its own environment."""

from __future__ import annotations

import sys
import time

import exspy
import numpy as np
from exspy.components import EELSCLEdge

# Pixels between two that are fitted: it is slow, and every round takes others.
STRIDE = {"lm": 30, "linear": 10}


def spectrum(data: np.ndarray, offset: float, scale: float, settings: np.ndarray):
    signal = exspy.signals.EELSSpectrum(data)
    axis = signal.axes_manager[-1]
    axis.offset, axis.scale, axis.units, axis.name = offset, scale, "eV", "Energy loss"
    signal.set_microscope_parameters(*(float(value) for value in settings))
    return signal


def shapes(request: dict, output: str) -> None:
    """Hydrogenic curves of unit intensity on any axes."""
    results = {}
    signal = spectrum(np.ones((2, 64)), 200.0, 0.5, request["settings"])
    names = [str(name) for name in request["edges"]]
    model = signal.create_model(auto_add_edges=False, GOS="hydrogenic")
    for name in names:
        model.append(EELSCLEdge(name, GOS="hydrogenic"))
    for name in names:
        component = model[name]
        component.intensity.value = 1.0
        for axis in (key for key in request if key.startswith("axis_")):
            results[f"{axis}/{name}"] = component.function(request[axis])
    np.savez(output, **results)


def model_of(signal, low_loss, names):
    model = signal.create_model(low_loss=low_loss, auto_add_edges=False, GOS="hydrogenic")
    for name in names:
        model.append(EELSCLEdge(name, GOS="hydrogenic"))
        model[name].fine_structure_active = False
        model[name].onset_energy.free = False
    return model


def fit(data: dict, counts: np.ndarray, method: str) -> tuple[float, np.ndarray]:
    """Start values from the mean spectrum, then every pixel; only the latter is timed."""
    names = [str(name) for name in data["edges"]]
    energy, loss_eV = data["energy_eV"], data["low_loss_eV"]
    step = float(energy[1] - energy[0])
    settings = data["settings"]
    low = np.broadcast_to(data["low_loss"], (counts.shape[0], loss_eV.size)).copy()
    signal = spectrum(counts.astype(np.float64), float(energy[0]), step, settings)
    low_loss = spectrum(low, float(loss_eV[0]), step, settings)
    mean = spectrum(counts.mean(0), float(energy[0]), step, settings)
    mean_model = model_of(mean, spectrum(data["low_loss"], float(loss_eV[0]), step, settings), names)
    background = mean_model["PowerLaw"]
    background.estimate_parameters(mean, 220.0, 275.0)
    mean_model.fit(optimizer="lm")
    model = model_of(signal, low_loss, names)
    for component in mean_model:
        for parameter in component.free_parameters:
            getattr(model[component.name], parameter.name).value = parameter.value
    model.assign_current_values_to_all()
    if method == "linear":
        model["PowerLaw"].r.free = False
    started = time.process_time()
    model.multifit(optimizer="lm" if method == "lm" else "lstsq", show_progressbar=False)
    seconds = time.process_time() - started
    # A binned signal's model is multiplied by the channel width: its intensities are per eV.
    amplitude = np.stack([model[name].intensity.map["values"].ravel() for name in names], axis=1)
    return seconds, amplitude * step


def main(job: str, source: str, output: str) -> None:
    data = dict(np.load(source))
    if job == "shapes":
        shapes(data, output)
        return
    result = {}
    turn = int(data["round"])
    for method, stride in STRIDE.items():
        for dose in (str(name) for name in data["doses"]):
            counts = data[f"counts_{dose}"]
            chosen = np.arange(turn % stride, counts.shape[0], stride)
            seconds, amplitude = fit(data, counts[chosen], method)
            answer = {"seconds": seconds, "pixels": chosen, "amplitude": amplitude}
            result |= {f"{method}/{dose}/{key}": value for key, value in answer.items()}
    np.savez(output, **result)


if __name__ == "__main__":
    main(*sys.argv[1:])
