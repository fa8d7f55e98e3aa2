"""Errors of log-ratios on recordings of the phantom: elements that share channels err together."""

import sys
from pathlib import Path

import numpy as np
import pytest

from ceiflow.eels.source import open_source
from ceiflow.eels.tables import zone_measurements
from ceiflow.eels.zones import fit_source_zones
from ceiflow.statistics.composition import with_log_ratios
from ceiflow.study import load_config

BENCHMARK = Path(__file__).resolve().parents[2] / "benchmarks" / "quantification"
DRAWS = 60
PAIRS = [("C", "O"), ("O", "Mn"), ("C", "F"), ("F", "Mn"), ("Mn", "Ni")]


def rows_of(fits, header, elements, correlated):
    for name, fit in fits.items():
        for row in zone_measurements({"all": fit}, header, elements):
            yield {**vars(row), "acquisition_id": name, "correlation": row.correlation if correlated else ""}


@pytest.mark.simulation
def test_errors_of_log_ratios_are_their_scatter(tmp_path):
    sys.path.insert(0, str(BENCHMARK))
    try:
        validation = pytest.importorskip("validation")
    finally:
        sys.path.remove(str(BENCHMARK))
    ratios = {True: [], False: []}
    for index in (1, 4):
        scene = validation.SCENES[index]
        folder = tmp_path / scene.name
        folder.mkdir()
        signal, edges, raw, _, owner = validation.write_files(scene, DRAWS, folder)
        source = open_source(signal, edges, load_config(raw))
        for place, _ in enumerate(scene.zones):
            inside = np.broadcast_to(owner == place, (DRAWS, owner.size))
            masks = {str(row): inside & (np.arange(DRAWS) == row)[:, None] for row in range(DRAWS)}
            fits = fit_source_zones(source, masks, windows=False)
            for correlated, found in ratios.items():
                rows = list(rows_of(fits, source.header, source.elements, correlated))
                for a, b in PAIRS:
                    own = [
                        row
                        for row in with_log_ratios(rows, [f"log_ratio_{a}_{b}"])
                        if row["endpoint"].startswith("log_") and row["status"] == "identified"
                    ]
                    if len(own) > 0.95 * DRAWS:
                        values = np.array([row["value"] for row in own])
                        stated = np.sqrt(np.mean([row["se_stat"] ** 2 for row in own]))
                        found.append((scene.name, place, a, b, values.std(ddof=1) / stated))
    spread = {kind: np.array([item[-1] for item in found]) for kind, found in ratios.items()}
    for kind, found in ratios.items():
        print(kind, *found, sep="\n  ")
    assert len(spread[True]) >= 4
    # 60 draws know a standard deviation to 9 %, and the pairs are not independent.
    assert np.sqrt(np.mean(spread[True] ** 2)) == pytest.approx(1.0, abs=0.1)
    assert np.abs(spread[True] - 1).max() < 0.3
    assert np.mean((spread[False] - 1) ** 2) > np.mean((spread[True] - 1) ** 2)
