"""One table of all measurements and one of all acquisitions."""

from ceiflow.jobs import run_job


def collect_measurements(input, output, params):
    from ceiflow import statistics
    from ceiflow.study.provenance import write_sources

    statistics.collect(
        input.summaries,
        input.measurements,
        input.acquisitions,
        input.cells,
        output.measurements,
        output.acquisitions,
    )
    write_sources(output.sources, input.summaries)


run_job(snakemake, collect_measurements)
