"""What stands between Snakemake and a stage: log, threads, and the handing-on of failed acquisitions."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

# Set before a stage imports numpy: several jobs run side by side, and a second BLAS thread has never helped.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

from ceiflow.errors import CeiflowError, SignalError  # noqa: E402
from ceiflow.signals import store  # noqa: E402
from ceiflow.signals.store import Header, read_header  # noqa: E402
from ceiflow.study.measurements import write_rows  # noqa: E402


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
        header = failed_input(snakemake.input)
        if header is None:
            try:
                stage(snakemake.input, snakemake.output, snakemake.params)
            except SignalError as error:
                if snakemake.params.get("config", {}).get("strict"):
                    raise
                header = any_header(snakemake.input)
                reason = name_raw_file(str(error), snakemake.input, header)
                header = replace(header, status="failed", reason=reason)
        if header is not None:
            print(header.reason, file=sys.stderr)
            for path in snakemake.output:
                write_failed(Path(path), header)


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


def failed_input(inputs: Any) -> Header | None:
    """Header of a stage's `signal` or `fit` that failed; None if both are sound or there is none."""
    headers = [read_header(path) for name, path in inputs.items() if name in ("signal", "fit")]
    return next((header for header in headers if header.status == "failed"), None)


def any_header(inputs: Any) -> Header:
    """What is known of the acquisition that a stage could not use."""
    return read_header(inputs["signal"])


def name_raw_file(text: str, inputs: Any, header: Header) -> str:
    """A message with the raw file, which its reader can look at, in place of the stage's own input."""
    raw = next((entry["path"] for entry in header.source if entry["role"] in ("core_loss", "image")), "")
    for name, path in inputs.items():
        if raw and name in ("signal", "fit"):
            text = text.replace(str(path), raw)
    return text


def write_failed(path: Path, header: Header) -> None:
    """An output that holds nothing but status and reason, in the form that its readers take."""
    if path.suffix in (".h5", ".hspy"):
        store.write_failed(path, header, header.reason)
    elif path.suffix == ".json":
        metadata = {
            name: {"value": item.value, "origin": item.origin} for name, item in header.metadata.items()
        }
        summary = {
            "acquisition_id": header.acquisition_id,
            "qc_status": "failed",
            "qc_reason": header.reason,
            "metadata": metadata,
            "sources": header.source,
        }
        path.write_text(json.dumps(summary, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    elif path.name == "measurements.tsv":
        write_rows(path, [])
    else:
        reason = " ".join(header.reason.split())
        path.write_text(f"qc_status\tqc_reason\nfailed\t{reason}\n", encoding="utf-8")
