"""Measure what one single spectrum holds."""

from pathlib import Path

from ceiflow.jobs import run_stage


def measure_spectrum(input, output, params):
    from ceiflow import eels

    outputs = {name: Path(path) for name, path in output.items()}
    eels.measure_spectrum(Path(input.signal), Path(input.edges), outputs, params.acquisition, params.config)


run_stage(snakemake, measure_spectrum)
