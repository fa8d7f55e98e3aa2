"""pyEELSMODEL 1.0: its linear fitters. Runs in its own environment.

As its core-loss example has it: a linear background of four fixed exponents from 1 to 5, edges, and
`MscatterFFT` with the low loss. `convolved` gives it edges that are spread beforehand, which spares it a
convolution per pixel: the best case, possible only where one low loss stands for all pixels.
"""

from __future__ import annotations

import contextlib
import io
import sys
import time

import numpy as np
import pyEELSMODEL.api as em
from pyEELSMODEL.components.fixedpattern import FixedPattern
from pyEELSMODEL.components.linear_background import LinearBG
from pyEELSMODEL.components.MScatter.mscatterfft import MscatterFFT
from pyEELSMODEL.core.multispectrum import MultiSpectrum, MultiSpectrumshape
from pyEELSMODEL.core.spectrum import Spectrum, Spectrumshape
from pyEELSMODEL.fitters.linear_fitter import LinearFitter
from pyEELSMODEL.fitters.quadratic_fitter import QuadraticFitter

STRIDE = {"ols": 10, "weighted": 10, "nnls": 10, "quadratic": 10, "convolved": 10}


def fit(data: dict, counts: np.ndarray, method: str) -> tuple[float, np.ndarray]:
    energy, loss_eV = data["energy_eV"], data["low_loss_eV"]
    step, size = float(energy[1] - energy[0]), energy.size
    shape = Spectrumshape(step, float(energy[0]), size)
    image = MultiSpectrum(
        MultiSpectrumshape(step, float(energy[0]), size, counts.shape[0], 1),
        data=counts.astype(np.float64)[:, None, :],
    )
    curves = data["convolved"] if method == "convolved" else data["shapes"]
    edges = [FixedPattern(shape, Spectrum(shape, data=curve.copy())) for curve in curves]
    components = [LinearBG(shape, rlist=np.linspace(1, 5, 4)), *edges]
    if method != "convolved":
        loss_shape = Spectrumshape(step, float(loss_eV[0]), loss_eV.size)
        components.append(MscatterFFT(shape, Spectrum(loss_shape, data=data["low_loss"].copy())))
    model = em.Model(shape, components)
    if method == "quadratic":
        fitter = QuadraticFitter(image, model)
    else:
        kind = "nnls" if method == "nnls" else "ols"
        fitter = LinearFitter(image, model, method=kind, use_weights=method in ("weighted", "convolved"))
    started = time.process_time()
    with contextlib.redirect_stdout(io.StringIO()):
        fitter.multi_fit()
    seconds = time.process_time() - started
    index = [fitter.get_param_index(edge.parameters[0]) for edge in edges]
    return seconds, fitter.coeff_matrix[:, 0, index]


def main(source: str, output: str) -> None:
    data = dict(np.load(source))
    result, turn = {}, int(data["round"])
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
