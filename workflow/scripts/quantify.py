"""Fit the core loss of every pixel of one acquisition."""

from pathlib import Path

from ceiflow.jobs import run_stage


def quantify(input, output, params):
    from ceiflow import eels

    eels.quantify(Path(input.signal), Path(input.edges), Path(output.fit), params.config)


run_stage(snakemake, quantify)
