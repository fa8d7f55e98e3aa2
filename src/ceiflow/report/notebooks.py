"""Run a parametrised notebook on the interpreter that is running, and strip what differs between runs."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

KERNEL = "ceiflow"
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
# A UNIX socket's path holds 107 characters.
LONGEST_SOCKET_FOLDER = 80
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


def execute(
    notebook: str | Path,
    output: str | Path,
    parameters: Mapping[str, object],
    cwd: str | Path | None = None,
    failed: str | Path | None = None,
    timeout_s: int = 1800,
) -> None:
    """Run a notebook with papermill and write the executed one, normalised.

    The kernel is the running interpreter, whatever kernels a user has installed; it talks through sockets
    in a folder of its own, so that parallel runs cannot take each other's ports; nothing is read from or
    written to the user's Jupyter and IPython folders.

    Parameters
    ----------
    notebook : path
        Has a cell tagged `parameters`.
    output : path
        Written when every cell has run, and not before.
    parameters : mapping
        Values of the notebook's parameters. A `Path` becomes a text relative to `cwd`.
    cwd : path, optional
        Folder in which the notebook runs; the current one when left out.
    failed : path, optional
        Where the notebook is kept, with its error, if a cell fails: beside the log.
    timeout_s : int
        Longest time for one cell.

    Raises
    ------
    papermill.exceptions.PapermillExecutionError
        A cell failed.
    """
    import nbformat

    cwd = Path(cwd or Path.cwd()).resolve()
    source = nbformat.read(notebook, as_version=4)
    values = {name: _plain(value, cwd) for name, value in parameters.items()}
    with _kernel_folder() as folder:
        partial = folder / "notebook.ipynb"
        try:
            _papermill(source, partial, values, cwd, folder, timeout_s)
        except Exception:
            if failed is not None and partial.is_file():
                Path(failed).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(partial, failed)
            raise
        done = normalise(nbformat.read(partial, as_version=4))
    write(done, output)


def _plain(value: object, cwd: Path) -> object:
    if isinstance(value, Path):
        return Path(os.path.relpath(value, cwd)).as_posix()
    return value


def _papermill(source, partial: Path, values: dict, cwd: Path, folder: Path, timeout_s: int) -> None:
    import papermill
    from traitlets.config import Config

    config = Config()
    if len(str(folder)) <= LONGEST_SOCKET_FOLDER and sys.platform != "win32":
        config.ConnectionFileMixin.transport = "ipc"
        config.ConnectionFileMixin.connection_file = str(folder / "kernel.json")
    papermill.execute_notebook(
        source,
        str(partial),
        parameters=values,
        kernel_name=KERNEL,
        language="python",
        progress_bar=False,
        log_output=False,
        cwd=str(cwd),
        start_timeout=120,
        execution_timeout=timeout_s,
        config=config,
    )


@contextlib.contextmanager
def _kernel_folder() -> Iterator[Path]:
    """A temporary folder with a kernel of this interpreter, and an environment that points there."""
    base = tempfile.gettempdir()
    if len(base) > LONGEST_SOCKET_FOLDER - 20 and os.access("/tmp", os.W_OK):
        base = "/tmp"
    folder = Path(tempfile.mkdtemp(prefix="ceiflow-", dir=base))
    spec = folder / "data" / "kernels" / KERNEL
    spec.mkdir(parents=True)
    package_parent = str(Path(__file__).resolve().parents[2])
    paths = [package_parent, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    content = {
        "argv": [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        "display_name": "Python 3",
        "language": "python",
        "env": {
            **dict.fromkeys(THREADS, "1"),
            "MPLBACKEND": "Agg",
            "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths)),
        },
    }
    (spec / "kernel.json").write_text(json.dumps(content), encoding="utf-8")
    folders = {
        "JUPYTER_DATA_DIR": "data",
        "JUPYTER_RUNTIME_DIR": "runtime",
        "JUPYTER_CONFIG_DIR": "config",
        "IPYTHONDIR": "ipython",
    }
    changed = {name: str(folder / part) for name, part in folders.items()}
    changed |= {"JUPYTER_NO_CONFIG": "1", "JUPYTER_PATH": str(folder / "data")}
    before = {name: os.environ.get(name) for name in changed}
    os.environ.update(changed)
    try:
        yield folder
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        shutil.rmtree(folder, ignore_errors=True)


def normalise(notebook):
    """Take from an executed notebook what differs between two runs of the same thing.

    Times, papermill's records, execution counts, versions of the kernel, memory addresses and standard
    error go; cell ids are numbered; the kernel is named as any reader has it.

    Parameters
    ----------
    notebook : nbformat.NotebookNode
        Changed in place, and returned.
    """
    language = notebook.metadata.get("language_info", {}).get("name", "python")
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": language},
    }
    for index, cell in enumerate(notebook.cells):
        tags = cell.metadata.get("tags", [])
        cell.metadata = {"tags": list(tags)} if tags else {}
        cell["id"] = f"cell-{index:02d}"
        if cell.cell_type != "code":
            continue
        cell.execution_count = None
        cell.outputs = [_normalised_output(out) for out in cell.outputs if out.get("name") != "stderr"]
    return notebook


def _normalised_output(output):
    if "execution_count" in output:
        output["execution_count"] = None
    if "text/plain" in output.get("data", {}):
        output["data"]["text/plain"] = _ADDRESS.sub("", output["data"]["text/plain"])
    return output


def write(notebook, path: str | Path) -> None:
    """Write a notebook, under another name first; sorted keys, one space of indent."""
    import nbformat

    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.part")
    nbformat.write(notebook, partial)
    os.replace(partial, path)
