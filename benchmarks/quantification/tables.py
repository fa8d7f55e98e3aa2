"""The tables in words and numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import simulate
from compare import METHODS, Found

# The ratios that the project has aims for.
AIMS = (("exspy", "lm"), ("pyeelsmodel", "weighted"))


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table with padded columns."""
    widths = [max(len(str(line[i])) for line in (head, *rows)) for i in range(len(head))]
    lines = [head, ["-" * width for width in widths], *rows]
    return "\n".join(
        "| " + " | ".join(str(cell).ljust(width) for cell, width in zip(line, widths, strict=True)) + " |"
        for line in lines
    )


def accuracy(
    found: Found, dose: str, scene: simulate.Scene, bound: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """RMSE over the bound of each element, and its bias in the phase that has it, relative."""
    level = simulate.DOSES["high" if dose == "exact" else dose]
    pixels = np.concatenate(found.pixels[dose])
    amplitude = np.concatenate(found.amplitudes[dose]) / level
    truth, layer = scene.amplitude[pixels], scene.layer[pixels]
    error = amplitude - truth
    ratio = np.sqrt(np.mean((error / bound[pixels]) ** 2, axis=0))
    inside = [layer, layer, layer, ~layer]
    bias = [error[where, i].mean() / truth[where, i].mean() for i, where in enumerate(inside)]
    return ratio, np.array(bias)


def numbers(values: np.ndarray, form: str) -> str:
    return " ".join(form.format(value) if abs(value) < 1000 else f"{value:.0e}" for value in values)


def comparison(found: dict, complaints: dict, scene: simulate.Scene) -> tuple[str, dict[str, float]]:
    """The first table and what it says in single numbers."""
    bounds = {name: simulate.cramer_rao(scene, dose) for name, dose in simulate.DOSES.items()}
    bounds["exact"] = bounds["high"]
    own = np.median(found["own", "fit"].rates)
    rows, facts = [], {}
    for key, words in METHODS.items():
        if key not in found:
            continue
        item = found[key]
        rate = float(np.median(item.rates))
        spread = f"{min(item.rates):.2g}-{max(item.rates):.2g}"
        by_dose = {dose: accuracy(item, dose, scene, bounds[dose]) for dose in item.pixels}
        rows.append([
            words, f"{rate:.2g} ({spread})", f"{rate / own:.3g}",
            str(np.concatenate(item.pixels["high"]).size),
            *(numbers(by_dose[dose][0], "{:.2f}") for dose in simulate.DOSES),
            *(numbers(100 * by_dose[dose][1], "{:+.1f}") for dose in simulate.DOSES),
            f"{by_dose['exact'][0].max():.2f}",
        ])  # fmt: skip
        if key in AIMS:
            facts[f"{words}, CPU time over that of ceiflow"] = rate / own
    facts["ceiflow: largest RMSE/CRLB"] = max(
        accuracy(found["own", "fit"], dose, scene, bounds[dose])[0].max() for dose in simulate.DOSES
    )
    head = ["program", "CPU s per 1000 spectra (range)", "times ceiflow", "spectra a dose",
            "RMSE/CRLB C O F Mn, 200 counts", "5 counts", "bias %, 200 counts", "bias %, 5 counts",
            "without noise"]  # fmt: skip
    text = table(head, rows)
    for program, complaint in complaints.items():
        text += f"\n\n{program} did not finish: {complaint}"
    return text, facts
