"""Measure what one single spectrum holds."""

from pathlib import Path

from ceiflow.jobs import run_stage


def measure_spectrum(input, output, params):
    from ceiflow import eels

    outputs = {name: Path(path) for name, path in output.items()}
    dose = Path(input.dose) if input.dose else None
    files = Path(input.signal), Path(input.edges), outputs
    eels.measure_spectrum(*files, params.config, dose, Path(params.folder))


run_stage(snakemake, measure_spectrum)
