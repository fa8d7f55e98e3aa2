"""Run a parametrised notebook in the process that is running, and strip what differs between runs."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

ENGINE = "ceiflow"
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


def execute(
    notebook: str | Path,
    output: str | Path,
    parameters: Mapping[str, object],
    cwd: str | Path | None = None,
    failed: str | Path | None = None,
) -> None:
    """Run a notebook with papermill and write the executed one, normalised.

    Its cells run in this process, through IPython: a kernel beside it would cost more than most pages do,
    and could take the ports of another. Nothing is read from or written to the user's Jupyter and IPython
    folders.

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

    Raises
    ------
    papermill.exceptions.PapermillExecutionError
        A cell failed.
    """
    nbformat = notebook_format()
    cwd = Path(cwd or Path.cwd()).resolve()
    source = nbformat.read(notebook, as_version=4)
    values = {name: _plain(value, cwd) for name, value in parameters.items()}
    with _own_folder() as folder:
        partial = folder / "notebook.ipynb"
        try:
            _papermill(source, partial, values, cwd)
        except Exception:
            if failed is not None and partial.is_file():
                Path(failed).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(partial, failed)
            raise
        done = normalise(nbformat.read(partial, as_version=4))
    write(done, output)


def notebook_format():
    """The package `nbformat`, imported in a tenth of the time.

    The library that it checks notebooks with builds grammars of internationalised addresses when it is
    imported, which takes longer than drawing a page. It goes without them where the package that has them is
    absent, and no notebook has such an address to be checked.
    """
    grammars = "rfc3987_syntax"
    if "jsonschema" not in sys.modules and grammars not in sys.modules:
        sys.modules[grammars] = None  # what Python takes for a package that is not there
        try:
            import jsonschema  # noqa: F401
        finally:
            del sys.modules[grammars]
    import nbformat

    return nbformat


def _plain(value: object, cwd: Path) -> object:
    if isinstance(value, Path):
        return Path(os.path.relpath(value, cwd)).as_posix()
    return value


def _papermill(source, partial: Path, values: dict, cwd: Path) -> None:
    import papermill
    from papermill.engines import papermill_engines

    papermill_engines.register(ENGINE, _engine())
    papermill.execute_notebook(
        source,
        str(partial),
        parameters=values,
        engine_name=ENGINE,
        kernel_name="python3",
        language="python",
        progress_bar=False,
        log_output=False,
        cwd=str(cwd),
    )


def _engine():
    """papermill's engine that runs cells in this process."""
    from papermill.engines import Engine

    class InProcess(Engine):
        @classmethod
        def execute_managed_notebook(cls, manager, kernel_name, **options):
            shell = _shell()
            for index, cell in enumerate(manager.nb.cells):
                manager.cell_start(cell, index)
                try:
                    if cell.cell_type == "code":
                        cell.outputs = _run_cell(shell, cell.source)
                finally:
                    manager.cell_complete(cell, cell_index=index)
                if any(output.output_type == "error" for output in cell.get("outputs", [])):
                    manager.cell_exception(cell, cell_index=index)
                    return

    return InProcess


def _shell():
    """An IPython of its own: no history, no start-up files, nothing of what ran before."""
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    config = Config()
    config.HistoryManager.enabled = False
    config.InteractiveShell.colors = "nocolor"
    InteractiveShell.clear_instance()
    shell = InteractiveShell.instance(config=config)
    shell.user_ns["__name__"] = "__main__"
    return shell


def _run_cell(shell, source: str) -> list:
    """Outputs of one cell in the order of a notebook: what it printed, what it displayed, its error."""
    import traceback

    from IPython.utils.capture import capture_output
    from nbformat.v4 import new_output

    values: list = []
    # Errors are written into the notebook, not printed; so is the value of the last expression.
    shell.showtraceback = lambda *arguments, **options: None
    shell.display_trap.hook = values.append
    with capture_output() as caught:
        result = shell.run_cell(source, store_history=False)
    texts = (("stdout", caught.stdout), ("stderr", caught.stderr))
    outputs = [new_output("stream", name=name, text=text) for name, text in texts if text]
    outputs += [
        new_output("display_data", data=shown.data, metadata=shown.metadata or {}) for shown in caught.outputs
    ]
    for value in (value for value in values if value is not None):
        data, metadata = shell.display_formatter.format(value)
        outputs.append(new_output("execute_result", data=data, metadata=metadata))
    error = result.error_before_exec or result.error_in_exec
    if error is not None:
        lines = traceback.format_exception(error)
        outputs.append(new_output("error", ename=type(error).__name__, evalue=str(error), traceback=lines))
    return outputs


@contextlib.contextmanager
def _own_folder() -> Iterator[Path]:
    """A temporary folder, and an environment that keeps IPython and Jupyter within it."""
    folder = Path(tempfile.mkdtemp(prefix="ceiflow-"))
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
