"""Cell means and the variance at each level."""

from ceiflow.jobs import run_job


def aggregate_cells(input, output, params):
    from ceiflow import statistics

    tables = input.measurements, input.cells, output.cells, output.heterogeneity
    statistics.aggregate(*tables, params.config, input.maps)


run_job(snakemake, aggregate_cells)
