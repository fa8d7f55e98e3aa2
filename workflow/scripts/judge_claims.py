"""A verdict on every registered claim, and the exploration of what was not registered."""

from ceiflow.jobs import run_job


def judge_claims(input, output, params):
    from ceiflow import statistics

    statistics.judge(
        input.measurements,
        input.cells,
        params.config,
        output.claims,
        output.get("exploration"),
        output.get("registration"),
        input.pooled,
    )


run_job(snakemake, judge_claims)
