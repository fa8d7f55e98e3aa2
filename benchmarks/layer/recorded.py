"""A simulated dual spectrum image on its way to fitted maps, as a recorded one goes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ceiflow import eels
from ceiflow.phantom.edges import nature
from ceiflow.phantom.spectra import Beam, simulate_dual
from ceiflow.signals import store
from ceiflow.signals.store import Header
from ceiflow.study.metadata import METADATA, MISSING, Value

PIXEL_NM = 2.0
KNOWN = {"pixel_size_nm": PIXEL_NM, "beam_energy_keV": 300.0, "convergence_mrad": 10.0}
KNOWN |= {"collection_mrad": 20.0, "exposure_s": 0.02, "low_loss_exposure_s": 0.0004}
#: Electrons of the low loss, relative to those of the core loss.
LOW_LOSS_SHARE = 1 / 50


def header(name: str) -> Header:
    """What is known of a simulated acquisition."""
    values = {key: Value(KNOWN[key], "file") if key in KNOWN else MISSING for key in METADATA}
    source = [{"role": role, "path": "simulated"} for role in ("core_loss", "low_loss")]
    return Header(name, "eels_si", metadata=values, source=source)


def beam(dose: float, **more: float) -> Beam:
    """Electrons per pixel at a dose in e/A2, and what else is said of the beam."""
    electrons = dose * 100 * PIXEL_NM**2
    return Beam(electrons=electrons, low_electrons=electrons * LOW_LOSS_SHARE, **more)


def fitted(
    folder: Path,
    lengths: dict,
    materials: dict,
    beam: Beam,
    seed: int,
    rng: np.random.Generator,
    config: dict,
) -> dict[str, Path]:
    """Record, calibrate and fit.

    Parameters
    ----------
    folder : Path
    lengths : dict of str to (rows, columns) array
        Path in nm through every material.
    materials : dict of str to Material
    beam : Beam
    seed : int
        Of the cross-sections that nature has.
    rng : numpy.random.Generator
        Of the counts.
    config : dict

    Returns
    -------
    dict of str to Path
        Files `signal`, `calibrated`, `edges` and `fit`.
    """
    image, axes = simulate_dual(lengths, materials, beam, nature(seed), rng), beam.file_axes()
    paths = {name: folder / f"{name}.h5" for name in ("signal", "calibrated", "edges", "fit")}
    with store.create_h5(paths["signal"]) as file:
        store.write_header(file, header("simulated"))
        for role, data, start in (("core_loss", image.core, "core"), ("low_loss", image.low, "low")):
            store.write_signal(
                file, role, data, energy_offset_eV=axes[f"{start}_start_eV"],
                energy_scale_eV=axes["dispersion_eV"], pixel_size_nm=PIXEL_NM,
            )  # fmt: skip
    eels.edges([paths["signal"]], paths["edges"], config)
    eels.calibrate(paths["signal"], paths["calibrated"], config)
    eels.quantify(paths["calibrated"], paths["edges"], paths["fit"], config)
    return paths
