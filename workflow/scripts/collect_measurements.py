"""One table of all measurements and one of all acquisitions."""

from ceiflow.jobs import run_job


def collect_measurements(input, output, params):
    from ceiflow import statistics

    statistics.collect(
        input.summaries,
        input.measurements,
        input.acquisitions,
        input.cells,
        output.measurements,
        output.acquisitions,
    )


run_job(snakemake, collect_measurements)
