"""Fit the spectra of every cell together."""

from pathlib import Path

from ceiflow.jobs import run_job


def pool_species(input, output, params):
    from ceiflow import eels

    eels.pool_species([Path(path) for path in input.contents], params.acquisitions, Path(output.pooled))


run_job(snakemake, pool_species)
