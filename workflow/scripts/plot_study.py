"""The study's figures as files."""

from pathlib import Path

from ceiflow.jobs import run_job


def plot_study(input, output, params):
    from ceiflow.figures.folders import draw_study

    tables = {name: Path(path) for name, path in input.items()}
    folder = Path(output[0]).parent
    draw_study(tables, folder, ("svg", "png"), params.dpi)


run_job(snakemake, plot_study)
