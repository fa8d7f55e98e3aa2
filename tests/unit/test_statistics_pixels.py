"""Variance between pixels: that of the specimen, and not that of the counts."""

import numpy as np
import pytest

from ceiflow.signals.store import create_h5
from ceiflow.statistics.components import pixel_component
from ceiflow.statistics.heterogeneity import heterogeneity_rows
from ceiflow.statistics.pixels import pixel_rows

SD, NOISE = 3.0, 8.0


def write_maps(path, rng, sd=SD):
    zone = np.zeros((40, 40), np.uint8)
    zone[:, 10:20], zone[:, 20:], zone[0] = 1, 2, 255
    density = rng.normal(100.0, sd, zone.shape) + rng.normal(0.0, NOISE, zone.shape)
    density[5, 12] = np.nan
    with create_h5(path) as file:
        file.attrs["acquisition_id"] = path.parent.name
        file["zone"] = zone
        file["areal_density/C"] = density.astype(np.float32)
        file["areal_density_std/C"] = np.full(zone.shape, NOISE, np.float32)


def test_noise_is_taken_off_zone_by_zone(tmp_path):
    rng, rows = np.random.default_rng(3), []
    for i in range(30):
        (tmp_path / f"a{i}").mkdir()
        write_maps(tmp_path / f"a{i}" / "maps.h5", rng)
        rows += pixel_rows([tmp_path / f"a{i}" / "maps.h5"])
    assert {(row["zone"], row["n"]) for row in rows} == {("layer", 389), ("particle", 780)}
    for zone in ("layer", "particle"):
        found = [row["variance"] for row in rows if row["zone"] == zone]
        error = np.std(found, ddof=1) / np.sqrt(30)
        assert np.mean(found) == pytest.approx(SD**2, abs=3 * error)
        assert error < 2.0
    measurements = [
        {
            "acquisition_id": f"a{i}", "cell_id": f"c{i % 5}", "particle_id": f"p{i}", "region_id": "r",
            "modality": "eels_si", "zone": "layer", "endpoint": "areal_density_C_per_nm2",
            "status": "identified", "value": 100.0 + i % 5, "se_stat": 0.1, "lod": 1.0, "n": 389,
        }
        for i in range(30)
    ]  # fmt: skip
    cells = [{"cell_id": f"c{i}", "condition": "shorted"} for i in range(5)]
    (pixel,) = [r for r in heterogeneity_rows(measurements, cells, 0.05, rows) if r["level"] == "pixel"]
    assert pixel["ci_low"] < SD**2 < pixel["ci_high"]
    assert pixel["n"] == 30 * 389
    # Without maps there is no such level: n times a squared standard error is noise alone.
    levels = {row["level"] for row in heterogeneity_rows(measurements, cells, 0.05)}
    assert "pixel" not in levels


def test_a_failed_map_gives_no_row(tmp_path):
    with create_h5(tmp_path / "maps.h5") as file:
        file.attrs["acquisition_id"] = "a"
    assert pixel_rows([tmp_path / "maps.h5"]) == []


def test_pixels_that_scatter_less_than_their_errors_are_not_told():
    quiet = pixel_component([-1.0, -1.1, -0.9], [50] * 3, ["a", "b", "c"], "maps")
    assert (quiet.variance, quiet.low, quiet.high) == (0.0, None, None)
    assert "not told" in quiet.note
    one = pixel_component([1.0, 2.0], [50] * 2, ["a", "a"], "maps")
    assert "interval of one cell" in one.note
    assert pixel_component([1.0], [50], ["a"], "maps").low is None
