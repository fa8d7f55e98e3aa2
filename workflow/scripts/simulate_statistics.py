"""Measured errors of one simulated design."""

from ceiflow.jobs import run_job


def simulate_statistics(input, output, params):
    from ceiflow.statistics import grid, simulation, tables

    rows = simulation.simulate(snakemake.wildcards.scenario, params.seed)
    tables.write_table(output[0], grid.COLUMNS, rows)


run_job(snakemake, simulate_statistics)
