"""Fetch one spectrum of the EELS Data Base as a reference."""

from pathlib import Path

from ceiflow.jobs import run_job


def fetch_reference(input, output, params):
    from ceiflow.eels.fine_structure.eels_db import fetch

    entry = params.entry
    print("sha256", fetch(entry["title"], Path(output.spectrum), entry["sha256"], entry["type"]))


run_job(snakemake, fetch_reference)
