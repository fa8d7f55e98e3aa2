"""Tabulate the cross-sections that a study needs."""

from pathlib import Path

from ceiflow.jobs import run_job


def edges(input, output, params):
    from ceiflow import eels

    eels.edges_of_settings(Path(input.settings), Path(output.edges), params.config)


run_job(snakemake, edges)
