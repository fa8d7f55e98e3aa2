"""Tabulate the cross-sections that a study needs."""

from pathlib import Path

from ceiflow.jobs import run_job


def edges(input, output, params):
    from ceiflow import eels

    eels.edges([Path(signal) for signal in input.signals], Path(output.edges), params.config)


run_job(snakemake, edges)
