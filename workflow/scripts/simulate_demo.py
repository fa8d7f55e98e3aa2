"""Simulate the demo study's raw files."""

from pathlib import Path

from ceiflow.jobs import run_job


def simulate_demo(input, output, params):
    import yaml

    from ceiflow.phantom.study import simulate

    design = yaml.safe_load(Path(input.design).read_text(encoding="utf-8"))
    simulate(design, Path(params.folder), params.seed, params.acquisitions, processes=snakemake.threads)


run_job(snakemake, simulate_demo)
