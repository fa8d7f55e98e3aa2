"""Pieces of a page. Every text that comes from data passes through `escape`; every image has its text."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ceiflow.figures.tables import known

# Dots per inch of the images of a page, and the least to which a limit of size may bring it.
FINEST, COARSEST = 160.0, 60.0
# What stands behind a value made by `amount`.
ERRORS = "± statistical ± systematic"


@dataclass(frozen=True)
class Markup:
    """HTML that is safe to place in a page, because what came from data was escaped when it was made."""

    text: str

    def __str__(self) -> str:
        return self.text


@dataclass
class Block:
    """What a notebook cell shows: HTML in a notebook and on the page.

    `title` is the page's title where this block is the page's head.
    """

    parts: list[Markup] = field(default_factory=list)
    title: str = ""

    def _repr_mimebundle_(self, include=None, exclude=None):
        data = {"text/html": str(self), "text/plain": self.title or "(shown as HTML)"}
        return data, ({"ceiflow": {"title": self.title}} if self.title else {})

    def __str__(self) -> str:
        return "\n".join(part.text for part in self.parts)


def block(*parts: Markup | None, title: str = "") -> Block:
    """A block of the parts that there are."""
    return Block([part for part in parts if part is not None], title)


def escape(value: object) -> str:
    """A text from data as HTML text, also fit for an attribute."""
    if isinstance(value, Markup):
        return value.text
    text = "" if value is None else str(value)
    return html.escape("".join(c if c.isprintable() or c in "\n\t" else " " for c in text), quote=True)


def tag(name: str, *content: object, **attributes: object) -> Markup:
    """An element; `class_` is its class; attributes that are None are left out."""
    pairs = {
        key.rstrip("_").replace("_", "-"): value for key, value in attributes.items() if value is not None
    }
    head = "".join(f' {key}="{escape(value)}"' for key, value in pairs.items())
    return Markup(f"<{name}{head}>{''.join(escape(item) for item in content)}</{name}>")


def paragraph(*content: object, class_: str | None = None) -> Markup:
    """A paragraph."""
    return tag("p", *content, class_=class_)


def heading(text: object, level: int = 3, anchor: str | None = None) -> Markup:
    """A heading; second-level ones are listed in the contents and need an anchor."""
    return tag(f"h{level}", text, id=anchor)


def join(*content: object) -> Markup:
    """Contents one after the other."""
    return Markup("".join(escape(item) for item in content))


def badge(status: str, symbol: str = "") -> Markup:
    """A status as word and symbol; the colour only repeats it."""
    known_class = status if status.isalpha() else "open"
    return tag("span", f"{symbol} {status}".strip(), class_=f"badge {known_class}")


def link(text: object, address: str) -> Markup:
    """A link to a file beside the page."""
    return tag("a", text, href=address)


def facts(pairs: Mapping[str, object]) -> Markup:
    """Short facts side by side; those without a value are left out."""
    items = [
        tag("div", tag("dt", name), tag("dd", value))
        for name, value in pairs.items()
        if value is not None and str(value) != ""
    ]
    return tag("dl", *items, class_="facts")


def details(summary: object, *content: object) -> Markup:
    """Content that is folded away until asked for."""
    return tag("details", tag("summary", summary), *content)


@dataclass
class Column:
    """A column of a table: its heading, how to read a row, and its kind.

    `kind` is a class of the style sheet: `number`, `name`, `reason`, `path` or nothing.
    """

    label: str
    read: str | Callable[[Mapping], object]
    kind: str = ""

    def value(self, row: Mapping) -> object:
        """What stands in this column of a row."""
        return self.read(row) if callable(self.read) else row.get(self.read, "")


def table(
    rows: Iterable[Mapping], columns: Sequence[Column], caption: str = "", stack: bool = False
) -> Markup:
    """A table that scrolls where it is too wide; columns that are empty throughout are left out.

    Parameters
    ----------
    rows : iterable of mappings
    columns : sequence of Column
    caption : str
    stack : bool
        On a narrow screen show each row as a card.
    """
    cells = [[column.value(row) for column in columns] for row in rows]
    used = [
        i for i in range(len(columns)) if any(str(line[i] if line[i] is not None else "") for line in cells)
    ]
    head = tag(
        "tr", *(tag("th", columns[i].label, class_=columns[i].kind or None, scope="col") for i in used)
    )
    body = [tag("tr", *(_cell(columns[i], line[i]) for i in used)) for line in cells]
    return tag(
        "div",
        tag(
            "table",
            tag("caption", caption) if caption else "",
            tag("thead", head),
            tag("tbody", *body),
            class_="stack" if stack else None,
        ),
        class_="scroll",
        tabindex="0",
        role="region",
        aria_label=caption or "Table",
    )


def _cell(column: Column, value: object) -> Markup:
    empty = value is None or str(value) == ""
    classes = " ".join(filter(None, [column.kind, "blank" if empty else ""]))
    return tag("td", value, class_=classes or None, data_label=column.label)


def figure(
    drawn, caption: str = "", kind: str = "png", limit_kb: float = 400.0, alt: str | None = None
) -> Markup:
    """A figure as an image inside the page, with its text and a caption.

    Parameters
    ----------
    drawn : matplotlib.figure.Figure
        From `ceiflow.figures`; its description becomes the image's text.
    caption : str
    kind : "png" or "svg"
        Vector for plots of few marks.
    limit_kb : float
        A raster above this is drawn at a lower resolution.
    alt : str, optional
        Another text than the figure's own.
    """
    from ceiflow.figures import style

    if kind == "svg":
        content, mime = style.to_bytes(drawn, "svg"), "image/svg+xml"
    else:
        content, mime = _raster(drawn, limit_kb), "image/png"
    width_mm, height_mm = (side * 25.4 for side in drawn.get_size_inches())
    image = tag(
        "img",
        src=f"data:{mime};base64,{base64.b64encode(content).decode('ascii')}",
        alt=alt or style.description(drawn) or caption,
        width=round(width_mm / 25.4 * 96),
        height=round(height_mm / 25.4 * 96),
    )
    image = Markup(image.text.removesuffix("</img>"))
    wide = width_mm > 120
    inner = tag("div", image, class_="scroll", tabindex="0") if wide else image
    return tag(
        "figure", inner, tag("figcaption", caption) if caption else "", class_="wide" if wide else "narrow"
    )


def _raster(drawn, limit_kb: float) -> bytes:
    """PNG below a limit: first with fewer colours, which nobody sees, then at a lower resolution."""
    from ceiflow.figures import style

    dpi, limit = FINEST, limit_kb * 1000
    while True:
        image = style.to_image(drawn, dpi)
        for colours in (None, 256, 72):
            content = _png(image, colours)
            if len(content) <= limit:
                return content
        if dpi <= COARSEST:
            return content
        dpi = max(COARSEST, 0.95 * dpi * (limit / len(content)) ** 0.5)


def _png(image, colours: int | None) -> bytes:
    from PIL import Image

    if colours:
        image = image.quantize(colours, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", compress_level=7)
    return buffer.getvalue()


def row(*figures: Markup | None) -> Markup:
    """Figures side by side where there is room."""
    return tag("div", *(item for item in figures if item is not None), class_="row")


def amount(value: object, error: object = None, systematic: object = None) -> str:
    """A value ± its statistical ± its systematic error, cut to two digits of the larger one.

    A systematic error of zero is left out; a statistical one that is not known is "?".
    """
    import math

    from ceiflow.figures.tables import figures3, number

    if not known(value):
        return ""
    sizes = [number(item) for item in (error, systematic)]
    largest = max((size for size in sizes if size > 0), default=math.nan)
    if not 1e-5 < largest < 1e6:
        return figures3(value)
    digits = 1 - math.floor(math.log10(largest))

    def shown(size: float) -> str:
        cut = round(size, digits)
        return f"{cut:.{max(0, digits)}f}" if cut or not size else f"{size:.1g}"

    parts = [f"{round(number(value), digits) + 0.0:.{max(0, digits)}f}"]
    parts.append("?" if math.isnan(sizes[0]) else shown(sizes[0]))
    if sizes[1] > 0:
        parts.append(shown(sizes[1]))
    return " ± ".join(parts).replace("-", "−")


def counted(number_of: int, noun: str) -> str:
    """`1 cell`, `2 cells`."""
    return f"{number_of} {noun}{'' if number_of == 1 else 's'}"
