"""White lines of Mn, Co and Ni: L3/L2 by a stated recipe, the position of L3, and what both depend on.

The recipe: power-law background below L3; plural scattering taken out; two steps in the ratio 2:1 at L3 and
L2, scaled to the continuum above L2; intensity above them within +-5 eV of L3 and +-4 eV of L2. A ratio means
something only beside others that were extracted in the same way: it is calibrated on named references.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np

from ceiflow.eels.densities import DETECTION_SIGMA
from ceiflow.eels.fine_structure.plural import single_scattering

LINES_EV = {"Mn": (642.5, 653.3), "Co": (780.3, 795.3), "Ni": (854.5, 872.0)}
HALF_L3_EV, HALF_L2_EV = 5.0, 4.0
STEP_WIDTH_EV = 1.0
# How far a line may stand from where it is looked for.
SEARCH_EV = 4.0
BACKGROUND_EV = (-40.0, -9.0)
CONTINUUM_EV = (9.0, 24.0)
# What of a spectrum is looked at: from below L3 to above L2.
WINDOW_EV = (-60.0, 40.0)
DRAWS = 200
# Rounds in which a window settles on its centroid.
CENTRINGS = 6


@dataclass
class WhiteLines:
    """L3 and L2 of one metal in one spectrum.

    `ratio` and `position_eV` have statistical errors; `ratio_sys` is the sensitivity to windows and steps.
    `reason` says why there is none; `l3` and `l3_se` then say whether L3 was looked for.
    """

    element: str
    ratio: float = np.nan
    ratio_se: float = np.nan
    ratio_sys: float = np.nan
    position_eV: float = np.nan
    position_se_eV: float = np.nan
    l3: float = np.nan
    l3_se: float = np.nan
    l2: float = np.nan
    reason: str = ""

    @property
    def known(self) -> bool:
        return not self.reason


@dataclass(frozen=True)
class Recipe:
    """The choices that the result could depend on."""

    half_l3_eV: float = HALF_L3_EV
    half_l2_eV: float = HALF_L2_EV
    background_start_eV: float = BACKGROUND_EV[0]
    continuum_start_eV: float = CONTINUUM_EV[0]
    step_shift_eV: float = 0.0


def variations() -> list[Recipe]:
    """Recipes around the stated one, one choice or two at a time."""
    recipes = [
        Recipe(half_l3_eV=a, half_l2_eV=b)
        for a, b in product((4.0, 5.0, 6.0), (3.0, 4.0, 5.0))
        if (a, b) != (5, 4)
    ]
    recipes += [Recipe(background_start_eV=start) for start in (-30.0, -50.0)]
    recipes += [Recipe(continuum_start_eV=start) for start in (7.0, 11.0)]
    return recipes + [Recipe(step_shift_eV=shift) for shift in (-1.0, 1.0)]


def find_lines(energy: np.ndarray, net: np.ndarray, element: str, shift_eV: float) -> tuple[float, float]:
    """Positions of L3 and L2: maxima near where they are expected, L2 at the table's distance from L3."""
    first, second = LINES_EV[element]
    near = np.abs(energy - first - shift_eV) <= SEARCH_EV
    smooth = _smooth(net, energy[1] - energy[0])
    peak = energy[near][np.argmax(smooth[near])]
    l3 = centroid(energy, smooth, peak, 1.2)
    apart = np.abs(energy - l3 - (second - first)) <= 1.8
    l2 = centroid(energy, smooth, energy[apart][np.argmax(smooth[apart])], 1.2)
    return l3, l2


def _smooth(values: np.ndarray, step: float) -> np.ndarray:
    # An odd number of channels: an even one would move every line by half a channel.
    width = 2 * round(0.5 / step) + 1
    return np.convolve(values, np.ones(width) / width, mode="same")


def centroid(energy: np.ndarray, values: np.ndarray, at: float, reach: float) -> float:
    """Centroid of what stands within `reach` of itself, found from `at` on.

    The window ends between channels and moves with the centroid: else the one jumps with the other.
    """
    step = energy[1] - energy[0]
    weight = np.clip(values, 0, None)
    for _ in range(CENTRINGS):
        inside = weight * np.clip((reach + step / 2 - np.abs(energy - at)) / step, 0, 1)
        if not inside.sum() > 0:
            break
        at = inside @ energy / inside.sum()
    return float(at)


def window_sum(energy: np.ndarray, values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Integral of (..., n) values between two energies, with the parts of channels at the ends."""
    step = energy[1] - energy[0]
    share = np.clip((np.minimum(energy + step / 2, high) - np.maximum(energy - step / 2, low)) / step, 0, 1)
    return values @ share


def ratio_of(
    energy: np.ndarray, single: np.ndarray, l3: float, l2: float, recipe: Recipe
) -> tuple[np.ndarray, np.ndarray]:
    """L3 and L2 intensities above two steps of (..., n) single-scattering edges."""
    from scipy.special import erf

    def step(at: float) -> np.ndarray:
        return 0.5 * (1 + erf((energy - at - recipe.step_shift_eV) / (STEP_WIDTH_EV * np.sqrt(2))))

    above = (energy >= l2 + recipe.continuum_start_eV) & (energy <= l2 + CONTINUUM_EV[1])
    height = single[..., above].mean(-1)[..., None]
    steps = height * (2 / 3 * step(l3) + 1 / 3 * step(l2))
    lines = single - steps
    half = 0.5 * (l2 - l3)
    first = window_sum(energy, lines, l3 - recipe.half_l3_eV, l3 + min(recipe.half_l3_eV, half))
    second = window_sum(energy, lines, l2 - min(recipe.half_l2_eV, half), l2 + recipe.half_l2_eV)
    return first, second


def remove_background(energy: np.ndarray, counts: np.ndarray, l3: float, recipe: Recipe) -> np.ndarray:
    """(..., n) counts without the power law of the window below L3; a constant where that is short."""
    low, high = l3 + recipe.background_start_eV, l3 + BACKGROUND_EV[1]
    before = (energy >= low) & (energy <= high)
    if before.sum() * (energy[1] - energy[0]) < 12.0:
        # A reference that begins just below its lines has had its background removed, but for a constant.
        before = energy <= energy[0] + 1.5
        return counts - counts[..., before].mean(-1)[..., None]
    level = counts[..., before]
    mean = np.maximum(level.mean(-1), 1e-12)[..., None]
    log = np.log(energy / energy[before].mean())
    design = np.stack([np.ones(before.sum()), log[before]], 1)
    # Linear in the logarithm, but weighted as counts are and free of its bias: one Gauss-Newton step more.
    solution = np.linalg.lstsq(design, (level / mean - 1).T.reshape(before.sum(), -1), rcond=None)[0]
    slope = solution[1].reshape(mean.shape)
    amount = (1 + solution[0]).reshape(mean.shape) * mean
    model = amount * np.exp(slope * log)
    for _ in range(2):
        rest = level - model[..., before]
        columns = model[..., before][..., None] * design
        gram = np.swapaxes(columns, -1, -2) @ columns
        step = np.linalg.solve(gram, (np.swapaxes(columns, -1, -2) @ rest[..., None]))[..., 0]
        amount = amount * np.exp(step[..., 0])[..., None]
        slope = slope + step[..., 1][..., None]
        model = amount * np.exp(slope * log)
    return counts - model


def white_lines(
    energy_eV: np.ndarray,
    counts: np.ndarray,
    element: str,
    kernel: tuple[np.ndarray, int] | None,
    gain: float = 1.0,
    shift_eV: float = 0.0,
    seed: int = 0,
    background: np.ndarray | None = None,
    others: bool = True,
) -> WhiteLines:
    """L3/L2 and the position of L3 in one summed spectrum.

    Parameters
    ----------
    energy_eV, counts : (n,) array
        Dark level removed.
    element : {"Mn", "Co", "Ni"}
    kernel : ((k,) array, int) or None
        Low loss; None leaves plural scattering in.
    gain : float
        Counts per electron; 0 for a reference without counting noise.
    shift_eV : float
        Where lines are looked for, relative to the table.
    seed : int
        Of the draws of counting noise.
    background : (n,) array, optional
        Of other edges that run under this one, taken off first.
    others : bool
        Whether the other recipes are tried, for `ratio_sys`.
    """
    l3, l2 = (at + shift_eV for at in LINES_EV[element])
    keep = (energy_eV >= l3 + WINDOW_EV[0]) & (energy_eV <= l2 + WINDOW_EV[1])
    energy = energy_eV[keep]
    if energy.size < 20 or energy[0] > l3 - 4 or energy[-1] < l2 + 5:
        return WhiteLines(element, reason=f"{element} L lies outside the range")
    step = energy[1] - energy[0]
    y = counts[keep].astype(np.float64)
    other = background[keep] if background is not None else 0.0
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((DRAWS, y.size)) if gain else np.zeros((0, y.size))
    drawn = np.concatenate([y[None], y + noise * np.sqrt(gain * np.maximum(y, 1.0))]) - other

    def measured(recipe: Recipe, data: np.ndarray, at: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
        net = remove_background(energy, data, at[0], recipe)
        return ratio_of(energy, single_scattering(net, kernel, step), *at, recipe)

    plain = Recipe()
    net = remove_background(energy, drawn, l3, plain)
    at = find_lines(energy, net[0], element, shift_eV)
    if at[1] + CONTINUUM_EV[0] > energy[-1] - 2:
        return WhiteLines(element, reason=f"no continuum above {element} L2 within the range")
    first, second = measured(plain, drawn, at)
    spread = [float(values[1:].std(ddof=1)) if gain else 0.0 for values in (first, second)]
    for name, value, error in zip(("L3", "L2"), (first[0], second[0]), spread, strict=True):
        if not value > DETECTION_SIGMA * error or not value > 0:
            why = f"{element} {name} does not stand above its detection limit"
            return WhiteLines(element, l3=float(first[0]), l3_se=spread[0], reason=why)
    ratios = first / second
    recipes = variations() if others else [plain]
    other_ways = np.array([np.divide(*measured(recipe, drawn[:1], at))[0] for recipe in recipes])
    positions = [find_lines(energy, row, element, shift_eV)[0] for row in net[1:60]]
    return WhiteLines(
        element,
        float(ratios[0]),
        _spread(ratios[1:]) if gain else 0.0,
        float(np.sqrt(np.mean((other_ways - ratios[0]) ** 2))),
        at[0],
        float(np.std(positions, ddof=1)) if positions else 0.0,
        float(first[0]),
        spread[0],
        float(second[0]),
    )


def _spread(values: np.ndarray) -> float:
    """Standard deviation by quantiles: a ratio of counts has long tails."""
    low, high = np.quantile(values, [0.1587, 0.8413])
    return float((high - low) / 2)
