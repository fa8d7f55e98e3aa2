"""Digests of everything canonical."""

from pathlib import Path

from ceiflow.jobs import run_job


def write_manifest(input, output, params):
    from ceiflow.study import write_manifest

    results = Path(output.manifest).parent
    write_manifest(results, [*input, *(results / name for name in params.drawn)], output.manifest)


run_job(snakemake, write_manifest)
