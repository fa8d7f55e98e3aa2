"""The outcome of every panel of the study, judged like claims."""

from ceiflow.jobs import run_job


def judge_panels(input, output, params):
    from ceiflow import statistics

    statistics.judge(input.measurements, input.cells, params.config, output.claims, pooled=input.pooled)


run_job(snakemake, judge_panels)
