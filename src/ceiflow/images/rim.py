"""Overviews and dark-field images: brightness as a share of the particle's, from 0 in vacuum to 1."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from ceiflow.images.field import Field, clean, pool, smooth
from ceiflow.images.matter import matter_field


def rim_field(
    image: np.ndarray, pixel_size_nm: float, modality: str = "adf", matter: Field | None = None
) -> Field:
    """Brightness over vacuum, the particle's plateau 1: where a rim is a step between 0 and 1.

    Dark field is proportional to mass thickness; of bright field the logarithm is taken, which is.

    Parameters
    ----------
    image : (rows, columns) array
        Intensities.
    pixel_size_nm : float
        Width of a pixel, in nm.
    modality : {"adf", "tem", "hrtem"}
        Dark or bright field.
    matter : Field or None
        From `matter_field`; made here where it is not given.

    Returns
    -------
    Field
        `values` on the grid of `matter`, without averaging beyond its blocks; `level` 0.5; `null_sigma` the
        noise of one sample in vacuum; `maps["sigma"]` that of every sample, growing with the signal;
        `maps["matter"]`. `notes["rim"]` False, with `reason`, where there is no vacuum or no particle to
        scale by.
    """
    if matter is None:
        matter = matter_field(image, pixel_size_nm, modality)
    cleaned, notes = clean(image)
    pooled = pool(cleaned, matter.bin)
    notes |= {"modality": modality, "rim": bool(matter.notes["vacuum"] and matter.notes["matter"])}
    body = ndimage.binary_fill_holes(matter.values > matter.level)
    empty = matter.maps["vacuum"] & ~body
    if not notes["rim"] or not empty.any() or not body.any():
        notes |= {"rim": False, "reason": "no vacuum or no particle in the frame"}
        return Field(
            np.zeros(pooled.shape, np.float32), matter.step_nm, 0.5, 0.0, float("nan"), notes, matter.bin
        )
    ground = _plane(pooled, empty)
    if modality == "adf":
        signal = pooled - ground
    else:
        signal = -np.log(np.maximum(pooled / np.maximum(ground, 1e-12), 1e-3))
    depth = ndimage.distance_transform_edt(np.pad(body, 1, mode="edge"))[1:-1, 1:-1] * matter.step_nm
    # The particle is what is brightest within reach of its edge: a rim may be some ten nm wide.
    near = body & (depth < max(60.0, 0.3 * float(depth.max())))
    plateau = max(float(np.percentile(signal[near], 75)), 1e-12)
    values = (signal / plateau).astype(np.float32)
    rest = values - smooth(values, 1.5)
    # What the average itself takes out of white noise is put back.
    sigma = np.sqrt(smooth(rest**2, 5.0) / 0.87)
    return Field(
        values,
        matter.step_nm,
        0.5,
        matter.step_nm / np.sqrt(12),
        float(np.median(sigma[empty])),
        notes | {"plateau": plateau, "reason": ""},
        matter.bin,
        matter.valid,
        {"sigma": sigma.astype(np.float32), "matter": body},
    )


def _plane(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    from ceiflow.images.vacuum import followed

    return followed(image, mask)
