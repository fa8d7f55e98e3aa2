"""Batched least squares of edge profiles: many segments at once, some parameters shared by all.

Every segment has its own edge position, layer thickness and linear coefficients; the blur and the
layer's amplitudes belong to all of them. The normal equations have arrow shape: local blocks are
eliminated (Schur complement), so the cost is linear in the number of segments and the errors of the
shared parameters reach every thickness.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ceiflow.layer.algebra import arrow_step, inverse, solve
from ceiflow.layer.kernels import basis, outside
from ceiflow.layer.known import of_edges

FloatArray = NDArray[np.float64]

X_IN, THICKNESS = 0, 1
#: A segment stops when a step wins less than this of its chi-square per degree of freedom.
CONVERGED = 1e-3


@dataclass(frozen=True)
class Batch:
    """Binned profiles of K segments, S species, B bins.

    Parameters
    ----------
    x : (K, B) array
        Mean distance of the pixels of each bin.
    y, weight : (S, K, B) arrays
        Mean value per pixel, and one over its variance; weight 0 where nothing was recorded.
    particle : (S,) bool array
        Species of the particle: a step, and a slope inside.
    layered : (S,) bool array
        Species that may stand in the layer.
    radius : (K,) array
        Radius of curvature of the surface.
    outer : (mean, sd), optional
        What is known of the outer end, edge position plus thickness, of every segment before.
    """

    x: FloatArray
    y: FloatArray
    weight: FloatArray
    particle: NDArray[np.bool_]
    layered: NDArray[np.bool_]
    radius: FloatArray
    outer: tuple[float, float] | None = None

    def select(self, segments: NDArray) -> Batch:
        """The same, of some segments."""
        return replace(
            self,
            x=self.x[segments],
            y=self.y[:, segments],
            weight=self.weight[:, segments],
            radius=self.radius[segments],
        )


@dataclass
class Fit:
    """Parameters and their covariance.

    Parameters
    ----------
    kind : {"planar", "shell"}
    local : (K, L) array
        Edge position, thickness, then the linear coefficients species by species.
    blur : float
    amplitude : (S,) array
        Layer amplitude per species; 0 for one that is not in the layer.
    chi2 : (K,) array
    n_data : (K,) array
    covariance : (K, L, L) array
        Of the local parameters at given shared ones.
    sensitivity : (K, L, H) array
        Change of the local parameters with the H free shared ones.
    shared_covariance : (H, H) array
    shared_names : tuple of str
        "blur" or "amplitude:<species number>".
    """

    kind: str
    local: FloatArray
    blur: float
    amplitude: FloatArray
    chi2: FloatArray
    n_data: FloatArray
    covariance: FloatArray
    sensitivity: FloatArray
    shared_covariance: FloatArray
    shared_names: tuple[str, ...]

    @property
    def x_in(self) -> FloatArray:
        return self.local[:, X_IN]

    @property
    def thickness(self) -> FloatArray:
        return self.local[:, THICKNESS]

    def own_std(self, which: int = THICKNESS) -> FloatArray:
        """Standard deviation from the segment's own counts."""
        return np.sqrt(self.covariance[:, which, which])

    def common_covariance(self, which: int = THICKNESS) -> FloatArray:
        """(K, K) covariance that comes from the shared parameters."""
        s = self.sensitivity[:, which, :]
        return s @ self.shared_covariance @ s.T

    def std(self, which: int = THICKNESS) -> FloatArray:
        """Standard deviation with the shared parameters' part."""
        return np.sqrt(self.covariance[:, which, which] + np.diag(self.common_covariance(which)))

    def shared_std(self, name: str) -> float:
        """Standard deviation of a shared parameter; NaN if it was held."""
        if name not in self.shared_names:
            return float("nan")
        at = self.shared_names.index(name)
        return float(np.sqrt(self.shared_covariance[at, at]))


def linear_columns(particle: NDArray[np.bool_]) -> list[slice]:
    """Where in the local parameters each species' coefficients stand."""
    slices, start = [], 2
    for heavy in particle:
        size = 3 if heavy else 2
        slices.append(slice(start, start + size))
        start += size
    return slices


def _columns(kind, batch, x_in, thickness, w):
    """Linear columns per species, (K, B, n), and the layer's shape (K, B)."""
    particle, depth, inner, layer = basis(
        kind, batch.x, x_in[:, None], thickness[:, None], w, batch.radius[:, None]
    )
    one = np.ones_like(batch.x)
    heavy = np.stack([one, particle, depth], axis=-1)
    light = np.stack([one, inner], axis=-1)
    return [heavy if is_heavy else light for is_heavy in batch.particle], layer


def _predict(columns, layer, local, amplitude, slices):
    return np.stack(
        [
            np.einsum("kbn,kn->kb", design, local[:, where]) + amplitude[s] * layer
            for s, (design, where) in enumerate(zip(columns, slices, strict=True))
        ]
    )


def solve_linear(
    kind: str, batch: Batch, local: FloatArray, blur: float, amplitude: FloatArray
) -> FloatArray:
    """Local parameters with the best linear coefficients at the given edges."""
    columns, layer = _columns(kind, batch, local[:, X_IN], local[:, THICKNESS], blur)
    return _solved(batch, local, amplitude, columns, layer)


def _solved(batch: Batch, local: FloatArray, amplitude: FloatArray, columns, layer) -> FloatArray:
    """As `solve_linear`, where the columns at these edges are known."""
    slices = linear_columns(batch.particle)
    local = local.copy()
    for s, (design, where) in enumerate(zip(columns, slices, strict=True)):
        weighted = (design * batch.weight[s][..., None]).transpose(0, 2, 1)
        right = (weighted @ (batch.y[s] - amplitude[s] * layer)[..., None])[..., 0]
        local[:, where] = solve(weighted @ design, right)
    return local


def chi2_of(kind: str, batch: Batch, local: FloatArray, blur: float, amplitude: FloatArray) -> FloatArray:
    """chi-square (K,) of given edges, blur and amplitudes (S, K), the linear coefficients at their best."""
    columns, layer = _columns(kind, batch, local[:, X_IN], local[:, THICKNESS], blur)
    total = np.zeros(len(local))
    for s, design in enumerate(columns):
        weighted = design * batch.weight[s][..., None]
        rest = batch.y[s] - amplitude[s][:, None] * layer
        normal = np.einsum("kbm,kbn->kmn", weighted, design)
        coefficient = solve(normal, np.einsum("kbm,kb->km", weighted, rest))
        total += np.sum(batch.weight[s] * (rest - (design @ coefficient[..., None])[..., 0]) ** 2, axis=1)
    return total


def _derivatives(kind, batch, local, blur, amplitude, shared, free_thickness):
    """Model, Jacobian by local and by shared parameters, each flattened over species and bins."""
    slices = linear_columns(batch.particle)
    x_in, thickness = local[:, X_IN], local[:, THICKNESS]
    h = 1e-4 * blur
    columns, layer = _columns(kind, batch, x_in, thickness, blur)
    model = _predict(columns, layer, local, amplitude, slices)

    def difference(x, t, w):
        moved, moved_layer = _columns(kind, batch, x, t, w)
        return (_predict(moved, moved_layer, local, amplitude, slices) - model) / h

    n_species, n_segments, n_bins = batch.y.shape
    by_local = np.zeros((n_segments, n_species, n_bins, local.shape[1]))
    by_local[..., X_IN] = difference(x_in + h, thickness, blur).transpose(1, 0, 2)
    if free_thickness:
        # The thickness moves the layer's outer edge and nothing else.
        u, radius = batch.x - x_in[:, None], batch.radius[:, None]
        radius = radius if kind == "tilted" else radius + thickness[:, None]
        further = 0.0 if kind == "tilted" else h
        u = u - thickness[:, None]
        moved = outside(kind, u - h, blur, radius + further) - outside(kind, u, blur, radius)
        by_local[..., THICKNESS] = amplitude[:, None] * moved[:, None] / h
    for s, (design, where) in enumerate(zip(columns, slices, strict=True)):
        by_local[:, s, :, where] = design
    by_shared = np.zeros((n_segments, n_species, n_bins, len(shared)))
    for at, name in enumerate(shared):
        if name == "blur":
            by_shared[..., at] = difference(x_in, thickness, blur + h).transpose(1, 0, 2)
        else:
            s = int(name.split(":")[1])
            by_shared[:, s, :, at] = layer
    flat = (n_segments, n_species * n_bins)
    return (
        model.transpose(1, 0, 2).reshape(flat),
        by_local.reshape(*flat, -1),
        by_shared.reshape(*flat, -1),
    )


def fit(
    kind: str,
    batch: Batch,
    local: FloatArray,
    blur: float,
    amplitude: FloatArray,
    *,
    shared: tuple[str, ...] = (),
    free_thickness: bool = True,
    prior_x: tuple[float, float] | None = None,
    blur_range: tuple[float, float] = (1e-3, np.inf),
    thickness_range: tuple[float, float] = (-np.inf, np.inf),
    iterations: int = 60,
    free_linear: bool = True,
) -> Fit:
    """Weighted least squares by damped Gauss-Newton steps.

    Parameters
    ----------
    kind : {"planar", "shell"}
    batch : Batch
    local, blur, amplitude
        Start; the linear coefficients are solved for first.
    shared : tuple of str
        Shared parameters that are free: "blur", "amplitude:<species number>".
    free_thickness : bool
        Without it the thickness stays at its start (0 is the model without a layer).
    prior_x : (mean, sd), optional
        What is known of the edge positions before.
    blur_range, thickness_range : (low, high)
        Steps are clipped to these.
    iterations : int
        At most this many steps.
    free_linear : bool
        Without it the linear coefficients, too, stay at their start (where there are no steps).
    """
    data = batch.y.transpose(1, 0, 2).reshape(batch.y.shape[1], -1)
    weight = batch.weight.transpose(1, 0, 2).reshape(data.shape)
    amplitude = np.array(amplitude, dtype=float)
    local = np.array(local, dtype=float)
    local = solve_linear(kind, batch, local, blur, amplitude) if free_linear else local
    n_local = local.shape[1]
    known = of_edges(prior_x, batch.outer, n_local, free_thickness)

    def cost_of(model, local):
        return np.sum(weight * (data - model) ** 2, axis=1) + known.cost(local)

    def blocks(local, blur, amplitude):
        model, jl, js = _derivatives(kind, batch, local, blur, amplitude, shared, free_thickness)
        wl = jl * weight[..., None]
        residual = data - model
        gll = np.einsum("kdi,kdj->kij", wl, jl) + known.information
        if not free_thickness:
            gll[:, THICKNESS, THICKNESS] = 1.0
        gl = np.einsum("kdi,kd->ki", wl, residual) + known.pull(local)
        gls = np.einsum("kdi,kdj->kij", wl, js)
        ws = js * weight[..., None]
        gss = np.einsum("kdi,kdj->ij", ws, js)
        gs = np.einsum("kdi,kd->i", ws, residual)
        return cost_of(model, local), gll, gl, gls, gss, gs

    def solved_cost(local, blur, amplitude):
        columns, layer = _columns(kind, batch, local[:, X_IN], local[:, THICKNESS], blur)
        local = _solved(batch, local, amplitude, columns, layer)
        model = _predict(columns, layer, local, amplitude, linear_columns(batch.particle))
        return local, cost_of(model.transpose(1, 0, 2).reshape(data.shape), local)

    if not shared and iterations:
        local = _each(kind, batch, local, blur, amplitude, known, thickness_range, free_thickness, iterations)
        iterations = 0
    damping, current = 1e-3, blocks(local, blur, amplitude)
    for _ in range(iterations):
        cost, gll, gl, gls, gss, gs = current
        step_local, step_shared = arrow_step(gll, gl, gls, gss, gs, damping)
        new_local = local + step_local
        new_local[:, THICKNESS] = np.clip(new_local[:, THICKNESS], *thickness_range)
        new_blur, new_amplitude = blur, amplitude.copy()
        for at, name in enumerate(shared):
            if name == "blur":
                new_blur = float(np.clip(blur + step_shared[at], *blur_range))
            else:
                new_amplitude[int(name.split(":")[1])] += step_shared[at]
        new_local, new_cost = solved_cost(new_local, new_blur, new_amplitude)
        if shared:
            better = np.full(len(cost), new_cost.sum() <= cost.sum())
        else:
            better = new_cost <= cost
        gain = float(np.sum((cost - new_cost)[better]))
        local = np.where(better[:, None], new_local, local)
        if better.all():
            blur, amplitude = new_blur, new_amplitude
            damping = max(damping / 5, 1e-9)
        else:
            damping *= 8
        if (better.all() and gain < 1e-7 * (1 + cost.sum())) or damping > 1e8:
            break
        current = blocks(local, blur, amplitude)
    # Without a step the blocks are those of the start.
    cost, gll, _, gls, gss, _ = blocks(local, blur, amplitude) if iterations else current
    covariance = inverse(gll)
    if not free_thickness:
        covariance[:, THICKNESS, :] = covariance[:, :, THICKNESS] = 0.0
    schur = gss - np.einsum("kij,kil,klm->jm", gls, covariance, gls)
    shared_covariance = inverse(schur) if shared else np.zeros((0, 0))
    return Fit(
        kind, local, float(blur), amplitude, cost, np.sum(weight > 0, axis=1).astype(float), covariance,
        -covariance @ gls, shared_covariance, tuple(shared),
    )  # fmt: skip


def _each(kind, batch, local, blur, amplitude, known, thickness_range, free_thickness, iterations):
    """Local parameters of segments that share nothing: each has its own damping, and stops by itself."""
    local, left, damping = local.copy(), np.arange(len(batch.x)), np.full(len(batch.x), 1e-3)
    slices = linear_columns(batch.particle)

    def cost_of(part, model, local):
        return np.einsum("skb,skb->k", part.weight, (part.y - model) ** 2) + known.cost(local)

    for _ in range(iterations):
        part, now = batch.select(left), local[left]
        model, jacobian, _ = _derivatives(kind, part, now, blur, amplitude, (), free_thickness)
        weight = part.weight.transpose(1, 0, 2).reshape(model.shape)
        residual = part.y.transpose(1, 0, 2).reshape(model.shape) - model
        weighted = (jacobian * weight[..., None]).transpose(0, 2, 1)
        normal, right = weighted @ jacobian, (weighted @ residual[..., None])[..., 0]
        normal, right = normal + known.information, right + known.pull(now)
        if not free_thickness:
            normal[:, THICKNESS, THICKNESS] = 1.0
        cost = np.sum(weight * residual**2, axis=1) + known.cost(now)
        diagonal = np.einsum("kii->ki", normal)
        damped = normal + (damping[left][:, None] * diagonal)[:, :, None] * np.eye(normal.shape[1])
        trial = now + solve(damped, right)
        trial[:, THICKNESS] = np.clip(trial[:, THICKNESS], *thickness_range)
        columns, layer = _columns(kind, part, trial[:, X_IN], trial[:, THICKNESS], blur)
        trial = _solved(part, trial, amplitude, columns, layer)
        gain = cost - cost_of(part, _predict(columns, layer, trial, amplitude, slices), trial)
        better = gain >= 0
        local[left[better]] = trial[better]
        damping[left] = np.where(better, np.maximum(damping[left] / 5, 1e-9), damping[left] * 8)
        # A thousandth of a unit of chi-square is a thirtieth of a standard deviation.
        enough = CONVERGED * np.maximum(1.0, cost / np.maximum(np.sum(weight > 0, axis=1), 1))
        left = left[~((better & (gain < enough)) | (damping[left] > 1e8))]
        if not len(left):
            break
    return local
