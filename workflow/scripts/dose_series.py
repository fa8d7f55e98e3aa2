"""Fit what fades and grows along the frames of one region."""

from pathlib import Path

from ceiflow.jobs import run_job


def dose_series(input, output, params):
    from ceiflow import eels

    signals = [Path(path) for path in input.signals]
    files = signals, Path(input.edges), Path(output.dose)
    eels.dose_series(*files, params.frames, params.config, Path(params.folder))


run_job(snakemake, dose_series)
