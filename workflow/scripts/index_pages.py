"""Write the page that ties all pages."""

from pathlib import Path

from ceiflow.jobs import run_job


def index_pages(input, output, params):
    from ceiflow.report.index import write_index
    from ceiflow.report.results import Results

    write_index(Results(Path(output.page).parents[1], Path(input.sheet)), output.page)


run_job(snakemake, index_pages)
