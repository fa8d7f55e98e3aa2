"""The particle's edge alone: where nothing shows a layer, the surface still has a place and an error."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ceiflow.layer import batch as _batch
from ceiflow.layer import profile as _p
from ceiflow.layer.profile import Profile, Species
from ceiflow.layer.starts import start

FloatArray = NDArray[np.float64]


def edge_below(
    distance_nm: FloatArray,
    segment: NDArray[np.intp],
    species: list[Species],
    pixel_nm: float,
    depth_nm: float,
    reach_nm: float,
) -> float:
    """Depth in nm below a contour at which the particle begins, for all segments together.

    For a contour round particle and layer, drawn in a map that does not tell the two apart. Sharp edges are
    tried every quarter of a pixel, those of the particle with a slope inside, and something more between
    edge and contour for what may be in the layer; the best one starts the fit.

    Parameters
    ----------
    distance_nm, segment : (n,) arrays
        Of every pixel, from the contour; segment -1 is left out.
    species : list of Species
    pixel_nm, depth_nm, reach_nm : float
        The edge is looked for down to `depth_nm`, in pixels no further than `reach_nm` outside.

    Returns
    -------
    float
        0 where there is nothing to go by.
    """
    depths = np.arange(-pixel_nm, depth_nm, _p.BIN_PIXELS * pixel_nm)
    misfit = np.zeros(len(depths))
    for item in species:
        use = (segment >= 0) & np.isfinite(item.values) & (item.variance > 0) & np.isfinite(distance_nm)
        use &= (distance_nm > -2 * depth_nm) & (distance_nm < reach_nm)
        x, root = distance_nm[use], 1.0 / np.sqrt(item.variance[use])
        for i, depth in enumerate(depths):
            inside = (x < -depth).astype(float)
            between = ((x >= -depth) & (x < 0)).astype(float)
            second = -(x + depth) * inside if item.particle else between
            columns = np.stack([np.ones(len(x)), inside, second], axis=1) * root[:, None]
            data = item.values[use] * root
            best, *_ = np.linalg.lstsq(columns, data, rcond=None)
            misfit[i] += np.sum((data - columns @ best) ** 2)
    return float(depths[int(np.argmin(misfit))]) if len(depths) else 0.0


def fit_edge(
    distance_nm: FloatArray,
    segment: NDArray[np.intp],
    particle: Species,
    n_segments: int,
    pixel_nm: float,
    inner_nm: float,
    outer_nm: float,
    why: str,
) -> Profile:
    """Edge of the particle in every segment, from its own map; thickness and limit are NaN.

    Parameters
    ----------
    distance_nm, segment : (n,) arrays
    particle : Species
        The particle's map.
    n_segments : int
    pixel_nm, inner_nm, outer_nm : float
    why : str
        Why there is no thickness; the only note.

    Returns
    -------
    Profile
        `x_in_nm` and `x_in_std_nm` are filled.
    """
    radii = np.full(n_segments, 1e6)
    reach = {"bin_nm": _p.BIN_PIXELS * pixel_nm, "inner_nm": inner_nm, "outer_nm": outer_nm}
    bare = [Species(particle.name, particle.values, particle.variance, particle=True, layered=False)]
    whole = _p.pool(distance_nm, np.where(segment >= 0, 0, -1), bare, 1, radii[:1], **reach)
    batch = _p.pool(distance_nm, segment, bare, n_segments, radii, **reach)
    zero = np.zeros(1)
    limits = {
        "blur_range": (_p.LEAST_BLUR_PIXELS * pixel_nm, 6 * pixel_nm + 3.0),
        "prior_x": (0.0, 10 * pixel_nm),
    }
    mean = min(
        (
            _batch.fit("planar", whole, start(1, whole.particle), guess * pixel_nm, zero, shared=("blur",),
                       free_thickness=False, **limits)
            for guess in (0.6, 1.5)
        ),
        key=lambda item: item.chi2.sum(),
    )  # fmt: skip
    edge = float(mean.x_in[0])
    fitted = _batch.fit(
        "planar", batch, start(n_segments, batch.particle, edge), mean.blur, zero, free_thickness=False,
        prior_x=(edge, 2 * pixel_nm),
    )  # fmt: skip
    dof = fitted.n_data.sum() - fitted.local.size
    scale = float(np.sqrt(max(1.0, fitted.chi2.sum() / dof))) if dof > 0 else 1.0
    nothing = np.full(n_segments, np.nan)
    return Profile(
        kind="planar",
        compared={},
        x_in_nm=fitted.x_in,
        x_in_std_nm=scale * fitted.own_std(0),
        thickness_nm=nothing,
        std_nm=nothing,
        own_std_nm=nothing,
        common_covariance_nm2=np.zeros((n_segments, n_segments)),
        null_std_nm=nothing,
        lod_nm=nothing,
        present=np.zeros(n_segments, dtype=bool),
        blur_nm=fitted.blur,
        amplitude={},
        amplitude_std={},
        amplitude_source="none",
        segment_chi2=fitted.chi2 / np.maximum(fitted.n_data - fitted.local.shape[1], 1.0),
        chi2_per_dof=float(fitted.chi2.sum() / max(dof, 1.0)),
        significance=0.0,
        notes=[why],
    )
