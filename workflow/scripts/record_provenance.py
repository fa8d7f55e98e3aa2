"""What ran, on what, with which seeds."""

import json
from pathlib import Path

from ceiflow.jobs import run_job


def record_provenance(input, output, params):
    from ceiflow.study import write_config, write_provenance

    sources = json.loads(Path(input.sources).read_text(encoding="utf-8"))
    write_config(output.config, params.config)
    write_provenance(output.provenance, params.config, sources, code=params.code)


run_job(snakemake, record_provenance)
