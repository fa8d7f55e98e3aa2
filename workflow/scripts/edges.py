"""Tabulate the cross-sections that a study needs."""

from pathlib import Path

from ceiflow.jobs import run_job


def edges(input, output, params):
    from ceiflow import eels

    config = params.config
    if input.gosh:
        # Where the file stands for this job: another workflow may have taken the study in under a prefix.
        config = {**config, "eels": {**config["eels"], "gosh_file": input.gosh[0]}}
    eels.edges_of_settings(Path(input.settings), Path(output.edges), config)


run_job(snakemake, edges)
