"""Fetch one public raw file."""

from pathlib import Path

from ceiflow.jobs import run_job


def retrieve(input, output, params):
    from ceiflow.study.retrieve import retrieve_file

    retrieve_file(params.file, Path(output.file), params.mirror)


run_job(snakemake, retrieve)
