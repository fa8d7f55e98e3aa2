"""Linear mixed model of nested random intercepts: REML, and Kenward-Roger inference for one contrast.

Cells are independent blocks, so that every matrix is a stack of small ones. All functions take leading
dimensions of many data sets of one design at once (a simulation is one call); a single data set has none.

Variance components may come out negative as long as the covariance of the data stays positive definite, so
that the tests keep their size where a component is near 0 (Stroup & Littell 2002, Impact of variance
component estimates on fixed effect inference in unbalanced linear mixed models): the balanced model is then
the t test on cell means exactly. Where the likelihood has no such maximum (very unequal numbers), components
are kept at or above 0, and keep their place in the degrees of freedom. Reported components are cut at 0 and
flagged by whoever prints them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

MAX_STEPS = 200
#: Steps after which they are halved: with known variances full ones may swing about the maximum for long.
WHOLE_STEPS = 20
MAX_HALVINGS = 12
TOLERANCE = 1e-8


@dataclass(frozen=True)
class Design:
    """Blocks of a nested design, shared by all data sets.

    Attributes
    ----------
    order : (b, m) int array
        Place of each value in the table that the design was made from; -1 where a block is padded.
    structures : (k, b, m, m) array
        1 where two values share a unit of the level, from the top level down.
    levels : k names
        Levels that the design replicates; one that it does not cannot be told from the level above.
    """

    order: np.ndarray
    structures: np.ndarray
    levels: tuple[str, ...]

    @property
    def mask(self) -> np.ndarray:
        return self.order >= 0

    def blocks(self, values: np.ndarray) -> np.ndarray:
        """(..., n) values as (..., b, m) blocks, 0 where padded."""
        return np.where(self.mask, np.asarray(values, float)[..., self.order], 0.0)


@dataclass(frozen=True)
class Fit:
    """REML fit of many data sets of one design.

    Attributes
    ----------
    beta, covariance : (..., p), (..., p, p) arrays
        Fixed effects and their model covariance.
    variances : (..., k) array
        Components from the top level down; may be negative.
    information : (..., k, k) array
        Expected REML information of the components.
    first, second : (..., k, p, p), (..., k, k, p, p) arrays
        X' V^-1 G_i V^-1 X and X' V^-1 G_i V^-1 G_j V^-1 X.
    converged : (...) bool array
    bounded : (...) bool array
        The free fit had no maximum, and the components were kept from falling below 0.
    """

    beta: np.ndarray
    covariance: np.ndarray
    variances: np.ndarray
    information: np.ndarray
    first: np.ndarray
    second: np.ndarray
    converged: np.ndarray
    bounded: np.ndarray


@dataclass(frozen=True)
class Inference:
    """A contrast of fixed effects: estimate, adjusted standard error (NaN for none), degrees of freedom."""

    estimate: np.ndarray
    se: np.ndarray
    df: np.ndarray

    def p_value(self, direction: str = "two_sided") -> np.ndarray:
        """P-value of "the contrast is 0" against the stated direction."""
        t = self.estimate / self.se
        if direction == "two_sided":
            return 2 * stats.t.sf(np.abs(t), self.df)
        return stats.t.sf(t if direction == "greater" else -t, self.df)

    def interval(self, alpha: float) -> tuple[np.ndarray, np.ndarray]:
        """Two-sided interval of level 1 - alpha."""
        reach = stats.t.ppf(1 - alpha / 2, self.df) * self.se
        return self.estimate - reach, self.estimate + reach


def nested_design(
    keys: Sequence[tuple], levels: Sequence[str] = ("cell", "particle", "region"), least: int = 1
) -> Design:
    """Blocks and structures of values whose keys name their unit at every level.

    Parameters
    ----------
    keys : n tuples
        (cell, particle, region, ...): unit of each value from the top level down; the whole tuple names the
        value's own unit at the lowest level, and has to be unique.
    levels : names of the levels
    least : int
        Units that a level must have more than the level above, for a component of its own.
    """
    depth = len(levels)
    if len(set(keys)) != len(keys):
        raise ValueError("two values of one unit at the lowest level: average them first")
    cells: dict[object, list[int]] = {}
    for place, key in enumerate(keys):
        cells.setdefault(key[0], []).append(place)
    width = max(len(own) for own in cells.values())
    order = np.full((len(cells), width), -1)
    for row, own in enumerate(cells.values()):
        order[row, : len(own)] = own
    counts = [len({key[: d + 1] for key in keys}) for d in range(depth)]
    kept = [0] + [d for d in range(1, depth) if counts[d] - counts[d - 1] >= least]
    structures = np.zeros((len(kept), *order.shape, width))
    for row, own in enumerate(cells.values()):
        for k, d in enumerate(kept):
            names = [keys[i][: d + 1] for i in own]
            structures[k, row, : len(own), : len(own)] = [[a == b for b in names] for a in names]
    return Design(order, structures, tuple(levels[d] for d in kept))


def reml(design: Design, y: np.ndarray, x: np.ndarray, known: np.ndarray | None = None) -> Fit:
    """Restricted maximum likelihood by Fisher scoring.

    Parameters
    ----------
    design : Design
    y : (..., n) array
        Values in the order of the design's table.
    x : (n, p) array
        Fixed effects of full rank.
    known : (..., n) array, optional
        Known measurement variances, which add to the diagonal and are not estimated.

    Returns
    -------
    Fit

    References
    ----------
    Patterson & Thompson (1971), Biometrika 58, 545.
    """
    y, x = np.asarray(y, float), np.asarray(x, float)
    lead = y.shape[:-1]
    data = design.blocks(y.reshape(-1, y.shape[-1]))
    fixed = np.moveaxis(design.blocks(x.T), 0, -1)
    errors = np.zeros(y.shape) if known is None else np.broadcast_to(known, y.shape)
    diagonal = design.blocks(errors.reshape(-1, y.shape[-1])) + ~design.mask
    arrays = (design.structures, fixed)
    start = _start(y.reshape(-1, y.shape[-1]), x, len(design.levels))
    theta, converged = _scoring(arrays, data, diagonal, start, bounded=False)
    lost = np.flatnonzero(~converged)
    if lost.size:
        theta[lost], converged[lost] = _scoring(arrays, data[lost], diagonal[lost], start[lost], bounded=True)
    bounded = np.zeros(len(data), bool)
    bounded[lost] = True
    state = _evaluate(*arrays, data, diagonal, theta)
    named = {
        "beta": state["beta"],
        "covariance": state["covariance"],
        "variances": theta,
        "information": state["information"],
        "first": state["first"],
        "second": state["second"],
        "converged": converged,
        "bounded": bounded,
    }
    return Fit(**{name: value.reshape((*lead, *value.shape[1:])) for name, value in named.items()})


def _scoring(
    arrays: tuple[np.ndarray, np.ndarray],
    data: np.ndarray,
    diagonal: np.ndarray,
    start: np.ndarray,
    bounded: bool,
) -> tuple[np.ndarray, np.ndarray]:
    """Components of many data sets, and whether each has converged; not below 0 if `bounded`."""
    theta = start.copy()
    converged = np.zeros(len(data), bool)
    active = np.arange(len(data))
    for number in range(MAX_STEPS):
        whole = 1.0 if number < WHOLE_STEPS else 0.5
        y, d, now = data[active], diagonal[active], theta[active]
        state = _evaluate(*arrays, y, d, now)
        score, information = state["score"], state["information"]
        if bounded:
            # A component at 0 that wants below it stays there, and the others move without it.
            held = (now <= 0) & (score <= 0)
            score = np.where(held, 0.0, score)
            information = np.where(held[:, :, None] | held[:, None, :], 0.0, information)
            information += held[:, :, None] * np.eye(theta.shape[1])
        step = np.linalg.solve(information, score[..., None])[..., 0]
        scale = np.full(len(active), whole)
        for _ in range(MAX_HALVINGS):
            moved = now + scale[:, None] * step
            moved = np.maximum(moved, 0.0) if bounded else moved
            worse = ~(_covariance(*arrays, y, d, moved)["likelihood"] >= state["likelihood"] - 1e-10)
            if not worse.any():
                break
            scale = np.where(worse, scale / 2, scale)
        theta[active] = np.where(worse[:, None], now, moved)
        change = np.abs(theta[active] - now).max(axis=-1)
        small = change <= TOLERANCE * np.abs(theta[active]).max(axis=-1)
        # A halved step is small without being at the maximum.
        converged[active[small & ~worse & (scale == whole)]] = True
        active = active[~(small | worse)]
        if not active.size:
            break
    return theta, converged


def kenward_roger(fit: Fit, contrast: Sequence[float], least_df: float = 0.0) -> Inference:
    """Kenward and Roger's standard error and degrees of freedom of one contrast.

    Parameters
    ----------
    fit : Fit
    contrast : (p,) sequence
    least_df : float
        Degrees of freedom do not fall below this. A contrast of whole cells has those of the cells
        themselves, cells less fixed effects: exactly so where numbers are equal. Where they are not, the
        approximation falls short of them, and the test of its size (`docs/statistics.md`).

    Notes
    -----

    With a single numerator degree of freedom their F statistic needs no scaling, and their degrees of freedom
    are Satterthwaite's with the expected information; what is new is the larger standard error. Agrees with
    the R packages lmerTest and pbkrtest, which use the expected information too (SAS uses the observed one).

    References
    ----------
    Kenward & Roger (1997), Biometrics 53, 983.
    """
    c = np.asarray(contrast, float)
    phi, w = fit.covariance, np.linalg.inv(fit.information)
    inner = fit.second - np.einsum("...iab,...bc,...jcd->...ijad", fit.first, phi, fit.first)
    adjusted = phi + 2 * phi @ np.einsum("...ij,...ijab->...ab", w, inner) @ phi
    variance = np.einsum("a,...ab,b->...", c, phi, c)
    slopes = np.einsum("a,...ab,...ibc,...cd,d->...i", c, phi, fit.first, phi, c)
    spread = np.einsum("...i,...ij,...j->...", slopes, w, slopes)
    with np.errstate(invalid="ignore"):
        se = np.sqrt(np.einsum("a,...ab,b->...", c, adjusted, c))
    return Inference(
        estimate=np.einsum("a,...a->...", c, fit.beta),
        se=se,
        df=np.maximum(2 * variance**2 / spread, least_df),
    )


def _start(y: np.ndarray, x: np.ndarray, levels: int) -> np.ndarray:
    """Equal components that add up to the residual variance of ordinary least squares."""
    residual = y - y @ np.linalg.pinv(x).T @ x.T
    variance = (residual**2).sum(axis=-1) / max(1, y.shape[-1] - x.shape[1])
    return np.repeat(np.maximum(variance, 1e-300)[..., None] / levels, levels, axis=-1)


def _covariance(
    g: np.ndarray, x: np.ndarray, y: np.ndarray, diagonal: np.ndarray, theta: np.ndarray
) -> dict[str, np.ndarray]:
    """Restricted likelihood at some components, -inf where the covariance is not positive definite."""
    v = np.tensordot(theta, g, axes=1) + diagonal[..., None] * np.eye(y.shape[-1])
    least = np.linalg.eigvalsh(v).min(axis=(-1, -2))
    sound = least > 1e-9 * np.abs(theta).max(axis=-1)
    v = np.where(sound[:, None, None, None], v, np.eye(y.shape[-1]))
    inverse = np.linalg.inv(v)
    vx = inverse @ x
    precision = (x.swapaxes(-1, -2) @ vx).sum(axis=1)
    phi = np.linalg.inv(precision)
    beta = (phi @ (vx.swapaxes(-1, -2) @ y[..., None]).sum(axis=1))[..., 0]
    residual = y - (x @ beta[:, None, :, None])[..., 0]
    weighted = (inverse @ residual[..., None])[..., 0]
    likelihood = -0.5 * (
        np.linalg.slogdet(v)[1].sum(axis=-1)
        + np.linalg.slogdet(precision)[1]
        + (residual * weighted).sum(axis=(-1, -2))
    )
    return {
        "likelihood": np.where(sound, likelihood, -np.inf),
        "inverse": inverse,
        "vx": vx,
        "covariance": phi,
        "beta": beta,
        "weighted": weighted,
    }


def _evaluate(
    g: np.ndarray, x: np.ndarray, y: np.ndarray, diagonal: np.ndarray, theta: np.ndarray
) -> dict[str, np.ndarray]:
    """Likelihood, its score and expected information, and what inference needs, at some components.

    Shapes: g (k, b, m, m), x (b, m, p), y and diagonal (r, b, m), theta (r, k) for r data sets.
    """
    state = _covariance(g, x, y, diagonal, theta)
    inverse, vx, phi, weighted = (state[name] for name in ("inverse", "vx", "covariance", "weighted"))
    r, k, p = len(y), len(g), x.shape[-1]
    gv = g @ inverse[:, None]
    gvx = g @ vx[:, None]
    vgvx = inverse[:, None] @ gvx
    first = (vx[:, None].swapaxes(-1, -2) @ gvx).sum(axis=2)
    left = gvx.reshape(r, k, -1, p).swapaxes(-1, -2).reshape(r, k * p, -1)
    right = vgvx.reshape(r, k, -1, p).transpose(0, 2, 1, 3).reshape(r, -1, k * p)
    second = (left @ right).reshape(r, k, p, k, p).swapaxes(2, 3)
    trace = np.trace(gv, axis1=-2, axis2=-1).sum(axis=-1)
    trace = trace - (phi[:, None] * first.swapaxes(-1, -2)).sum(axis=(-1, -2))
    quadratic = (weighted[:, None] * (g @ weighted[:, None, ..., None])[..., 0]).sum(axis=(-1, -2))
    pf = phi[:, None] @ first
    products = gv.reshape(r, k, -1) @ gv.swapaxes(-1, -2).reshape(r, k, -1).swapaxes(-1, -2)
    crossed = (phi[:, None, None] * second.swapaxes(-1, -2)).sum(axis=(-1, -2))
    squares = pf.reshape(r, k, -1) @ pf.swapaxes(-1, -2).reshape(r, k, -1).swapaxes(-1, -2)
    return {
        **state,
        "score": 0.5 * (quadratic - trace),
        "information": 0.5 * (products - 2 * crossed + squares),
        "first": first,
        "second": second,
    }
