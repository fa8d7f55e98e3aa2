"""The canonical file: written atomically and identically, read by blocks."""

import dask.array
import h5py
import numpy as np
import pytest

from ceiflow.signals import store
from ceiflow.signals.blocks import iter_blocks
from ceiflow.study.metadata import Value

METADATA = {"beam_energy_keV": Value(200.0, "file"), "dose_e_per_A2": Value(None, "missing")}
SOURCE = [{"role": "core_loss", "path": "raw/a.dm3", "signal": "", "sha256": "0" * 64}]


def cube(rows=5, columns=7, channels=11, dtype=np.float32):
    return np.arange(rows * columns * channels, dtype=dtype).reshape(rows, columns, channels)


def header(**changes):
    return store.Header(
        **{"acquisition_id": "a", "modality": "eels_si", "metadata": METADATA, "source": SOURCE, **changes}
    )


def write(path, data=None, **options):
    with store.create_h5(path) as file:
        store.write_header(file, header(warnings=["one"]))
        store.write_signal(
            file,
            "core_loss",
            cube() if data is None else data,
            energy_offset_eV=200.0,
            energy_scale_eV=0.5,
            pixel_size_nm=1.5,
            **options,
        )
        store.write_signal(file, "adf", np.ones((4, 4)))
    return path


def test_round_trip(tmp_path):
    path = write(tmp_path / "deep" / "a.h5")
    read = store.read_header(path)
    assert read == header(warnings=["one"], roles=("core_loss", "adf"))
    assert read.ok
    assert read.metadata["dose_e_per_A2"].known is False
    signal = store.open_signal(path)
    assert signal.shape == (5, 7, 11)
    np.testing.assert_allclose(signal.energy_eV, 200 + 0.5 * np.arange(11))
    assert (signal.energy_scale_eV, signal.pixel_size_nm) == (0.5, 1.5)
    np.testing.assert_array_equal(signal.read(slice(1, 3)), cube()[1:3])
    adf = store.open_signal(path, "adf")
    assert adf.pixel_size_nm is None
    assert adf.read().dtype == np.float32
    with pytest.raises(ValueError, match="no energy axis"):
        _ = adf.energy_eV
    with pytest.raises(KeyError, match="low_loss"):
        store.open_signal(path, "low_loss")


@pytest.mark.parametrize("max_pixels", [1, 3, 7, 10, 16, 100])
def test_blocks_cover_every_pixel_once_in_order(tmp_path, max_pixels):
    signal = store.open_signal(write(tmp_path / "a.h5"))
    found = np.full((35, 11), -1.0)
    for pixels, spectra in signal.blocks(max_pixels):
        assert len(spectra) == pixels.stop - pixels.start <= max_pixels
        assert spectra.dtype == np.float32
        found[pixels] = spectra
    np.testing.assert_array_equal(found.reshape(5, 7, 11), cube())


def test_same_calls_same_bytes(tmp_path):
    first = write(tmp_path / "a.h5").read_bytes()
    assert write(tmp_path / "b.h5").read_bytes() == first
    assert write(tmp_path / "c.h5", block_bytes=100).read_bytes() == first
    lazy = dask.array.from_array(cube(), chunks=(2, 7, 4))
    assert write(tmp_path / "d.h5", lazy).read_bytes() == first


@pytest.mark.parametrize("block_bytes", [1, 50, 300, 10_000])
def test_blocks_are_bounded_and_seen_once(tmp_path, block_bytes):
    seen = [block for _, block in iter_blocks(cube(), block_bytes)]
    write(tmp_path / "a.h5", block_bytes=block_bytes)
    assert max(block.nbytes for block in seen) <= max(block_bytes, 4)
    assert sum(block.size for block in seen) == cube().size
    np.testing.assert_array_equal(store.open_signal(tmp_path / "a.h5").read(), cube())


def test_nothing_is_left_after_an_error(tmp_path):
    path = write(tmp_path / "a.h5")
    before = path.read_bytes()
    with pytest.raises(RuntimeError, match="stop"), store.create_h5(path):
        raise RuntimeError("stop")
    assert path.read_bytes() == before
    assert [item.name for item in tmp_path.iterdir()] == ["a.h5"]


@pytest.mark.parametrize(
    ("source", "stored"),
    [(">u2", "<u2"), (">f4", "<f4"), ("<f8", "<f4"), (">i4", "<i4"), ("bool", "u1"), ("u1", "u1")],
)
def test_stored_type(tmp_path, source, stored):
    with store.create_h5(tmp_path / "a.h5") as file:
        assert store.write_signal(file, "image", np.ones((3, 2), source)).dtype == np.dtype(stored)
    np.testing.assert_array_equal(store.open_signal(tmp_path / "a.h5", "image").read(), 1)


def test_wrong_shape_is_a_fault_of_the_program(tmp_path):
    with pytest.raises(ValueError, match="expected 3"), store.create_h5(tmp_path / "a.h5") as file:
        store.write_signal(file, "core_loss", np.ones((2, 2)))


def test_header_is_carried_on(tmp_path):
    path = write(tmp_path / "a.h5")
    with h5py.File(path, "a") as file:
        file.attrs["calibration"] = "{}"
    dose = {"dose_e_per_A2": Value(3.0, "config")}
    with store.create_h5(tmp_path / "b.h5") as file:
        store.carry_header(path, file, schema="other", warnings=["two"], metadata=dose)
    read = store.read_header(tmp_path / "b.h5")
    assert read.warnings == ["one", "two"]
    assert read.metadata == {**METADATA, **dose}
    assert read.source == SOURCE
    assert read.attributes == {"calibration": "{}"}
    assert read.roles == ()


def test_failed_file_has_a_header_only(tmp_path):
    store.write_failed(tmp_path / "a.h5", header(warnings=["one"]), "all zero")
    read = store.read_header(tmp_path / "a.h5")
    assert (read.status, read.reason, read.roles, read.ok) == ("failed", "all zero", (), False)
    assert read.source == SOURCE
    assert read.warnings == ["one"]
