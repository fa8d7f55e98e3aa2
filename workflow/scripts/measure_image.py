"""Measure the layer in one image."""

from pathlib import Path

from ceiflow.jobs import run_stage


def measure_image(input, output, params):
    from ceiflow import layer

    outputs = {name: Path(path) for name, path in output.items()}
    pristine = [Path(summary) for summary in input.pristine]
    layer.measure_image(Path(input.signal), outputs, params.config, pristine)


run_stage(snakemake, measure_image)
