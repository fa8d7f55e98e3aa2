"""The screenshots of docs/your-data.md: `python docs/screenshots.py config/examples/nmc-edge`."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

WIDTH = 1100
# Name, page below results/reports, and how much of it, in CSS pixels from the top.
PAGES = (
    ("study-page", "study.html", 0, 640),
    ("cell-page", "cells/nmc-particle.html", 960, 1560),
    ("explorer-page", "explorer/edge-line.html", 0, 830),
)


def shoot(page: Path, picture: Path, top: int, bottom: int) -> None:
    """One page's strip between two heights, with few colours."""
    quiet = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking")
    with tempfile.TemporaryDirectory() as home:
        whole = Path(home) / "page.png"
        size = f"--window-size={WIDTH},{bottom}"
        call = [
            "chromium",
            *quiet,
            "--hide-scrollbars",
            f"--user-data-dir={home}/profile",
            size,
            "--virtual-time-budget=4000",
        ]
        subprocess.run([*call, f"--screenshot={whole}", page.as_uri()], check=True, capture_output=True)
        with Image.open(whole) as image:
            strip = image.convert("RGB").crop((0, top, WIDTH, bottom))
    strip.quantize(64, dither=Image.Dither.NONE).save(picture, optimize=True)


def main() -> None:
    """Take all of them from the finished study that the command line names."""
    reports = Path(sys.argv[1]).resolve() / "results" / "reports"
    for name, page, top, bottom in PAGES:
        shoot(reports / page, Path(__file__).parent / "images" / f"{name}.png", top, bottom)


if __name__ == "__main__":
    main()
