"""A verdict on every registered claim."""

from ceiflow.jobs import run_job


def judge_claims(input, output, params):
    from ceiflow import statistics

    statistics.judge(input.measurements, input.cells, params.config, output.claims)


run_job(snakemake, judge_claims)
