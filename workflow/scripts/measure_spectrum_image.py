"""Measure the layer in one spectrum image."""

from pathlib import Path

from ceiflow.jobs import run_stage


def measure_spectrum_image(input, output, params):
    from ceiflow import layer

    outputs = {name: Path(path) for name, path in output.items()}
    dose = Path(input.dose) if input.dose else None
    files = Path(input.signal), Path(input.fit), Path(input.edges), outputs
    layer.measure_spectrum_image(*files, params.config, dose, Path(params.folder))


run_stage(snakemake, measure_spectrum_image)
