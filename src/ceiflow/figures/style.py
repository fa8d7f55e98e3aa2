"""The look of all figures: sizes, fonts, colours, scale bars, colour bars, and a byte-identical `save`."""

from __future__ import annotations

import functools
import io
import os
import textwrap
from collections.abc import Callable
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import PlaceHolderLayoutEngine

# Colours are known to this module's users by its name.
from ceiflow.figures.palette import (  # noqa: F401
    BLACK,
    BLUE,
    CONDITION_COLOURS,
    ELEMENT_COLOURS,
    GREEN,
    GREY,
    ORANGE,
    OTHER_COLOURS,
    PURPLE,
    SKY,
    VERMILLION,
    YELLOW,
    edge_element,
    element_colour,
)

ONE_COLUMN_MM = 89.0
TWO_COLUMNS_MM = 183.0
_CONTROLS = bytes(code for code in range(32) if code not in (9, 10, 13))
# Layouts are found at one resolution, so that they do not hang on which file is written first.
LAYOUT_DPI = 150.0
MAP = "cividis"
THICKNESS_MAP = "plasma"

RC = {
    "font.family": "DejaVu Sans",
    "font.size": 7.0,
    "axes.titlesize": 7.5,
    "axes.titlelocation": "left",
    "axes.labelsize": 7.0,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.unicode_minus": True,
    "xtick.labelsize": 6.5,
    "ytick.labelsize": 6.5,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "lines.linewidth": 1.0,
    "legend.fontsize": 6.5,
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "image.interpolation": "nearest",
    # Names and titles come from the user's sheets: a dollar sign in them is a dollar sign.
    "text.parse_math": False,
    # Glyphs as outlines look the same wherever the file is opened; the hash salt makes ids repeatable.
    "svg.fonttype": "path",
    "svg.hashsalt": "ceiflow",
    "path.simplify": True,
}


def styled(draw: Callable[..., Figure]) -> Callable[..., Figure]:
    """Draw under this style alone, whatever matplotlibrc the user has."""

    @functools.wraps(draw)
    def inner(*args, **kwargs):
        with matplotlib.rc_context():
            matplotlib.rcdefaults()
            matplotlib.rcParams.update(RC)
            return draw(*args, **kwargs)

    return inner


def new_figure(width_mm: float, height_mm: float) -> Figure:
    """An empty figure of that size; constrained layout."""
    return Figure(figsize=(width_mm / 25.4, height_mm / 25.4), layout="constrained")


def describe(figure: Figure, text: str) -> Figure:
    """Give a figure the text that stands for it where it cannot be seen."""
    figure.set_label(" ".join("".join(c if c.isprintable() else " " for c in text).split()))
    return figure


def description(figure: Figure) -> str:
    """The text that stands for a figure where it cannot be seen."""
    return str(figure.get_label())


@styled
def nothing(message: str, width_mm: float = ONE_COLUMN_MM) -> Figure:
    """A figure that says why there is nothing to show."""
    figure = new_figure(width_mm, 18.0)
    figure.set_layout_engine("none")
    # Not matplotlib's own wrapping, which reads dollar signs as formulas whatever the style says.
    text = "\n".join(textwrap.wrap(message, int(width_mm / 1.5)))
    figure.text(0.5, 0.5, text, ha="center", va="center", color=GREY)
    return describe(figure, message)


def save(figure: Figure, path: str | Path, dpi: float = 150) -> Path:
    """Write a figure as PNG or SVG by the name's ending; the same figure gives the same bytes.

    Parameters
    ----------
    figure : Figure
    path : path
        Ending in `.png` or `.svg`. Written under another name first, then renamed.
    dpi : float
        Dots per inch of the raster, also of images inside an SVG.

    Raises
    ------
    ValueError
        For another ending.
    """
    path = Path(path)
    content = to_bytes(figure, path.suffix.lower().lstrip("."), dpi)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.part")
    partial.write_bytes(content)
    os.replace(partial, path)
    return path


def to_bytes(figure: Figure, kind: str, dpi: float = 150) -> bytes:
    """A figure as the bytes of a PNG or SVG file, without times, versions or random ids.

    Raises
    ------
    ValueError
        For any other kind.
    """
    text = description(figure)
    metadata: dict[str, str | None]
    if kind == "png":
        metadata = {"Software": None}
    elif kind == "svg":
        metadata = {"Date": None, "Creator": None}
        if text:
            metadata["Description"] = text
    else:
        raise ValueError(f"figures are written as png or svg, not {kind!r}")
    buffer = io.BytesIO()
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(RC)
        settle(figure)
        figure.savefig(buffer, format=kind, dpi=dpi, metadata=metadata)
    # Matplotlib copies texts into comments as they are, and XML forbids control characters.
    return buffer.getvalue().translate(None, _CONTROLS) if kind == "svg" else buffer.getvalue()


def settle(figure: Figure) -> None:
    """Lay a figure out once and for all, at positions rounded to where they are the same in every run.

    The solver of the layout sums in an order that hangs on memory addresses. What it finds differs in the
    last digit, which no eye sees and every checksum does.
    """
    engine = figure.get_layout_engine()
    if engine is None or not figure.axes or isinstance(engine, PlaceHolderLayoutEngine):
        return
    figure.set_dpi(LAYOUT_DPI)
    engine.execute(figure)
    figure.set_layout_engine("none")
    for axes in figure.axes:
        for which in ("original", "active"):
            box = axes.get_position(original=which == "original")
            axes._set_position([round(value, 6) for value in box.bounds], which)
    for label in (figure._suptitle, figure._supxlabel, figure._supylabel):
        if label is not None:
            label.set_position([round(value, 6) for value in label.get_position()])


def to_image(figure: Figure, dpi: float = 150):
    """A figure as a `PIL.Image`, drawn once, for those who encode it themselves."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(RC)
        settle(figure)
        canvas = FigureCanvasAgg(figure)
        figure.set_dpi(dpi)
        canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")


def condition_colours(conditions: list[str]) -> dict[str, str]:
    """A colour for each condition; the usual three always have their own."""
    others = sorted({name for name in conditions if name.lower() not in CONDITION_COLOURS})
    colours = {name: OTHER_COLOURS[i % len(OTHER_COLOURS)] for i, name in enumerate(others)}
    return {name: CONDITION_COLOURS.get(name.lower(), colours.get(name, BLACK)) for name in conditions}


def nice_length(span_nm: float) -> float:
    """Length of a scale bar: 1, 2 or 5 times a power of ten, about a fifth of the field."""
    target = span_nm / 4.0
    power = 10.0 ** np.floor(np.log10(target))
    return float(max(step * power for step in (1.0, 2.0, 5.0) if step * power <= target * 1.0001))


def scale_bar(
    axes: Axes, pixel_size_nm: float | None, shape: tuple[int, int], corner: tuple[bool, bool] = (True, True)
) -> None:
    """Draw a scale bar into an image shown with pixel coordinates.

    Parameters
    ----------
    pixel_size_nm : float or None
        Without it the bar counts pixels, and says so.
    shape : (rows, columns)
    corner : (bool, bool)
        At the bottom, on the left.
    """
    rows, columns = shape
    known = pixel_size_nm is not None and np.isfinite(pixel_size_nm) and pixel_size_nm > 0
    scale = float(pixel_size_nm) if known else 1.0
    length = nice_length(columns * scale)
    if known:
        text = f"{length / 1000:g} µm" if length >= 1000 else f"{length:g} nm"
    else:
        text = f"{length:g} px"
    pixels = length / scale
    thick = max(rows, 1) * 0.018
    bottom, left = corner
    x0 = -0.5 + (0.05 * columns if left else 0.95 * columns - pixels)
    # At the top there is room for the words above the bar.
    y0 = -0.5 + rows * (0.95 if bottom else 0.12)
    from matplotlib.patches import Rectangle

    axes.add_patch(
        Rectangle(
            (x0, y0 - thick), pixels, thick, facecolor="white", edgecolor="black", linewidth=0.4, zorder=9
        )
    )
    # An outline as thick as the strokes of small letters hides them: a dark ground reads on any image.
    axes.text(
        x0,
        y0 - thick * 2.2,
        text,
        color="white",
        ha="left",
        va="bottom",
        fontsize=7.5,
        zorder=9,
        bbox={"facecolor": "black", "alpha": 0.6, "edgecolor": "none", "pad": 1.2},
    )


def image_axes(axes: Axes) -> None:
    """Take ticks and frame from an axes that shows an image."""
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def colour_bar(figure: Figure, mappable, axes, label: str, extend: str = "neither", **kwargs):
    """A thin colour bar whose label carries the quantity and its unit."""
    bar = figure.colorbar(
        mappable, ax=axes, extend=extend, aspect=kwargs.pop("aspect", 22), pad=0.015, **kwargs
    )
    bar.outline.set_visible(False)
    bar.ax.tick_params(width=0.5, length=2, labelsize=6)
    bar.set_label(label, fontsize=6.5)
    return bar


def limits(values: np.ndarray, low: float = 1.0, high: float = 99.5) -> tuple[float, float]:
    """Range of a colour map: percentiles of the finite values, never empty."""
    finite = np.asarray(values, float)
    finite = finite[np.isfinite(finite)]
    if finite.size == 0:
        return 0.0, 1.0
    bottom, top = np.percentile(finite, [low, high])
    return (float(bottom), float(top)) if top > bottom else (float(bottom) - 0.5, float(bottom) + 0.5)


def extend(values: np.ndarray, bottom: float, top: float) -> str:
    """Which ends of a colour bar stand for values beyond it."""
    finite = values[np.isfinite(values)]
    below, above = bool((finite < bottom).any()), bool((finite > top).any())
    return {(True, True): "both", (True, False): "min", (False, True): "max"}.get((below, above), "neither")
