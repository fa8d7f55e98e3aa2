"""What the calibration says of a recording: reasons, transfer, readiness, dead pixels, noise."""

import copy
import json
from dataclasses import replace

import h5py
import numpy as np
import pytest
from test_eels_stages import CONFIG, ELEMENTS, Beam, simulate, write

from ceiflow import eels
from ceiflow.eels import low_loss, source, zero_loss
from ceiflow.eels.calibration import axis_values, fine_structure_reason, residual_shift
from ceiflow.eels.cross_sections import CrossSection
from ceiflow.eels.energy import AxisCalibration
from ceiflow.eels.table import EDGES
from ceiflow.eels.transfer import decide_transfer
from ceiflow.signals import store


def calibrated(folder, image, beam, config=CONFIG, **options):
    """The record and the file of a calibration."""
    signal = write(folder / "s.h5", image, beam, **options)
    eels.calibrate(signal, folder / "c.h5", config)
    header = store.read_header(folder / "c.h5")
    return json.loads(header.attributes["calibration"]), header


def gaussian(energy, at, width, height):
    return height * np.exp(-0.5 * ((energy - at) / width) ** 2)


def test_a_zero_loss_on_a_pedestal_is_found():
    energy = np.arange(-18.8, 52.9, 0.035)
    spectrum = 600 + gaussian(energy, 0.4, 0.4, 500) + gaussian(energy, 22, 6, 9)
    found, reason = zero_loss.look_for_zero_loss(energy, spectrum)
    assert reason == ""
    assert found.position_eV == pytest.approx(0.4, abs=0.02)
    assert found.fwhm_eV == pytest.approx(0.94, abs=0.05)
    assert found.pedestal == pytest.approx(600, abs=1)


@pytest.mark.parametrize(
    ("energy", "spectrum", "reason"),
    [
        (np.arange(250, 500, 0.5), lambda e: 1e9 * e**-3, "does not come near 0 eV"),
        (np.arange(5, 200, 0.5), lambda e: gaussian(e, 23, 4, 1e4), "wide"),
        (np.arange(-20, 60, 0.5), lambda e: 600 + 0 * e, "hold the same"),
        (np.arange(-1, 60, 0.5), lambda e: gaussian(e, 0, 0.5, 1e4), "end of the range"),
        (np.arange(-30, 60, 0.5), lambda e: gaussian(e, 40, 1, 9) + gaussian(e, 0, 1, 1), "highest channel"),
    ],
    ids=["core loss", "plasmon", "flat", "cut off", "elsewhere"],
)  # fmt: skip
def test_refusals_say_the_true_reason(energy, spectrum, reason):
    found, why = zero_loss.look_for_zero_loss(energy, spectrum(energy))
    assert found is None
    assert reason in why


def test_dark_level_is_taken_off_and_the_tail_of_a_zero_loss_is_not():
    energy = np.arange(-40, 200, 0.2)
    peak = gaussian(energy, 0, 0.4, 1e5) + gaussian(energy, 23, 4, 4e3)
    assert low_loss.dark_level(energy, peak + 600, 1.0, 0.0) == pytest.approx(600, abs=1)
    tail = 2e3 / (1 + (energy / 1.5) ** 2)
    assert low_loss.dark_level(energy, peak + tail, 1.0, 0.0) == 0.0
    assert low_loss.dark_level(energy, peak + tail + 5, 1.0, 3.0) == 3.0


@pytest.mark.parametrize("same_file", [True, False], ids=["one file", "two files"])
def test_core_loss_is_aligned_where_it_moves_along(tmp_path, same_file):
    beam = Beam(electrons=4e7, low_electrons=4e4, jitter_eV=0.7, drift_eV=0.5)
    image = simulate(beam, seed=3)
    signal = write(tmp_path / "s.h5", image, beam)
    if not same_file:
        rename(signal)
    eels.calibrate(signal, tmp_path / "c.h5", CONFIG)
    record = json.loads(store.read_header(tmp_path / "c.h5").attributes["calibration"])
    assert record["transfer"]["applied"]
    # Shifts as wide as the lines are no small steps along their flanks.
    assert record["transfer"]["factor"] == pytest.approx(1.0, abs=0.25)
    assert record["zero_loss"]["jitter_eV"] == pytest.approx(0.7, abs=0.1)
    # What is left is what whole channels cannot take out.
    assert record["pixel_shift_left_eV"] < 0.2
    with h5py.File(tmp_path / "c.h5") as file:
        found = file["zero_loss/shift_eV"][()]
    away = found - image.shift_eV
    assert np.std(away) < 0.03
    before, after = (store.open_signal(tmp_path / name, "core_loss").read() for name in ("s.h5", "c.h5"))
    assert sharpness(after) > 1.05 * sharpness(before)


def test_core_loss_that_stands_still_is_left_alone(tmp_path):
    beam = Beam(electrons=4e6, low_electrons=4e4, jitter_eV=0.7)
    image, still = simulate(beam, seed=5), simulate(Beam(electrons=4e6, jitter_eV=0.0, drift_eV=0.0), seed=6)
    image.core[:] = still.core
    signal = write(tmp_path / "s.h5", image, beam)
    rename(signal)
    eels.calibrate(signal, tmp_path / "c.h5", CONFIG)
    record = json.loads(store.read_header(tmp_path / "c.h5").attributes["calibration"])
    assert not record["transfer"]["applied"]
    assert "not aligned" in record["transfer"]["reason"]
    assert record["pixel_shift_left_eV"] == 0.0
    before, after = (store.open_signal(tmp_path / name, "core_loss").read() for name in ("s.h5", "c.h5"))
    np.testing.assert_array_equal(before, after)


def rename(signal):
    """Say that core loss and low loss come from two files."""
    with h5py.File(signal, "r+") as file:
        sources = json.loads(file.attrs["source"])
        file.attrs["source"] = json.dumps([item | {"path": f"{item['role']}.dm4"} for item in sources])


def sharpness(spectra):
    """Of the manganese white line, in the sum over the oxide."""
    line = spectra[:, 22:, 700:860].sum((0, 1), dtype=float)
    return np.max(np.abs(np.diff(line))) / line.mean()


@pytest.mark.parametrize(
    ("measured", "same", "applied", "words"),
    [
        ((1.02, 0.1), False, True, "moves"),
        ((0.05, 0.1), True, False, "not aligned"),
        ((0.6, 0.5), False, False, "too uncertain"),
        ((0.6, 0.5), True, True, "moves"),
        (None, True, True, "no neighbouring pixels"),
        (None, False, False, "no neighbouring pixels"),
    ],
)
def test_what_the_edges_say_decides(measured, same, applied, words):
    found = decide_transfer(measured, same, True)
    assert found.applied is applied
    assert words in found.reason
    assert not decide_transfer(measured, same, False).applied


def axis_of(residuals, error, axis_se=0.1):
    edges = [{"edge": "O_K", "expected_eV": 530.0, "found_eV": 530.0 + r, "residual_eV": r, "se_eV": error}
             for r in residuals]  # fmt: skip
    covariance = np.array([[axis_se**2, 0.0], [0.0, 1e-8]])
    return AxisCalibration(
        0.0, axis_se, 1.0, 1e-4, 600.0, "edges", edges, origin_eV=530.0, covariance=covariance
    )


@pytest.mark.parametrize(
    ("axis", "blur", "words"),
    [
        (axis_of([0.1, -0.1], 0.2), 0.1, ""),
        (axis_of([0.5, 0.4], 0.2), 0.1, "0.45 eV off"),
        (axis_of([0.1, -0.1], 0.2, 0.35), 0.1, "known to 0.35 eV only"),
        (axis_of([0.1, -0.1], 0.2), 0.5, "could not be aligned"),
        (AxisCalibration(0.0, 0.5, 1.0, 0.0, 600.0, "zero_loss"), 0.0, "no edge"),
    ],
)
def test_fine_structure_needs_three_tenths_of_an_electronvolt(axis, blur, words):
    reason = fine_structure_reason(axis, blur)
    assert bool(reason) is bool(words)
    assert words in reason


def test_error_of_the_axis_grows_away_from_its_edges():
    axis = axis_of([0.0], 0.2)
    axis.covariance = np.array([[0.04, 0.0], [0.0, 1e-6]])
    assert axis.se_at(530.0) == pytest.approx(0.2)
    assert axis.se_at(830.0) == pytest.approx(np.hypot(0.2, 0.3))
    assert residual_shift(axis) == (0.0, pytest.approx(0.2))


def test_a_dead_pixel_is_left_out_and_counted(tmp_path):
    beam = Beam(electrons=4e6)
    image = simulate(beam)
    signal = write(tmp_path / "s.h5", image, beam)
    dead = np.zeros((12, 30), bool)
    dead[4, 25] = dead[5, 9] = True
    with h5py.File(signal, "r+") as file:
        for role in ("core_loss", "low_loss"):
            data = file[f"{role}/data"]
            data[...] = np.where(dead[..., None], 0, data[()])
        store.write_dead(file, dead)
    eels.edges([signal], tmp_path / "e.h5", CONFIG)
    eels.calibrate(signal, tmp_path / "c.h5", CONFIG)
    eels.quantify(tmp_path / "c.h5", tmp_path / "e.h5", tmp_path / "f.h5", CONFIG)
    with h5py.File(tmp_path / "f.h5") as file:
        for name in ("total_counts", "areal_density/O", "counts/Mn", "reduced_chi2", "thickness_over_mfp"):
            np.testing.assert_array_equal(np.isnan(file[name][()]), dead, err_msg=name)
    record = json.loads(store.read_header(tmp_path / "c.h5").attributes["calibration"])
    assert record["dead_pixels"] == 2
    masks = {"particle": np.zeros((12, 30), bool)}
    masks["particle"][:, 22:] = True
    fit = eels.fit_zones(tmp_path / "c.h5", tmp_path / "e.h5", masks, CONFIG)["particle"]
    assert fit.n == masks["particle"].sum() - 1


def test_noise_of_a_camera_reaches_the_errors_and_is_told(tmp_path):
    beam = Beam(electrons=4e6)
    image = simulate(beam)
    record, header = calibrated(tmp_path, image, beam)
    assert record["detector"]["gain"] == pytest.approx(1.0, abs=0.03)
    assert not record["detector"]["contradicts"]
    noise, _ = source.read_noise(header, CONFIG)
    assert noise.gain == 1.0
    image.core[:] = 6 * image.core
    (tmp_path / "b").mkdir()
    record, header = calibrated(tmp_path / "b", image, beam)
    noise, label = source.read_noise(header, CONFIG)
    assert noise.gain == pytest.approx(6.0, rel=0.03)
    assert any("spectra scatter" in text for text in header.warnings)
    assert label.startswith("gain")
    values = axis_values(record)
    assert values["noise_model"] == label
    assert values["fine_structure_ready"] in ("true", "false")
    # Said in the configuration, it is no contradiction.
    config = copy.deepcopy(CONFIG)
    config["detector"]["gain"] = 6.0
    (tmp_path / "d").mkdir()
    record, header = calibrated(tmp_path / "d", image, beam, config)
    assert not any("spectra scatter" in text for text in header.warnings)


def test_too_few_counts_mean_that_poisson_is_assumed(tmp_path):
    beam = Beam(electrons=1e4)
    whole = simulate(beam, rows=1)
    image = replace(whole, core=whole.core[:, 27:28], low=whole.low[:, 27:28])
    record, header = calibrated(tmp_path, image, beam)
    assert record["detector"]["label"].startswith("Poisson assumed: ")
    eels.edges([tmp_path / "s.h5"], tmp_path / "e.h5", CONFIG)
    fits = eels.fit_zones(tmp_path / "c.h5", tmp_path / "e.h5", {"all": np.ones((1, 1), bool)}, CONFIG)
    rows = eels.zone_measurements(fits, header, ELEMENTS)
    told = [row for row in rows if row.status in ("identified", "bounded")]
    assert told
    assert all("Poisson assumed" in row.note for row in told)


def test_point_spread_blurs_edges_by_what_the_low_loss_does_not_bring():
    grid = np.arange(532.0, 700.0, 0.1)
    section = {"O": CrossSection(EDGES["O"], grid, (grid / 532.0) ** -4)}
    energy = np.arange(500.0, 600.0, 0.05)

    def width(sections):
        """Standard deviation of the edge's slope."""
        values = sections["O"](energy)
        slope = np.clip(np.diff(np.where(energy < 540, values, np.nan)), 0, None)
        slope = np.nan_to_num(slope) * (np.abs(energy[1:] - 532) < 6)
        middle = energy[1:]
        mean = np.sum(slope * middle) / slope.sum()
        return np.sqrt(np.sum(slope * (middle - mean) ** 2) / slope.sum())

    assert width(source.with_point_spread(section, 0.0, 0.5, None)) < 0.1
    assert width(source.with_point_spread(section, 1.6, 0.5, None)) == pytest.approx(0.8, rel=0.06)
    assert width(source.with_point_spread(section, 1.6, 0.5, 0.3)) == pytest.approx(0.64, rel=0.06)
    assert width(source.with_point_spread(section, 1.6, 0.5, 0.5)) < 0.1
