"""What each registered claim needs, from the variances that were seen."""

from ceiflow.jobs import run_job


def plan_study(input, output, params):
    from ceiflow import statistics

    statistics.plan(input.measurements, input.cells, input.claims, params.config, output.planning)


run_job(snakemake, plan_study)
