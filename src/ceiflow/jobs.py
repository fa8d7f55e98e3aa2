"""What stands between Snakemake and a stage: its log, its threads, and the handing-on of failed acquisitions."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# Set before a stage imports numpy: several jobs run side by side, and a second BLAS thread has never helped.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

from ceiflow.errors import CeiflowError, SignalError  # noqa: E402

FAILED_COLUMNS = ("qc_status", "qc_reason")


def run_stage(snakemake: Any, stage: Callable[[Any, Any, Any], None]) -> None:
    """Run one stage of one acquisition; a failed acquisition becomes a row and not an exception.

    Parameters
    ----------
    snakemake : object
        What Snakemake gives to a script.
    stage : callable
        Takes input, output and params. A `SignalError` that it raises, or a failed signal among its
        inputs, is written into every output as status and reason, unless `strict` is set in the
        configuration. Any other exception is a fault of the program, and fails the job.
    """
    with log_to(snakemake.log[0] if snakemake.log else None):
        failed = failed_input(snakemake.input)
        if failed is None:
            try:
                stage(snakemake.input, snakemake.output, snakemake.params)
            except SignalError as error:
                if snakemake.params.get("config", {}).get("strict"):
                    raise
                failed = {"qc_status": "failed", "qc_reason": str(error)}
        if failed is not None:
            print(failed["qc_reason"], file=sys.stderr)
            for path in snakemake.output:
                write_failed(Path(path), failed)


def run_job(snakemake: Any, job: Callable[[Any, Any, Any], None]) -> None:
    """Run a job of the whole study: nothing is handed on, every exception fails it."""
    with log_to(snakemake.log[0] if snakemake.log else None):
        job(snakemake.input, snakemake.output, snakemake.params)


@contextlib.contextmanager
def log_to(path: str | None) -> Iterator[None]:
    """Send what is printed to the log; an error's last line goes to the terminal as well."""
    if path is None:
        yield
        return
    with (
        open(path, "w", encoding="utf-8") as log,
        contextlib.redirect_stdout(log),
        contextlib.redirect_stderr(log),
    ):
        try:
            yield
        except CeiflowError as error:
            print(error, file=sys.stderr)
            print(error, file=sys.__stderr__)
            sys.exit(1)
        except Exception:
            traceback.print_exc()
            raise


def failed_input(inputs: Any) -> dict[str, Any] | None:
    """What a stage's `signal` or `fit` says of its failure; None if both are sound or there is none."""
    from ceiflow.signals.store import read_header

    for name, path in inputs.items():
        if name in ("signal", "fit"):
            header = read_header(Path(path))
            if header.status == "failed":
                return {
                    "qc_status": "failed",
                    "qc_reason": header.reason,
                    "metadata": {
                        name: {"value": value.value, "origin": value.origin}
                        for name, value in header.metadata.items()
                    },
                    "sources": header.source,
                }
    return None


def write_failed(path: Path, failed: dict[str, Any]) -> None:
    """An output that holds nothing but status and reason, in the form that its readers take."""
    if path.suffix == ".h5":
        from ceiflow.signals.store import create_h5

        with create_h5(path) as file:
            file.attrs["status"] = "failed"
            file.attrs["reason"] = failed["qc_reason"]
            file.attrs["metadata"] = json.dumps(failed.get("metadata", {}), sort_keys=True)
            file.attrs["source"] = json.dumps(failed.get("sources", []), sort_keys=True)
    elif path.suffix == ".json":
        path.write_text(json.dumps(failed, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    elif path.name == "measurements.tsv":
        from ceiflow.study.measurements import write_rows

        write_rows(path, [])
    else:
        reason = " ".join(failed["qc_reason"].split())
        path.write_text("\t".join(FAILED_COLUMNS) + f"\nfailed\t{reason}\n", encoding="utf-8")
