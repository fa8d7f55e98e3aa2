"""Densities and t/lambda that no solid can have: a wrong exposure is told, a right one never."""

import json

import h5py
import numpy as np
import pytest
from test_eels_tails import CONFIG, particle

from ceiflow.eels.plausible import IN_DOUBT, implausible, implied_density
from ceiflow.eels.zones import ZoneFit
from ceiflow.study.metadata import Value

SETTING = {"beam_energy_keV": 300.0, "convergence_mrad": 10.0, "collection_mrad": 20.0}
METADATA = {name: Value(value, "file") for name, value in SETTING.items()}
# Atoms nm^-3 (handbook densities) and mean free path in nm of Malis 1988, which the check does not use.
SOLIDS = {
    "NMC532": ({"O": 58.6, "Mn": 8.8, "Co": 5.9, "Ni": 14.6}, 131.0),
    "LiMn2O4": ({"O": 56.6, "Mn": 28.3}, 131.0),
    "LiFePO4": ({"O": 55.0, "Fe": 13.7, "P": 13.7}, 136.0),
    "NiO": ({"O": 53.8, "Ni": 53.8}, 125.0),
    "Li2CO3": ({"C": 17.2, "O": 51.6}, 165.0),
    "LiF": ({"F": 61.3}, 162.0),
    "polyether": ({"C": 32.8, "O": 16.4}, 175.0),
    "carbon black": ({"C": 95.0}, 160.0),
    "ice": ({"O": 30.8}, 180.0),
}


def fit_of(solid, factor=1.0, thickness_nm=50.0, told=True, vacuum=0):
    atoms, path = SOLIDS[solid]
    nothing = np.zeros(3)
    share = 1.0 - vacuum / 100
    density = {name: (n * thickness_nm * factor * share, 20.0, 100.0, 60.0) for name, n in atoms.items()}
    status = {name: ("identified", "") for name in atoms}
    density["Cl"], status["Cl"] = (5.0, 20.0, 10.0, 60.0), ("bounded", "")
    if not told:
        density = dict.fromkeys(atoms, (np.nan,) * 4)
        status = dict.fromkeys(atoms, ("not_identifiable", "exposures unknown"))
    return ZoneFit(
        nothing, nothing, nothing, nothing, {}, nothing, density, {},
        (thickness_nm / path, 0.004, 0.002), 100, status, {}, 1.0, vacuum_pixels=vacuum,
    )  # fmt: skip


@pytest.mark.parametrize("solid", sorted(SOLIDS))
def test_solids_pass_and_ten_times_too_much_or_too_little_does_not(solid):
    # Cross-sections and mean free paths that are off by a third each, or one by half.
    for factor in (0.6, 1.0, 1.6):
        assert implausible({"particle": fit_of(solid, factor)}, METADATA) == ""
    for factor in (0.1, 10.0):
        said = implausible({"particle": fit_of(solid, factor)}, METADATA)
        assert "exposure_s or low_loss_exposure_s is wrong" in said
        assert ("elements that are not chosen" in said) == (factor < 1)


def test_density_comes_back():
    """Mass and mean free paths of 50 nm of lithium carbonate, whose mean free path the literature has."""
    assert implied_density(2.11 * 50.0, 50.0 / 183.0, (300.0, 0.0, 1e6)) == pytest.approx(2.11, rel=0.02)


def test_nothing_is_said_of_what_is_not_told():
    assert implausible({"particle": fit_of("NMC532", 10.0, told=False)}, METADATA) == ""
    assert (
        implausible(
            {"particle": fit_of("NMC532", 10.0)}, METADATA | {"collection_mrad": Value(None, "missing")}
        )
        == ""
    )
    assert implausible({"particle": fit_of("NMC532", 10.0, thickness_nm=2.0)}, METADATA) == ""
    assert implausible({}, METADATA) == ""


def test_an_element_out_of_view_may_be_what_is_missing():
    fit = fit_of("NMC532", 0.15)
    fit.areal_density["F"], fit.status["F"] = (np.nan,) * 4, ("not_identifiable", "lies above the range")
    assert implausible({"particle": fit}, METADATA) == ""
    fit.areal_density["O"] = (300 * fit.areal_density["O"][0], *fit.areal_density["O"][1:])
    assert "g/cm^3" in implausible({"particle": fit}, METADATA)


def test_vacuum_of_a_whole_image_does_not_thin_the_solid():
    assert implausible({"all": fit_of("NMC532", vacuum=85)}, METADATA) == ""


def test_rows_and_qc_of_a_wrong_exposure(wrong_exposure):
    rows, summary = wrong_exposure(10.0)
    assert summary["qc_status"] == "warning"
    assert "g/cm^3" in summary["qc_reason"]
    densities = [row for row in rows if row.endpoint.startswith("areal_density") and row.value is not None]
    assert densities
    assert all(row.note.startswith(IN_DOUBT) for row in densities)
    assert not any(IN_DOUBT in row.note for row in rows if row.endpoint.startswith("atomic_fraction"))
    rows, summary = wrong_exposure(1.0)
    assert "g/cm^3" not in summary["qc_reason"]
    assert not any(IN_DOUBT in row.note for row in rows)


@pytest.fixture
def wrong_exposure(tmp_path):
    """Rows and summary of one spectrum of an oxide, whose core-loss exposure is wrong by a factor."""
    from ceiflow import eels
    from ceiflow.eels.source import open_source
    from ceiflow.eels.stages import spectrum_summary
    from ceiflow.eels.zones import fit_source_zones

    def measure(factor):
        particle(tmp_path, {"O": 2700.0, "Mn": 1000.0}, 3.0, 0.15, seed=4)
        with h5py.File(tmp_path / "c.h5", "r+") as file:
            metadata = json.loads(file.attrs["metadata"])
            metadata["low_loss_exposure_s"]["value"] = 0.01 * factor
            file.attrs["metadata"] = json.dumps(metadata)
        source = open_source(tmp_path / "c.h5", tmp_path / "e.h5", CONFIG)
        fits = fit_source_zones(source, {"all": np.ones((1, 1), bool)})
        return eels.zone_measurements(fits, source.header, ["O", "Mn"]), spectrum_summary(source, fits)

    return measure
