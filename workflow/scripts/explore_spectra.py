"""Write the page on which a reader moves over one spectrum image."""

from pathlib import Path

from ceiflow.jobs import run_job


def explore_spectra(input, output, params):
    from ceiflow.report.explorer import write_explorer

    write_explorer(Path(input.signal), Path(input.edges), Path(input.maps), Path(output.page), params.config)


run_job(snakemake, explore_spectra)
