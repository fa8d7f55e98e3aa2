"""List the microscope settings that occur in a study."""

from pathlib import Path

from ceiflow.jobs import run_job


def list_settings(input, output, params):
    from ceiflow import eels

    eels.list_settings([Path(signal) for signal in input.signals], Path(output.settings))


run_job(snakemake, list_settings)
