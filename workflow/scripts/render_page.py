"""Run a notebook on the results and render it as one offline page."""

from pathlib import Path

from ceiflow.jobs import run_job


def render_page(input, output, params):
    from ceiflow import report

    results = Path(output.page).parents[params.depth]
    sheets = {name: Path(path) for name, path in input.items() if name in ("sheet", "acquisitions")}
    parameters = {"results": results, **sheets, **params.parameters}
    failed = Path(snakemake.log[0]).with_suffix(".ipynb")  # kept with its error, for whoever has to mend it
    report.execute(input.notebook, output.notebook, parameters, failed=failed)
    report.render(output.notebook, output.page)


run_job(snakemake, render_page)
