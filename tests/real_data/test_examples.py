"""The two measured example studies, from their raw files to their pages."""

from __future__ import annotations

import functools
import http.server
import json
import shutil
import threading

import pytest
from running import ROOT, contract_faults, read_table, snakemake


def example(name, folder):
    shutil.copytree(ROOT / "config" / "examples" / name / "config", folder / "config")
    return folder


def measured(study, acquisition):
    rows = read_table(study / "results" / "tables" / "measurements.tsv")
    return {(row["zone"], row["endpoint"]): row for row in rows if row["acquisition_id"] == acquisition}


def found_edges(study, acquisition):
    summary = json.loads((study / "results" / "eels" / acquisition / "summary.json").read_text())
    return {edge["edge"]: edge for edge in summary["calibration"]["edges"]}, summary


@pytest.mark.workflow
def test_manganese_oxide_of_the_exspy_package(tmp_path):
    study = example("exspy-mn-oxide", tmp_path / "mn oxide")
    run = snakemake(study)
    assert run.returncode == 0, run.text[-3000:]
    _, summary = found_edges(study, "mn-oxide")
    # Its edges stand 5 to 10 eV too high, by how one reads the oxygen edge.
    assert 4 < summary["energy_offset_eV"] < 11
    rows = measured(study, "mn-oxide")
    assert abs(float(rows["all", "thickness_over_mfp"]["value"]) - 0.53) < 0.06
    # No exposures are known, so fractions can be had and densities cannot.
    assert rows["all", "areal_density_O_per_nm2"]["status"] == "not_identifiable"
    oxygen, manganese = (rows["all", f"atomic_fraction_{element}"] for element in ("O", "Mn"))
    assert oxygen["status"] == manganese["status"] == "identified"
    assert 1.0 < float(oxygen["value"]) / float(manganese["value"]) < 3.5
    assert contract_faults(study).endswith("0 fault(s)")


@pytest.fixture(scope="module")
def nmc_edge(tmp_path_factory, real_data):
    """The particle's edge, its files fetched from a local web server."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(real_data / "nmc-edge"))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        study = example("nmc-edge", tmp_path_factory.mktemp("nmc") / "nmc edge")
        run = snakemake(study, CEIFLOW_MIRROR=f"http://127.0.0.1:{server.server_address[1]}")
        assert run.returncode == 0, run.text[-3000:]
        return study
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.real_data
def test_particle_edge_holds_to_the_contract(nmc_edge):
    rows = read_table(nmc_edge / "results" / "tables" / "acquisitions.tsv")
    assert {row["qc_status"] for row in rows} <= {"ok", "warning"}
    assert contract_faults(nmc_edge).endswith("0 fault(s)")


@pytest.mark.real_data
def test_particle_edge_has_its_axis_put_right(nmc_edge):
    edges, summary = found_edges(nmc_edge, "edge-line")
    # Positions in the file, as its source states them.
    for edge, position in {"O_K": 518.3, "Mn_L": 630.2, "Co_L": 764.3, "Ni_L": 834.5}.items():
        assert abs(edges[edge]["found_eV"] - position) < 1.5
        assert abs(edges[edge]["residual_eV"]) < 2
    assert -20 < summary["energy_offset_eV"] < -11
    assert 1.01 < summary["dispersion_factor"] < 1.04


@pytest.mark.real_data
def test_particle_edge_claims_nothing_that_it_cannot(nmc_edge):
    rows = measured(nmc_edge, "edge-line")
    for zone in ("particle", "all"):
        for element in ("C", "O", "F", "Mn", "Co", "Ni"):
            assert rows[zone, f"areal_density_{element}_per_nm2"]["status"] == "not_identifiable"
        assert rows[zone, "atomic_fraction_F"]["status"] in ("bounded", "not_identifiable")
        assert rows[zone, "atomic_fraction_C"]["status"] == "not_identifiable"
        assert rows[zone, "atomic_fraction_C"]["note"]
    table = {
        row["acquisition_id"]: row for row in read_table(nmc_edge / "results" / "tables" / "acquisitions.tsv")
    }
    for name in ("convergence_mrad", "collection_mrad"):
        assert (table["edge-line"][name], table["edge-line"][f"{name}_origin"]) == ("", "missing")


@pytest.mark.real_data
def test_particle_edge_has_a_surface_and_relative_profiles(nmc_edge):
    import h5py
    import numpy as np

    with h5py.File(nmc_edge / "results" / "eels" / "edge-line" / "maps.h5") as maps:
        distance, zone = maps["distance_nm"][()], maps["zone"][()]
        manganese = maps["counts/Mn"][()]
        assert np.isfinite(distance).any()
        assert {0, 2} <= set(np.unique(zone))
        inside, outside = manganese[distance < -6].mean(), manganese[distance > 0].mean()
        assert inside > 3 * outside
    page = (nmc_edge / "results" / "reports" / "cells" / "nmc-particle.html").read_text(encoding="utf-8")
    assert "not identifiable" in page
    assert "angle" in page or "convergence_mrad" in page
