"""Cell means and the variance at each level."""

from ceiflow.jobs import run_job


def aggregate_cells(input, output, params):
    from ceiflow import statistics

    statistics.aggregate(input.measurements, input.cells, output.cells, output.heterogeneity, params.config)


run_job(snakemake, aggregate_cells)
