"""Every format read back: values, axes, metadata."""

import numpy as np
import pytest
import signals_makers as make

from ceiflow import signals
from ceiflow.errors import SignalError
from ceiflow.signals.formats import sha256
from ceiflow.signals.layout import as_picture, as_spectra

SPECTRUM_IMAGES = {
    "a.hspy": make.write,
    "a.zspy": make.write_zspy,
    "a.emd": make.write,
    "a.nxs": make.write,
    "a.rpl": make.write,
    "a.dm3": make.write_dm,
    "a.dm4": make.write_dm,
}
STEP = {"a.dm3": 2.0, "a.dm4": 2.0}


@pytest.mark.parametrize("name", SPECTRUM_IMAGES)
def test_spectrum_image(tmp_path, name):
    data = make.cube()
    path = SPECTRUM_IMAGES[name](tmp_path / name, data)
    spectra = as_spectra(signals.read_signal(path))
    np.testing.assert_array_equal(spectra.data[...], data)
    assert spectra.grid == (3, 4)
    assert spectra.energy_offset_eV == pytest.approx(200)
    assert spectra.energy_scale_eV == pytest.approx(0.5)
    assert spectra.pixel_size_nm == pytest.approx(STEP.get(name, 0.5))


@pytest.mark.parametrize(
    ("name", "missing"),
    [("a.hspy", ()), ("a.nxs", ()), ("a.rpl", ("exposure_s",)), ("a.dm3", ()), ("a.dm4", ())],
)
def test_metadata(tmp_path, name, missing):
    expected = {"beam_energy_keV": 200, "convergence_mrad": 21, "collection_mrad": 40, "exposure_s": 0.05}
    expected = {key: pytest.approx(value) for key, value in expected.items() if key not in missing}
    assert signals.read_signal(SPECTRUM_IMAGES[name](tmp_path / name)).metadata == expected


@pytest.mark.parametrize("name", ["a.hspy", "a.emd", "a.nxs", "a.tif"])
def test_image(tmp_path, name):
    data = make.image()
    path = make.write(tmp_path / name, data, make.axes_of(data, step=0.02, spectra=False), spectra=False)
    picture = as_picture(signals.read_signal(path, "image"))
    np.testing.assert_array_equal(picture.data[...], data)
    assert picture.data.dtype == np.uint16
    assert picture.pixel_size_nm == pytest.approx(0.02)


@pytest.mark.parametrize("dtype", ["i2", "f4", "u2"])
def test_mrc(tmp_path, dtype):
    data = make.image(dtype=dtype)
    picture = as_picture(signals.read_signal(make.write_mrc(tmp_path / "a.mrc", data), "image"))
    np.testing.assert_array_equal(picture.data[...], data)
    assert picture.pixel_size_nm == pytest.approx(0.1)


def test_mrc_stack_is_refused(tmp_path):
    raw = signals.read_signal(make.write_mrc(tmp_path / "a.mrc", make.cube(5, 6, 7)), "image")
    with pytest.raises(SignalError, match=r"5 x 6 x 7.*not a stack"):
        as_picture(raw)


@pytest.mark.parametrize("name", ["a.dm3", "a.dm4"])
def test_dm_image(tmp_path, name):
    data = make.image(dtype=np.float32)
    raw = signals.read_signal(make.write_dm(tmp_path / name, data, step=20, unit="pm"), "image")
    picture = as_picture(raw)
    np.testing.assert_array_equal(picture.data[...], data)
    assert picture.pixel_size_nm == pytest.approx(0.02)
    assert raw.metadata["beam_energy_keV"] == 200


@pytest.mark.parametrize("chunks", [None, (12, 10, 1)])
def test_velox_image(tmp_path, chunks):
    path = make.write_velox(tmp_path / "a.emd", chunks=chunks)
    raw = signals.read_signal(path, "image")
    picture = as_picture(raw)
    np.testing.assert_array_equal(picture.data[...], make.image())
    assert picture.pixel_size_nm == pytest.approx(0.5)
    assert raw.title == "HAADF"
    assert raw.metadata == {
        "beam_energy_keV": pytest.approx(200),
        "convergence_mrad": pytest.approx(21),
        "exposure_s": pytest.approx(1e-5),
    }


def test_velox_spectrum_image_beside_an_image(tmp_path):
    data = make.cube(3, 5)
    path = make.write_velox(tmp_path / "a.emd", spectra=data)
    raw = signals.read_signal(path)
    spectra = as_spectra(raw)
    np.testing.assert_array_equal(spectra.data[...], data)
    assert (spectra.energy_offset_eV, spectra.energy_scale_eV) == (200, 0.5)
    assert spectra.pixel_size_nm == pytest.approx(0.5)
    assert raw.metadata["beam_energy_keV"] == 200
    np.testing.assert_array_equal(as_picture(signals.read_signal(path, "image")).data[...], make.image())


def test_msa(tmp_path):
    data = make.cube()[0, 0]
    lines = ("#BEAMKV   -kV: 200", "#CONVANGLE-mR: 21", "#COLLANGLE-mR: 40", "#INTEGTIME-ms: 50")
    raw = signals.read_signal(make.write_msa(tmp_path / "a.msa", data, *lines))
    spectra = as_spectra(raw)
    np.testing.assert_allclose(spectra.data[...], data[None, None], rtol=1e-5)
    assert spectra.energy_offset_eV == 200
    assert raw.metadata == {
        "beam_energy_keV": 200,
        "convergence_mrad": 21,
        "collection_mrad": 40,
        "exposure_s": 0.05,
    }


def test_time_without_a_unit_in_msa_means_nothing(tmp_path):
    raw = signals.read_signal(make.write_msa(tmp_path / "a.msa", make.cube()[0, 0], "#INTEGTIME : 50"))
    assert raw.metadata == {}
    assert raw.notes == ("exposure 50 has no unit in the file and was left out",)


def test_beam_energy_in_electronvolts(tmp_path):
    raw = signals.read_signal(make.write_msa(tmp_path / "a.msa", make.cube()[0, 0], "#BEAMKV : 300000"))
    assert raw.metadata == {"beam_energy_keV": 300}
    assert "read as eV" in raw.notes[0]


@pytest.mark.parametrize(
    ("angles", "found"),
    [
        ((0.0, 100.0), {}),
        ((0.0, 30.0), {"collection_mrad": 30}),
        ((21.0, 0.0), {"convergence_mrad": 21}),
        ((21.0, 100.0), {"convergence_mrad": 21, "collection_mrad": 100}),
    ],
)
def test_placeholder_angles(tmp_path, angles, found):
    raw = signals.read_signal(make.write_dm(tmp_path / "a.dm3", angles=angles))
    assert {key: value for key, value in raw.metadata.items() if "mrad" in key} == found
    assert bool(raw.notes) == (100.0 in angles)


def test_beam_energy_zero_is_missing(tmp_path):
    assert "beam_energy_keV" not in signals.read_signal(make.write_dm(tmp_path / "a.dm3", volts=0.0)).metadata


@pytest.mark.parametrize(("unit", "factor"), [("keV", 1000), ("meV", 0.001), ("eV", 1)])
def test_units_of_energy(tmp_path, unit, factor):
    axes = make.axes_of(make.cube(), energy=("Energy loss", unit, 0.5, 200.0))
    spectra = as_spectra(signals.read_signal(make.write(tmp_path / "a.hspy", axes=axes)))
    assert spectra.energy_scale_eV == pytest.approx(0.5 * factor)
    assert spectra.energy_offset_eV == pytest.approx(200 * factor)


@pytest.mark.parametrize(
    ("unit", "size"),
    [("Å", 0.05), ("µm", 500), ("m", 5e8), ("pm", 5e-4), ("nm", 0.5), ("", None), ("px", None), ("s", None)],
)
def test_units_of_length(tmp_path, unit, size):
    axes = make.axes_of(make.cube(), unit=unit)
    spectra = as_spectra(signals.read_signal(make.write(tmp_path / "a.hspy", axes=axes)))
    assert spectra.pixel_size_nm == (None if size is None else pytest.approx(size))
    assert bool(spectra.no_size) == (size is None)


@pytest.mark.parametrize("order", [(2, 0, 1), (0, 2, 1), (1, 0, 2), (2, 1, 0), (0, 1, 2)])
def test_order_of_axes(tmp_path, order):
    data = make.cube(3, 4)
    axes = [make.axes_of(data)[i] for i in order]
    path = make.write(tmp_path / "a.hspy", np.ascontiguousarray(data.transpose(order)), axes)
    np.testing.assert_array_equal(as_spectra(signals.read_signal(path)).data[...], data)


def test_energy_axis_by_flag_and_by_name(tmp_path):
    axes = make.axes_of(make.cube(), energy=("E", "", 0.5, 200.0))
    raw = signals.read_signal(make.write(tmp_path / "a.hspy", axes=axes))
    assert raw.energy_index == 2
    assert as_spectra(raw).energy_scale_eV is None
    axes = make.axes_of(make.cube(), energy=("energy", "", 0.5, 200.0))
    raw = signals.read_signal(make.write(tmp_path / "b.hspy", axes=axes, signal_type=""))
    assert raw.energy_index == 2


def test_falling_energy_axis_is_turned_round(tmp_path):
    data = make.cube()
    axes = make.axes_of(data, energy=("Energy loss", "eV", -0.5, 215.5))
    path = make.write(tmp_path / "a.hspy", np.ascontiguousarray(data[..., ::-1]), axes)
    spectra = as_spectra(signals.read_signal(path))
    assert (spectra.energy_offset_eV, spectra.energy_scale_eV) == (200, 0.5)
    np.testing.assert_array_equal(spectra.data[...], data)


def test_lines_and_single_spectra(tmp_path):
    line = make.cube()[0]
    path = make.write(tmp_path / "x.hspy", line)
    assert as_spectra(signals.read_signal(path)).data.shape == (1, 4, 32)
    axes = make.axes_of(line)
    axes[0]["name"] = "y"
    path = make.write(tmp_path / "y.hspy", line, axes)
    spectra = as_spectra(signals.read_signal(path))
    assert spectra.data.shape == (4, 1, 32)
    np.testing.assert_array_equal(spectra.data[:, 0], line)
    path = make.write(tmp_path / "s.hspy", line[0])
    assert as_spectra(signals.read_signal(path)).data.shape == (1, 1, 32)


def test_pixels_that_are_not_square(tmp_path):
    axes = make.axes_of(make.cube())
    axes[0]["scale"] = 1.0
    spectra = as_spectra(signals.read_signal(make.write(tmp_path / "a.hspy", axes=axes)))
    assert spectra.pixel_size_nm is None
    assert spectra.oblong == "1 nm a row, 0.5 nm a column"


def test_big_endian_becomes_native(tmp_path):
    data = make.cube(5, 6, 7)[..., 0].astype(np.float32)
    import tifffile

    tifffile.imwrite(tmp_path / "a.tif", data, byteorder=">")
    picture = as_picture(signals.read_signal(tmp_path / "a.tif", "image"))
    assert picture.data[...].dtype == np.dtype("=f4")
    np.testing.assert_array_equal(picture.data[...], data)


def test_colour_becomes_luminance(tmp_path):
    import tifffile

    grey = make.image(dtype=np.uint8) // 4
    tifffile.imwrite(tmp_path / "a.tif", np.repeat(grey[..., None], 3, axis=2), photometric="rgb")
    picture = as_picture(signals.read_signal(tmp_path / "a.tif", "image"))
    assert picture.data.dtype == np.float32
    np.testing.assert_allclose(picture.data[...], grey, rtol=1e-6)
    assert "luminance" in picture.notes[0]


def test_choice_among_several_signals(tmp_path):
    data, picture = make.cube(), make.image()
    path = make.write_many(
        tmp_path / "a.nxs",
        (picture, make.axes_of(picture, spectra=False), "survey"),
        (data, make.axes_of(data), "core"),
        (data + 1, make.axes_of(data, energy=("Energy loss", "eV", 0.5, -5.0)), "zero"),
        (data[0, 0], make.axes_of(data[0, 0]), "sum"),
    )
    titles = [raw.title for raw in signals.read_file(path)]
    assert {"survey", "core", "zero", "sum"} <= set(titles)
    assert signals.read_signal(path).title == "core"
    assert signals.read_signal(path, "low_loss").title == "zero"
    assert signals.read_signal(path, "adf").title == "survey"
    assert signals.read_signal(path, wanted="SUM").title == "sum"
    assert signals.read_signal(path, wanted=titles.index("sum")).title == "sum"
    assert signals.read_signal(path, wanted=str(titles.index("zero"))).title == "zero"
    assert any("'core' (3 x 4 x 32)" in text for text in signals.list_signals(path))
    with pytest.raises(SignalError, match=r"no signal 'map' among 0 '\w+' \(.*'core' \(3 x 4 x 32\)"):
        signals.read_signal(path, wanted="map")


def test_several_that_fit_are_listed(tmp_path):
    data = make.cube()
    path = make.write_many(
        tmp_path / "a.nxs", (data, make.axes_of(data), "first"), (data, make.axes_of(data), "second")
    )
    with pytest.raises(SignalError, match=r"2 signals that fit .*'first' \(3 x 4 x 32\).*'second'"):
        signals.read_signal(path)


@pytest.mark.parametrize("name", ["a.dm3", "a.hspy", "a.emd", "a.nxs"])
@pytest.mark.parametrize("keep", [0.0, 0.1, 0.6])
def test_truncated_file(tmp_path, name, keep):
    path = SPECTRUM_IMAGES[name](tmp_path / name)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * keep)])
    with pytest.raises(SignalError) as error:
        _ = as_spectra(signals.read_signal(path)).data[...]
    assert str(tmp_path) not in str(error.value)


def test_noise_is_no_file(tmp_path):
    noise = np.random.default_rng(0).bytes(5000)
    for suffix in signals.formats.READERS:
        if suffix in (".msa", ".emsa"):
            continue
        path = tmp_path / f"a{suffix}"
        path.write_bytes(noise)
        with pytest.raises(SignalError, match=r"unreadable|no signal"):
            signals.read_file(path)


def test_faults_of_the_program_are_not_the_files(tmp_path, monkeypatch):
    from rsciio import hspy

    path = make.write(tmp_path / "a.hspy")
    data = signals.read_signal(path).data

    def exhausted(*args, **kwargs):
        raise MemoryError

    monkeypatch.setattr("dask.array.core.Array.compute", exhausted)
    with pytest.raises(MemoryError):
        _ = data[...]

    def absent(*args, **kwargs):
        raise ModuleNotFoundError

    monkeypatch.setattr(hspy, "file_reader", absent)
    with pytest.raises(ModuleNotFoundError):
        signals.read_file(path)


def test_header_that_announces_more_than_the_file_holds(tmp_path):
    import struct

    path = make.write_mrc(tmp_path / "a.mrc", make.image())
    content = bytearray(path.read_bytes())
    content[:8] = struct.pack("<2i", 70_000, 900)
    path.write_bytes(content)
    with pytest.raises(SignalError, match=r"size: found 1264 bytes; expected 126000000 bytes|unreadable"):
        signals.read_file(path)


@pytest.mark.parametrize("line", ["#XPERCHAN : 0.?", "#OFFSET : 2°0", "#NPOINTS : many"])
def test_msa_with_numbers_that_are_none(tmp_path, line):
    with pytest.raises(SignalError):
        signals.read_file(make.write_msa(tmp_path / "a.msa", make.cube()[0, 0], line))


@pytest.mark.parametrize(
    ("content", "field"),
    [(b"", "size"), (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "content")],
)
def test_files_that_hold_nothing(tmp_path, content, field):
    (tmp_path / "a.dm3").write_bytes(content)
    with pytest.raises(SignalError) as error:
        signals.read_file(tmp_path / "a.dm3")
    assert error.value.fault.field == field


def test_msa_that_is_not_what_it_announces(tmp_path):
    data = make.cube()[0, 0]
    (tmp_path / "bare.msa").write_text("\n".join(f"{200 + i}, {value}" for i, value in enumerate(data)))
    with pytest.raises(SignalError, match="no MSA header"):
        signals.read_file(tmp_path / "bare.msa")
    with pytest.raises(SignalError, match="found 32 points; expected 40 points"):
        signals.read_file(make.write_msa(tmp_path / "short.msa", data, points=40))


def test_unknown_format_names_the_known_ones(tmp_path):
    (tmp_path / "a.xyz").write_text("1")
    with pytest.raises(SignalError, match=r"found \.xyz; expected one of .*\.dm3"):
        signals.read_file(tmp_path / "a.xyz")


@pytest.mark.parametrize("kind", ["hspy", "emd", "nxs"])
@pytest.mark.parametrize("suffix", [".h5", ".hdf5", ".H5"])
def test_hdf5_is_told_apart_by_content(tmp_path, kind, suffix):
    path = make.write(tmp_path / f"a.{kind}").rename(tmp_path / f"b{suffix}")
    np.testing.assert_array_equal(as_spectra(signals.read_signal(path)).data[...], make.cube())


def test_nexus_by_its_other_name(tmp_path):
    path = make.write(tmp_path / "a.nxs").rename(tmp_path / "a.nx5")
    assert signals.read_signal(path).shape == (3, 4, 32)


def test_zipped_zspy(tmp_path):
    import shutil

    folder = make.write_zspy(tmp_path / "b.zspy")
    packed = shutil.make_archive(str(tmp_path / "a"), "zip", folder)
    path = tmp_path / "a.zspy"
    shutil.move(packed, path)
    np.testing.assert_array_equal(as_spectra(signals.read_signal(path)).data[...], make.cube())


def test_digest_of_a_folder(tmp_path):
    path = make.write_zspy(tmp_path / "a.zspy")
    first = sha256(path)
    assert first == sha256(path)
    next(path.rglob(".zattrs")).write_text("{}")
    assert sha256(path) != first


def test_nothing_is_written_beside_a_raw_file(tmp_path):
    for name, maker in SPECTRUM_IMAGES.items():
        maker(tmp_path / name)
    before = {item: (item.stat().st_mtime_ns, item.stat().st_size) for item in tmp_path.rglob("*")}
    for name in SPECTRUM_IMAGES:
        _ = as_spectra(signals.read_signal(tmp_path / name)).data[...]
    assert {item: (item.stat().st_mtime_ns, item.stat().st_size) for item in tmp_path.rglob("*")} == before


def test_hyperspy_stays_out(tmp_path):
    import subprocess
    import sys

    make.write(tmp_path / "a.hspy")
    code = (
        "import sys; from ceiflow import signals; assert 'rsciio' not in sys.modules;"
        f"signals.read_file({str(tmp_path / 'a.hspy')!r});"
        "assert not {'hyperspy', 'exspy', 'matplotlib', 'pandas'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
