"""Read one acquisition's raw files."""

from pathlib import Path

from ceiflow.jobs import run_stage


def ingest(input, output, params):
    from ceiflow import signals

    signals.ingest(params.recorded["row"], params.config, Path(params.folder), Path(output.signal))


run_stage(snakemake, ingest)
