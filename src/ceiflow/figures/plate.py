"""Several figures on one sheet, at the width of one or two columns of a journal, each as it is elsewhere."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from xml.etree import ElementTree

from matplotlib.figure import Figure

from ceiflow.figures import style

GAP_MM = style.TWO_COLUMNS_MM - 2 * style.ONE_COLUMN_MM
_SVG, _XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
_USED = re.compile(r"(url\(#|^#)")
Rows = Sequence[Sequence[Figure]]


def place(rows: Rows) -> tuple[list[tuple[Figure, float, float]], float, float]:
    """Figures with their left and upper end in mm, and width and height of the sheet.

    Parameters
    ----------
    rows : sequence of sequences of Figure
        From the top; the figures of a row stand side by side.
    """
    placed, top, width = [], 0.0, 0.0
    for row in rows:
        left = 0.0
        for figure in row:
            placed.append((figure, left, top))
            left += _size(figure)[0] + GAP_MM
        width = max(width, left - GAP_MM)
        top += max(_size(figure)[1] for figure in row) + GAP_MM
    return placed, width, top - GAP_MM


def _size(figure: Figure) -> tuple[float, float]:
    width, height = figure.get_size_inches()
    return 25.4 * float(width), 25.4 * float(height)


def to_bytes(rows: Rows, kind: str, dpi: float, text: str) -> bytes:
    """The sheet as the bytes of an SVG or PNG file; the same figures give the same bytes.

    Parameters
    ----------
    rows : sequence of sequences of Figure
    kind : "svg" or "png"
    dpi : float
        Of the raster, also of images inside an SVG.
    text : str
        What stands for it where it cannot be seen.
    """
    placed, width, height = place(rows)
    if kind == "svg":
        return _svg(placed, width, height, dpi, text)
    from PIL import Image

    def pixels(mm: float) -> int:
        return round(mm / 25.4 * dpi)

    sheet = Image.new("RGB", (pixels(width), pixels(height)), "white")
    for figure, left, top in placed:
        sheet.paste(style.to_image(figure, dpi), (pixels(left), pixels(top)))
    buffer = io.BytesIO()
    sheet.save(buffer, format="PNG", dpi=(dpi, dpi), compress_level=9)
    return buffer.getvalue()


def _svg(placed, width: float, height: float, dpi: float, text: str) -> bytes:
    ElementTree.register_namespace("", _SVG)
    ElementTree.register_namespace("xlink", _XLINK)
    size = {
        "width": f"{width:.3f}mm",
        "height": f"{height:.3f}mm",
        "viewBox": f"0 0 {width:.3f} {height:.3f}",
    }
    root = ElementTree.Element(f"{{{_SVG}}}svg", {**size, "version": "1.1", "role": "img"})
    ElementTree.SubElement(root, f"{{{_SVG}}}desc").text = text
    for index, (figure, left, top) in enumerate(placed):
        part = ElementTree.fromstring(style.to_bytes(figure, "svg", dpi))
        for metadata in part.findall(f"{{{_SVG}}}metadata"):
            part.remove(metadata)
        _rename(part, f"f{index + 1}-")
        wide, high = _size(figure)
        for name, value in (("x", left), ("y", top), ("width", wide), ("height", high)):
            part.set(name, f"{value:.3f}")
        root.append(part)
    return b'<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(root, encoding="utf-8") + b"\n"


def _rename(part: ElementTree.Element, prefix: str) -> None:
    """Names of the things in one figure must not be those of another on the same sheet."""
    for element in part.iter():
        for key, value in element.attrib.items():
            if key == "id":
                element.set(key, prefix + value)
            elif "#" in value and (key.endswith("href") or "url(#" in value):
                element.set(key, _USED.sub(lambda found: found.group(1) + prefix, value))
