"""Render an executed notebook as one HTML file that needs nothing else, neither network nor scripts."""

from __future__ import annotations

import html
import os
import re
from collections.abc import Iterable
from pathlib import Path

TEMPLATE = Path(__file__).parent / "template"
_HEADING = re.compile(r'<h2 id="([^"]*)">(.*?)</h2>', re.S)
_TAG = re.compile(r"<[^>]*>")


def render(notebook: str | Path, page: str | Path) -> None:
    """Write the page of an executed notebook: text and outputs, code left out, nothing loaded from elsewhere.

    A policy in the page forbids every request and every script, so that nothing in a user's sheet can
    cause one.

    Parameters
    ----------
    notebook : path
        Executed by `ceiflow.report.execute`.
    page : path
        The HTML file. It links to the notebook by its relative path.
    """
    from ceiflow.report.notebooks import notebook_format

    notebook, page = Path(notebook), Path(page)
    content = notebook_format().read(notebook, as_version=4)
    sections = [part for cell in content.cells for part in _parts(cell)]
    beside = Path(os.path.relpath(notebook.resolve(), page.resolve().parent)).as_posix()
    write_page(page, _title(content) or notebook.stem, sections, beside)


def write_page(page: str | Path, title: str, sections: Iterable[str], notebook: str = "") -> None:
    """Write one page of sections of HTML, with its contents at the side.

    Parameters
    ----------
    page : path
        Written under another name first.
    title : str
    sections : iterable of str
        HTML whose texts are escaped. Second-level headings with an id are listed in the contents.
    notebook : str
        Address of the notebook behind the page, relative to it; empty where there is none.
    """
    page = Path(page)
    body, contents = _with_contents("\n".join(sections))
    text = (
        environment()
        .get_template("page.html.j2")
        .render(
            title=title,
            style=(TEMPLATE / "page.css").read_text(encoding="utf-8"),
            body=body,
            contents=contents,
            notebook=notebook,
        )
    )
    page.parent.mkdir(parents=True, exist_ok=True)
    partial = page.with_name(f".{page.name}.part")
    partial.write_text(text, encoding="utf-8", newline="\n")
    os.replace(partial, page)


def environment():
    """Templates of pages; what is put into them is escaped."""
    import jinja2

    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATE),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )


def _parts(cell) -> list[str]:
    """HTML of a cell: a markdown cell rendered, a code cell's outputs without the code."""
    if cell.cell_type == "markdown":
        return [markdown(cell.source)]
    parts = []
    for output in cell.get("outputs", []):
        data = output.get("data", {})
        if "text/html" in data:
            parts.append(data["text/html"])
        elif "text/plain" in data:
            parts.append(f"<pre>{html.escape(data['text/plain'])}</pre>")
    return parts


def markdown(source: str) -> str:
    """A notebook's own markdown as HTML; headings get an id, so that they can be linked to."""
    from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

    renderer = IPythonRenderer(escape=True, exclude_anchor_links=True, allow_harmful_protocols=False)
    text = MarkdownWithMath(renderer=renderer).render(source)
    return re.sub(r"<(h[23])(?: id=\"[^\"]*\")?>(.*?)</\1>", _heading, text, flags=re.S)


def _heading(match: re.Match) -> str:
    level, text = match.groups()
    return f'<{level} id="{slug(text)}">{text}</{level}>'


def slug(text: str) -> str:
    """A heading as the fragment of an address."""
    plain = html.unescape(_TAG.sub("", text)).lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-") or "section"


def _with_contents(body: str) -> tuple[str, list[tuple[str, str]]]:
    """Give every second-level heading an id of its own, and list them."""
    seen: dict[str, int] = {}
    contents = []

    def numbered(match: re.Match) -> str:
        name, text = match.groups()
        count = seen[name] = seen.get(name, 0) + 1
        unique = name if count == 1 else f"{name}-{count}"
        contents.append((unique, html.unescape(_TAG.sub("", text)).strip()))
        return f'<h2 id="{unique}">{text}</h2>'

    return _HEADING.sub(numbered, body), contents


def _title(content) -> str:
    """The title that a page's block carries with it."""
    for cell in content.cells:
        for output in cell.get("outputs", []):
            title = output.get("metadata", {}).get("ceiflow", {}).get("title")
            if title:
                return str(title)
    return ""
