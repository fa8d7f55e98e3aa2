"""A row of the sheet becomes a canonical file, or a failed one that says why."""

import json

import numpy as np
import pytest
import signals_makers as make

from ceiflow import signals
from ceiflow.errors import SignalError
from ceiflow.signals import store
from ceiflow.signals.blocks import iter_blocks
from ceiflow.signals.formats import sha256


@pytest.fixture
def study(tmp_path):
    (tmp_path / "raw").mkdir()
    return tmp_path


def row(**cells):
    return {"acquisition_id": "a1", "modality": "eels_si", "path": "raw/core.hspy", **cells}


def run(study, config=None, **cells):
    header = signals.ingest(row(**cells), config or {}, study, study / "out" / "a1.h5")
    assert header == signals.read_header(study / "out" / "a1.h5")
    return header


def core(study, data=None, name="core.hspy", **options):
    return make.write(study / "raw" / name, data, **options)


def low_loss(study, data=None, name="low.hspy", **options):
    data = make.cube(seed=5) if data is None else data
    axes = make.axes_of(data, energy=("Energy loss", "eV", 0.25, -4.0))
    return make.write(study / "raw" / name, data, axes, **options)


def survey(study, data=None, name="adf.hspy"):
    data = make.image() if data is None else data
    return make.write(study / "raw" / name, data, make.axes_of(data, step=0.1, spectra=False), spectra=False)


def opened(study, role="core_loss"):
    return signals.open_signal(study / "out" / "a1.h5", role)


def test_spectrum_image_with_partners(study):
    path = core(study)
    low_loss(study)
    survey(study)
    header = run(study, low_loss_path="raw/low.hspy", adf_path="raw/adf.hspy", dose_e_per_A2=12.0)
    assert header.ok
    assert header.roles == ("core_loss", "low_loss", "adf")
    values = {name: (value.value, value.origin) for name, value in header.metadata.items()}
    assert values == {
        "beam_energy_keV": (200, "file"),
        "convergence_mrad": (21, "file"),
        "collection_mrad": (40, "file"),
        "pixel_size_nm": (0.5, "file"),
        "dispersion_eV": (0.5, "file"),
        "energy_offset_eV": (200, "file"),
        "exposure_s": (0.05, "file"),
        "low_loss_exposure_s": (0.05, "file"),
        "dose_e_per_A2": (12, "sheet"),
        "defocus_nm": (None, "missing"),
    }
    assert header.source[0] == {
        "role": "core_loss",
        "path": "raw/core.hspy",
        "signal": "0",
        "sha256": sha256(path),
    }
    assert [item["role"] for item in header.source] == ["core_loss", "low_loss", "adf"]
    assert header.warnings == []
    np.testing.assert_array_equal(opened(study).read(), make.cube())
    low = opened(study, "low_loss")
    np.testing.assert_array_equal(low.read(), make.cube(seed=5))
    assert (low.energy_offset_eV, low.energy_scale_eV, low.pixel_size_nm) == (-4, 0.25, 0.5)
    assert opened(study, "adf").pixel_size_nm == pytest.approx(0.1)


def test_dose_from_the_beam_current_where_none_is_stated(study):
    core(study)
    low_loss(study)
    header = run(study, low_loss_path="raw/low.hspy", beam_current_pA=50.0)
    dose = header.metadata["dose_e_per_A2"]
    # 50 pA are 312.1 electrons a microsecond; 0.1 s on pixels of 5 x 5 square angstrom.
    assert (dose.value, dose.origin) == (pytest.approx(312.075e6 * 0.1 / 25, rel=1e-4), "computed")
    stated = run(study, low_loss_path="raw/low.hspy", beam_current_pA=50.0, dose_e_per_A2=12.0)
    assert stated.metadata["dose_e_per_A2"].origin == "sheet"
    assert any("current x dwell / pixel area" in note for note in stated.warnings)
    twice = run(study, low_loss_path="raw/low.hspy", beam_current_pA=50.0, dose_e_per_A2=2 * dose.value)
    assert not any("pixel area" in note for note in twice.warnings)
    from_config = run(study, {"microscope": {"beam_current_pA": 100.0}}, low_loss_path="raw/low.hspy")
    assert from_config.metadata["dose_e_per_A2"].value == pytest.approx(2 * dose.value)
    assert not run(study, low_loss_path="raw/low.hspy").metadata["dose_e_per_A2"].known


def test_same_bytes_and_no_paths(study):
    core(study)
    run(study)
    first = (study / "out" / "a1.h5").read_bytes()
    assert str(study).encode() not in first
    run(study)
    assert (study / "out" / "a1.h5").read_bytes() == first


def test_sheet_before_file_before_configuration(study):
    axes = make.axes_of(make.cube(), unit="")
    core(study, axes=axes, beam_energy=0.0, convergence_angle=0.0)
    config = {"microscope": {"beam_energy_keV": 300.0, "collection_mrad": 99.0, "pixel_size_nm": 2.0}}
    header = run(study, config, dispersion_eV=0.3, energy_offset_eV=440.0, convergence_mrad=10.0)
    origins = {name: (value.value, value.origin) for name, value in header.metadata.items() if value.known}
    assert origins == {
        "beam_energy_keV": (300, "config"),
        "convergence_mrad": (10, "sheet"),
        "collection_mrad": (40, "file"),
        "pixel_size_nm": (2, "config"),
        "dispersion_eV": (0.3, "sheet"),
        "energy_offset_eV": (440, "sheet"),
        "exposure_s": (0.05, "file"),
    }
    assert header.warnings == []
    signal = opened(study)
    assert (signal.energy_offset_eV, signal.energy_scale_eV, signal.pixel_size_nm) == (440, 0.3, 2)


def test_step_without_a_unit_is_no_pixel_size(study):
    core(study, axes=make.axes_of(make.cube(), unit=""))
    header = run(study)
    assert not header.metadata["pixel_size_nm"].known
    assert opened(study).pixel_size_nm is None
    assert header.warnings == ["raw/core.hspy: pixel size is missing: the step has no unit"]


def test_placeholders_are_noted(study):
    make.write_dm(study / "raw" / "core.dm3", angles=(0.0, 100.0))
    header = run(study, path="raw/core.dm3")
    assert not header.metadata["convergence_mrad"].known
    assert not header.metadata["collection_mrad"].known
    assert "not set" in header.warnings[0]


def test_single_low_loss_for_all(study):
    core(study)
    low_loss(study, make.cube(seed=5)[0, 0])
    assert run(study, low_loss_path="raw/low.hspy").ok
    assert opened(study, "low_loss").shape == (1, 1, 32)


def test_low_loss_line_in_the_other_direction(study):
    data = make.cube(1, 4)
    core(study, data)
    low_loss(study, data.transpose(1, 0, 2))
    assert run(study, low_loss_path="raw/low.hspy").ok
    np.testing.assert_array_equal(opened(study, "low_loss").read(), data)


def test_both_losses_and_image_in_one_file(study):
    data, picture = make.cube(), make.image()
    make.write_many(
        study / "raw" / "all.nxs",
        (picture, make.axes_of(picture, spectra=False), "survey"),
        (data, make.axes_of(data), "core"),
        (data + 1, make.axes_of(data, energy=("Energy loss", "eV", 0.5, -5.0)), "zero"),
    )
    name = "raw/all.nxs"
    header = run(
        study, path=name, low_loss_path=name, adf_path=name, adf_signal="survey", low_loss_signal="zero"
    )
    assert header.ok, header.reason
    assert len({item["signal"] for item in header.source}) == 3
    np.testing.assert_array_equal(opened(study, "low_loss").read(), data + 1)
    assert run(study, path=name, low_loss_path=name, adf_path=name).roles == ("core_loss", "low_loss", "adf")


@pytest.mark.parametrize("modality", ["hrtem", "tem", "adf"])
def test_images(study, modality):
    survey(study)
    header = run(study, path="raw/adf.hspy", modality=modality, pixel_size_nm=0.03)
    assert header.roles == ("image",)
    assert header.metadata["dispersion_eV"].origin == "missing"
    signal = opened(study, "image")
    assert (signal.pixel_size_nm, signal.dtype) == (0.03, np.uint16)


def test_spectrum(study):
    core(study, make.cube()[0, 0])
    low_loss(study, make.cube(seed=5)[0, 0])
    assert run(study, modality="eels_spectrum", low_loss_path="raw/low.hspy").ok
    assert opened(study).shape == (1, 1, 32)
    assert run(study, modality="eels_si").ok


def test_ripple_names_its_data_file_too(study):
    make.write(study / "raw" / "core.rpl")
    header = run(study, path="raw/core.rpl")
    assert [item["path"] for item in header.source] == ["raw/core.rpl", "raw/core.raw"]
    assert all(len(item["sha256"]) == 64 for item in header.source)


def test_sha256(study):
    path = core(study)
    assert run(study, sha256=sha256(path).upper()).ok
    header = run(study, sha256="0" * 64)
    assert header.status == "failed"
    assert header.reason == f"raw/core.hspy: sha256: found {sha256(path)}; expected {'0' * 64}"
    assert header.source[0]["sha256"] == sha256(path)


def scaled(change):
    def make_it(study):
        data = make.cube()
        core(study, change(data))

    return make_it


def spoiled(value, region):
    def change(data):
        data[region] = value
        return data

    return scaled(change)


BAD_FILES = {
    "absent": (lambda study: None, "path: found no such file"),
    "empty": (lambda study: (study / "raw" / "core.hspy").touch(), "size: found 0 bytes"),
    "no hspy": (
        lambda study: (study / "raw" / "core.hspy").write_bytes(b"no hdf5"),
        "content: found unreadable",
    ),
    "all zero": (scaled(lambda data: data * 0), "core_loss data: found all values are zero"),
    "constant": (scaled(lambda data: data * 0 + 7), "core_loss data: found all values are 7"),
    "negative": (scaled(lambda data: -1 - data), "found no positive value (largest -"),
    "all NaN": (scaled(lambda data: data * np.nan), "found no finite value"),
    "NaN inside": (spoiled(np.nan, (1, 1, 3)), "found NaN or infinity in 1 of 12 pixels (1 values)"),
    "infinity": (spoiled(np.inf, (1, slice(1, 3))), "found NaN or infinity in 2 of 12 pixels (64 values)"),
    "image": (lambda study: survey(study, name="core.hspy"), "axes: found an image with units 'nm', 'nm'"),
    "four axes": (
        lambda study: make.write(
            study / "raw" / "core.hspy",
            np.stack([make.cube(), make.cube()]),
            [
                {**make.axes_of(make.cube())[0], "name": "t", "units": "s", "size": 2},
                *make.axes_of(make.cube()),
            ],
        ),
        "dimension: found 3 axes beside the energy, 2 x 3 x 4 x 32",
    ),
    "no energy unit": (
        lambda study: core(study, axes=make.axes_of(make.cube(), energy=("Energy loss", "", 0.5, 200.0))),
        "energy axis: found no unit; expected eV, meV or keV, or dispersion_eV and energy_offset_eV",
    ),
    "energy in nm": (
        lambda study: core(study, axes=make.axes_of(make.cube(), energy=("Wavelength", "nm", 0.5, 200.0))),
        "axes: found 3 axes, 3 x 4 x 32, with units 'nm', 'nm', 'nm'",
    ),
    "no dispersion": (
        lambda study: core(study, axes=make.axes_of(make.cube(), energy=("Energy loss", "eV", 0.0, 200.0))),
        "energy axis: found step 0, offset 200",
    ),
    "X-rays": (lambda study: core(study, signal_type="EDS_TEM"), "signal: found X-ray spectra (EDS_TEM)"),
    "complex": (scaled(lambda data: data + 1j), "data type: found complex"),
    "oblong": (
        lambda study: core(
            study, axes=[{**axis, "scale": 0.5 + i} for i, axis in enumerate(make.axes_of(make.cube()))]
        ),
        "pixel size: found 0.5 nm a row, 1.5 nm a column",
    ),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_file_is_a_failed_acquisition(study, name):
    maker, reason = BAD_FILES[name]
    maker(study)
    header = run(study)
    assert header.status == "failed"
    assert header.reason.startswith("raw/core.hspy: ")
    assert reason in header.reason
    assert header.roles == ()
    assert str(study) not in header.reason
    assert header.source[0]["path"] == "raw/core.hspy"
    assert header.metadata["beam_energy_keV"].origin in ("missing", "file")
    with pytest.raises(SignalError):
        run(study, {"strict": True})


def uneven(points):
    axes = make.axes_of(make.cube())
    axes[2] = {
        "_type": "DataAxis",
        "name": "Energy loss",
        "units": "eV",
        "axis": points,
        "size": 32,
        "navigate": False,
        "is_binned": False,
        "index_in_array": 2,
    }
    return axes


def test_energy_axis_point_by_point(study):
    even = 200 + 0.5 * np.arange(32)
    core(study, axes=uneven(even))
    assert run(study).ok
    assert opened(study).energy_scale_eV == pytest.approx(0.5)
    for points in (even**2, np.concatenate([even[:20], even[8:20]])):
        core(study, axes=uneven(points))
        assert "uneven or not monotonic" in run(study).reason


def test_images_that_are_none(study):
    core(study)
    assert "modality: found spectra 3 x 4 x 32" in run(study, modality="adf").reason
    axes = make.axes_of(make.image(), unit="1/nm", spectra=False)
    make.write(study / "raw" / "fft.hspy", make.image(), axes, spectra=False)
    assert "found reciprocal space (1/nm)" in run(study, modality="hrtem", path="raw/fft.hspy").reason
    make.write_mrc(study / "raw" / "stack.mrc", make.cube(5, 6, 7))
    assert "not a stack" in run(study, modality="hrtem", path="raw/stack.mrc").reason


def test_several_spectra_are_not_one(study):
    core(study)
    assert (
        "modality: found 3 x 4 spectra; expected one spectrum" in run(study, modality="eels_spectrum").reason
    )


@pytest.mark.parametrize(
    ("maker", "reason"),
    [
        (lambda study: None, "raw/low.hspy: low_loss_path: found no such file"),
        (
            lambda study: low_loss(study, make.cube(2, 4)),
            "found 2 x 4 pixels; expected 3 x 4 pixels as the core",
        ),
        (
            lambda study: low_loss(study, make.cube() * 0),
            "raw/low.hspy: low_loss data: found all values are zero",
        ),
        (lambda study: survey(study, name="low.hspy"), "raw/low.hspy: axes: found an image"),
        (
            lambda study: (study / "raw" / "low.hspy").write_bytes(b"123"),
            "raw/low.hspy: content: found unreadable",
        ),
    ],
)
def test_low_loss_that_cannot_be_used_fails_the_acquisition(study, maker, reason):
    core(study)
    maker(study)
    header = run(study, low_loss_path="raw/low.hspy")
    assert header.status == "failed"
    assert reason in header.reason
    assert len(header.source) == 2


def test_low_loss_is_not_the_core_loss(study):
    core(study)
    assert "the core-loss signal itself" in run(study, low_loss_path="raw/core.hspy").reason


@pytest.mark.parametrize(
    ("maker", "warning"),
    [
        (lambda study: None, "adf left out: raw/adf.hspy: adf_path: found no such file"),
        (
            lambda study: survey(study, make.image() * 0),
            "adf left out: raw/adf.hspy: adf data: found all values",
        ),
        (lambda study: core(study, name="adf.hspy"), "adf left out: raw/adf.hspy: modality: found spectra"),
    ],
)
def test_adf_that_cannot_be_used_is_a_warning(study, maker, warning):
    core(study)
    maker(study)
    header = run(study, adf_path="raw/adf.hspy")
    assert header.ok
    assert header.roles == ("core_loss",)
    assert warning in header.warnings[0]


def test_margin_without_data_is_cut_off(study):
    data, low = make.cube(6, 8), make.cube(6, 8, seed=5)
    data[0] = np.nan
    low[:, -1] = np.nan
    core(study, data)
    low_loss(study, low)
    header = run(study, low_loss_path="raw/low.hspy")
    assert header.ok
    assert header.warnings == [
        "raw/core.hspy: rows 1 + 0 and columns 0 + 1 at the margin are not finite and were cut off"
    ]
    np.testing.assert_array_equal(opened(study).read(), data[1:, :-1])
    np.testing.assert_array_equal(opened(study, "low_loss").read(), low[1:, :-1])
    data[:2] = np.nan
    core(study, data)
    assert "NaN or infinity in 16 of 48 pixels" in run(study).reason


def test_dead_pixels_are_left_out_and_counted(study):
    data, low = make.cube(6, 8), make.cube(6, 8, seed=5)
    data[2, 3, 5] = np.nan
    low[4, 1] = np.inf
    data[0] = np.nan
    core(study, data)
    low_loss(study, low)
    header = run(study, low_loss_path="raw/low.hspy")
    assert header.ok
    assert header.warnings[-1] == "raw/core.hspy: 2 of 40 pixels hold NaN or infinity and are left out"
    dead = store.read_dead(study / "out" / "a1.h5")
    assert np.argwhere(dead).tolist() == [[1, 3], [3, 1]]
    for role, raw in (("core_loss", data), ("low_loss", low)):
        read = opened(study, role).read()
        assert np.all(read[dead] == 0)
        np.testing.assert_array_equal(read[~dead], raw[1:][~dead])
    data[3:5, 4:6] = np.nan
    core(study, data)
    assert "5% of the pixels" in run(study).reason


def test_sheet_numbers_that_make_no_axis(study):
    core(study)
    assert "dispersion_eV: found -0.5; expected a positive number" in run(study, dispersion_eV=-0.5).reason


def test_load_raises_and_writes_nothing(study):
    with pytest.raises(SignalError, match="no such file"):
        signals.load_acquisition(row(), {}, study, study / "a1.h5")
    assert not (study / "a1.h5").exists()


def test_failed_file_does_not_depend_on_the_folder(study, tmp_path_factory):
    (study / "raw" / "core.dm3").write_bytes(b"not a dm3 file at all")
    run(study, path="raw/core.dm3")
    other = tmp_path_factory.mktemp("elsewhere-with-a-longer-name")
    (other / "raw").mkdir()
    (other / "raw" / "core.dm3").write_bytes(b"not a dm3 file at all")
    run(other, path="raw/core.dm3")
    assert (study / "out" / "a1.h5").read_bytes() == (other / "out" / "a1.h5").read_bytes()


def test_faults_of_the_program_are_raised(study, monkeypatch):
    core(study)
    monkeypatch.setattr("ceiflow.signals.ingestion.as_spectra", lambda raw: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run(study)


@pytest.mark.parametrize("name", ["core.hspy", "core.emd", "core.nxs", "core.dm3", "core.rpl"])
def test_memory_is_bounded(study, name):
    """No reader hands over more than a block at a time, in whichever order the file keeps its axes."""
    from ceiflow.signals.layout import as_spectra

    data = make.cube(40, 50, 512)
    maker = make.write_dm if name.endswith("dm3") else make.write
    spectra = as_spectra(signals.read_signal(maker(study / "raw" / name, data)))
    found = np.full_like(data, np.nan)
    for region, block in iter_blocks(spectra.data, 2**18):
        assert block.nbytes <= 2**18
        found[region] = block
    np.testing.assert_array_equal(found, data)


def test_header_is_json(study):
    import h5py

    core(study)
    run(study)
    with h5py.File(study / "out" / "a1.h5") as file:
        assert file.attrs["schema"] == "ceiflow-signal-1"
        assert json.loads(file.attrs["metadata"])["exposure_s"] == {"value": 0.05, "origin": "file"}
        assert json.loads(file.attrs["warnings"]) == []
        assert sorted(file) == ["core_loss"]
