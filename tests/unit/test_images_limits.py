"""The terms of an image's detection limit."""

import math

import pytest

from ceiflow.images import detection_limit


@pytest.mark.parametrize(
    ("defocus", "fresnel", "coarse", "fine"),
    [(50, 0.31, 0.21, 0.49), (100, 0.44, 0.42, 0.98), (500, 0.99, 2.1, 4.9), (1000, 1.40, 4.2, 9.8)],
)
def test_terms_at_300_kV(defocus, fresnel, coarse, fine):
    terms = detection_limit(defocus, 300, 0.47, 0.5)
    assert terms["fresnel_nm"] == pytest.approx(fresnel, abs=0.006)
    assert terms["delocalisation_nm"] == pytest.approx(coarse, rel=0.02)
    assert detection_limit(-defocus, 300, 0.20, 0.5)["delocalisation_nm"] == pytest.approx(fine, rel=0.01)
    assert terms["total_nm"] == max(terms["fresnel_nm"], terms["delocalisation_nm"], 0.25)


def test_unknown_defocus_or_energy_gives_no_limit():
    terms = detection_limit(None, 300, 0.47, 1.0)
    assert terms["total_nm"] is None
    assert terms["reason"] == "defocus unknown: absence is not claimable"
    assert terms["window_nm"] == 0.5
    assert detection_limit(float("nan"), 300, 0.47, 1.0)["total_nm"] is None
    assert "energy" in detection_limit(50, None, 0.47, 1.0)["reason"]


def test_tilt_and_pristine_scatter():
    terms = detection_limit(50, 300, 0.47, 1.0, tilt_mrad=100, minimum_depth_nm=20)
    assert terms["tilt_nm"] == pytest.approx(20 * math.tan(0.1))
    assert terms["total_nm"] == terms["tilt_nm"]
    terms = detection_limit(50, 300, 0.47, 1.0, pristine_sd_nm=0.5, n_pristine=4)
    assert terms["total_nm"] == pytest.approx(3.29 * 0.5 * math.sqrt(1.25))
