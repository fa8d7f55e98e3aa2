"""Put the energy axes of one acquisition right."""

from pathlib import Path

from ceiflow.jobs import run_stage


def calibrate(input, output, params):
    from ceiflow import eels

    eels.calibrate(Path(input.signal), Path(output.signal), params.config)


run_stage(snakemake, calibrate)
