"""Composition of two measured oxides, from their instrument files, with both sources of cross-sections.

    python benchmarks/quantification/real_files.py DATA

DATA is the folder with `nmc-edge/{core,low}_loss_si.dm3`; the other pair of spectra comes with eXSpy.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from importlib import resources
from pathlib import Path

import numpy as np
from tables import table

from ceiflow import eels
from ceiflow.signals import ingest
from ceiflow.study.config import load_config

METALS = ("Mn", "Co", "Ni")
# Angles were not recorded with the first: any pair that is a microscope's shows what follows from it.
NMC = {"modality": "eels_si", "path": "core_loss_si.dm3", "low_loss_path": "low_loss_si.dm3",
       "beam_energy_keV": 300.0, "convergence_mrad": 10.0, "collection_mrad": 20.0}  # fmt: skip
OXIDE = {"modality": "eels_spectrum", "path": "coreloss_spectrum.msa",
         "low_loss_path": "lowloss_spectrum.msa", "beam_energy_keV": 300.0,
         "convergence_mrad": 24.6, "collection_mrad": 13.6}  # fmt: skip


def fits_of(folder: Path, row: dict, zones: dict[str, np.ndarray], source: str) -> dict:
    """Zone fits of one acquisition with one source of cross-sections."""
    config = load_config({"eels": {"cross_sections": source}})
    acquisition = {"acquisition_id": "real", "cell_id": "cell", **row}
    with tempfile.TemporaryDirectory() as work:
        signal, edges, calibrated = (Path(work) / f"{name}.h5" for name in ("signal", "edges", "calibrated"))
        header = ingest(acquisition, config, folder, signal)
        if not header.ok:
            raise SystemExit(header.reason)
        eels.edges([signal], edges, config)
        eels.calibrate(signal, calibrated, config)
        return eels.fit_zones(calibrated, edges, zones, config)


def line(name: str, source: str, fit: eels.ZoneFit) -> list[str]:
    """One row: ratios of sums with statistical and systematic error."""
    share = {element: fit.atomic_fraction[element] for element in ("O", *METALS)}
    seen = [metal for metal in METALS if fit.fraction_status[metal][0] == "identified"]
    metals = sum(share[metal][0] for metal in seen)

    def ratio(parts: list[str]) -> str:
        below = sum(share[metal][0] for metal in parts)
        value = share["O"][0] / below
        errors = [
            value
            * np.hypot(
                share["O"][i] / share["O"][0],
                np.sqrt(sum(share[metal][i] ** 2 for metal in parts)) / below,
            )
            for i in (1, 2)
        ]
        return f"{value:.2f} ± {errors[0]:.2f} ± {errors[1]:.2f}"

    parts = " ".join(f"{metal} {share[metal][0] / metals:.2f}" for metal in seen)
    return [
        name, source, f"{fit.thickness_over_mfp[0]:.2f}", ratio(["Mn"]), ratio(seen), parts,
        fit.fraction_status["F"][0], f"{fit.reduced_chi2:.1f}",
    ]  # fmt: skip


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    options = parser.parse_args(argv)
    column = np.broadcast_to(np.arange(21), (2, 21))
    zones = {"surface": (column >= 2) & (column < 5), "particle": column >= 6}
    rows = []
    for source in ("hydrogenic", "photoabsorption"):
        for zone, fit in fits_of(options.data / "nmc-edge", NMC, zones, source).items():
            rows.append(line(f"nmc-edge, {zone}", source, fit))
        with resources.as_file(resources.files("exspy") / "tests" / "components") as folder:
            whole = fits_of(folder, OXIDE, {"all": np.ones((1, 1), bool)}, source)["all"]
        rows.append(line("exspy-mn-oxide", source, whole))
    head = ["spectra", "cross-sections", "t/lambda", "O/Mn", "O/metal", "shares of the metal", "F", "chi2"]
    print(table(head, rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
