"""The simulated errors as one table and a page."""

from ceiflow.jobs import run_job


def tabulate(input, output, params):
    from ceiflow.statistics import grid

    grid.tabulate(list(input), output.table, output.page, params.seed)


run_job(snakemake, tabulate)
