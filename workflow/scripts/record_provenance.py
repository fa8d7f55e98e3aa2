"""What ran, on what, with which seeds."""

import json
from pathlib import Path

from ceiflow.jobs import run_job


def record_provenance(input, output, params):
    from ceiflow.study import write_config, write_provenance

    sources = []
    for summary in map(Path, input.summaries):
        found = json.loads(summary.read_text(encoding="utf-8")).get("sources", [])
        sources += [{"acquisition_id": summary.parent.name, **source} for source in found]
    write_config(output.config, params.config)
    write_provenance(output.provenance, params.config, sources, code=params.code)


run_job(snakemake, record_provenance)
