"""A draft of acquisitions.tsv from a folder of files."""

import numpy as np
import pytest
import signals_makers as make

from ceiflow.signals import draft_sheet
from ceiflow.signals.sheet import COLUMNS


@pytest.fixture
def raw(tmp_path):
    folder = tmp_path / "raw"
    (folder / "cell 1").mkdir(parents=True)
    (folder / "cell 2").mkdir()
    return folder


def low_loss(path, data):
    return make.write(path, data, make.axes_of(data, energy=("Energy loss", "eV", 0.25, -4.0)))


def picture(path, step, title="image"):
    data = make.image()
    axes = make.axes_of(data, step=step, spectra=False)
    return make.write(path, data, axes, spectra=False, title=title)


def drafted(raw):
    rows, notes = draft_sheet(raw)
    return [{key: value for key, value in row.items() if value} for row in rows], notes


def test_partners_of_a_folder(raw):
    make.write(raw / "cell 1" / "p1 core.hspy")
    low_loss(raw / "cell 1" / "p1 low.hspy", make.cube(seed=5))
    picture(raw / "cell 1" / "survey.hspy", 0.2)
    low_loss(raw / "cell 2" / "other.hspy", make.cube(2, 2))
    rows, notes = drafted(raw)
    assert rows == [
        {
            "acquisition_id": "p1_core",
            "modality": "eels_si",
            "path": "raw/cell 1/p1 core.hspy",
            "low_loss_path": "raw/cell 1/p1 low.hspy",
            "adf_path": "raw/cell 1/survey.hspy",
        },
        {"acquisition_id": "other", "modality": "eels_si", "path": "raw/cell 2/other.hspy"},
    ]
    assert any("other" in note and "without a core loss" in note for note in notes)
    assert not any(note.startswith("p1_core") for note in notes)
    assert set(draft_sheet(raw)[0][0]) == set(COLUMNS)


def test_low_losses_are_shared_out_by_name(raw):
    for number in (1, 2):
        make.write(raw / "cell 1" / f"core_{number}.hspy")
        low_loss(raw / "cell 1" / f"low_{number}.hspy", make.cube())
    rows, _ = drafted(raw)
    assert [row["low_loss_path"][-10:] for row in rows] == ["low_1.hspy", "low_2.hspy"]


def test_modalities_of_images(raw):
    picture(raw / "cell 1" / "a.hspy", 0.02)
    picture(raw / "cell 1" / "b.hspy", 0.5)
    picture(raw / "cell 1" / "c.hspy", 0.02, title="HAADF")
    picture(raw / "cell 1" / "d_hrtem.tif", 0.5)
    make.write(raw / "cell 2" / "e.hspy", make.cube()[0, 0])
    rows, notes = drafted(raw)
    assert [row["modality"] for row in rows] == ["hrtem", "tem", "adf", "hrtem", "eels_spectrum"]
    assert any("missing beam_energy_keV, dose_e_per_A2, defocus_nm" in note for note in notes)


def test_ids_are_valid_and_unique(raw):
    for folder in ("cell 1", "cell 2"):
        make.write(raw / folder / "_µ 1#.hspy")
        make.write(raw / folder / "_µ 1#.emd")
    rows, _ = drafted(raw)
    ids = [row["acquisition_id"] for row in rows]
    assert len(set(ids)) == 4
    assert ids[0] == "1"
    import re

    assert all(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", text) for text in ids)


def test_several_signals_of_one_file(raw):
    data, adf = make.cube(), make.image()
    make.write_many(
        raw / "cell 1" / "all.nxs",
        (adf, make.axes_of(adf, spectra=False), "ADF"),
        (data, make.axes_of(data), "core"),
        (data, make.axes_of(data, energy=("Energy loss", "eV", 0.5, -5.0)), "zero"),
    )
    rows, _ = drafted(raw)
    assert len(rows) == 1
    assert rows[0]["modality"] == "eels_si"
    assert len({rows[0][key] for key in ("signal", "low_loss_signal", "adf_signal")}) == 3


def test_what_cannot_be_used_is_said(raw):
    (raw / "cell 1" / "broken.dm3").write_bytes(b"123")
    (raw / "cell 1" / "notes.txt").write_text("hello")
    (raw / "cell 1" / ".hidden.dm3").write_bytes(b"123")
    make.write_zspy(raw / "cell 2" / "a.zspy", make.cube(2, 2))
    make.write(raw / "cell 2" / "b.hspy", axes=make.axes_of(make.cube(), unit=""))
    rows, notes = drafted(raw)
    assert [row["path"] for row in rows] == ["raw/cell 2/a.zspy", "raw/cell 2/b.hspy"]
    assert notes[0].startswith("left out: raw/cell 1/broken.dm3: content")
    assert any("missing pixel_size_nm (the step has no unit)" in note for note in notes)
    assert not any("notes.txt" in note or "hidden" in note for note in notes)


def test_empty_folder(raw):
    assert draft_sheet(raw) == ([], [])


def test_drafted_rows_can_be_ingested(raw):
    from ceiflow.signals import ingest

    make.write_dm(raw / "cell 1" / "core.dm3")
    low_loss(raw / "cell 1" / "low.hspy", make.cube())
    rows, _ = draft_sheet(raw)
    header = ingest(rows[0], {}, raw.parent, raw.parent / "a.h5")
    assert header.ok, header.reason
    assert header.roles == ("core_loss", "low_loss")
    assert np.isfinite(header.metadata["pixel_size_nm"].value)


def test_single_spectra_belong_together_by_name_only():
    from ceiflow.signals.sheet import _belong

    assert _belong("raw/coreloss_spectrum.msa", "raw/lowloss_spectrum.msa")
    assert _belong("raw/core_loss_sum.msa", "raw/low_loss_sum.msa")
    assert not _belong("raw/amorphous_carbon_c_k.dm3", "raw/ice_low_loss.msa")
