"""Write core loss and maps of one acquisition for HyperSpy."""

from pathlib import Path

from ceiflow.jobs import run_stage


def export_hyperspy(input, output, params):
    from ceiflow import eels

    eels.export_hyperspy(Path(input.signal), Path(input.maps), Path(output.export))


run_stage(snakemake, export_hyperspy)
