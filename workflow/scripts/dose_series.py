"""Fit what fades and grows along the frames of one region."""

from pathlib import Path

from ceiflow.jobs import run_job


def dose_series(input, output, params):
    from ceiflow import eels

    signals = [Path(path) for path in input.signals]
    eels.dose_series(signals, Path(input.edges), Path(output.dose), params.frames, params.config)


run_job(snakemake, dose_series)
