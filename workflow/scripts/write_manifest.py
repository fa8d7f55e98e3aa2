"""Digests of everything canonical."""

from pathlib import Path

from ceiflow.jobs import run_job


def write_manifest(input, output, params):
    from ceiflow.study import write_manifest

    write_manifest(Path(output.manifest).parent, input, output.manifest)


run_job(snakemake, write_manifest)
