"""The study's figures as files."""

from pathlib import Path

from ceiflow.jobs import run_job


def plot_study(input, output, params):
    from ceiflow.figures.folders import draw_study

    tables = {name: Path(path) for name, path in input.items() if name != "captions"}
    captions = {Path(path).stem: Path(path).read_text(encoding="utf-8") for path in input.captions}
    folder = Path(output[0]).parent
    draw_study(tables, folder, ("svg", "png"), params.dpi, captions)


run_job(snakemake, plot_study)
