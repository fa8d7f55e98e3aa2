"""Normal equations of many segments at once, and of what they share."""

from __future__ import annotations

import numpy as np


def solve(normal, right):
    """Batched solution; directions without information stay at zero."""
    scale = np.sqrt(np.maximum(np.einsum("kii->ki", normal), 1e-300))
    scaled = normal / scale[:, :, None] / scale[:, None, :]
    scaled = scaled + 1e-9 * np.eye(scaled.shape[1])
    return np.linalg.solve(scaled, (right / scale)[..., None])[..., 0] / scale


def inverse(normal):
    diagonal = np.einsum("...ii->...i", normal)
    # A parameter without any information gets a huge variance, and not an infinite one.
    least = np.maximum(1e-24 * diagonal.max(axis=-1, keepdims=True), 1e-200)
    scale = np.sqrt(np.maximum(diagonal, least))
    scaled = normal / scale[..., :, None] / scale[..., None, :] + 1e-9 * np.eye(normal.shape[-1])
    return np.linalg.inv(scaled) / scale[..., :, None] / scale[..., None, :]


def arrow_step(gll, gl, gls, gss, gs, damping):
    """One damped step of all parameters; shared ones by the Schur complement."""
    diagonal = np.einsum("kii->ki", gll)
    damped = gll + damping * diagonal[:, :, None] * np.eye(gll.shape[1])
    back = inverse(damped)
    step = np.einsum("kij,kj->ki", back, gl)
    if not len(gs):
        return step, gs
    eliminated = np.einsum("kij,kil->kjl", gls, back)
    schur = gss + damping * np.diag(np.diag(gss)) - np.einsum("kjl,klm->jm", eliminated, gls)
    right = gs - np.einsum("kjl,kl->j", eliminated, gl)
    shared = solve(schur[None], right[None])[0]
    return step - np.einsum("kij,kjl,l->ki", back, gls, shared), shared
