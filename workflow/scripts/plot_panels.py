"""The examples of the panels as files."""

from pathlib import Path

from ceiflow.jobs import run_job


def plot_panels(input, output, params):
    from ceiflow.report.panel_files import write_panels
    from ceiflow.report.results import Results

    folder = Path(output[0]).parent
    words = Path(input.words).read_text(encoding="utf-8")
    results = Results(folder.parent, input.sheet)
    write_panels(results, params.claims, params.names, folder, params.dpi, words)


run_job(snakemake, plot_panels)
