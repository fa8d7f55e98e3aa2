"""How much of a layer shows no lattice, and whose lattice the rest shows."""

from __future__ import annotations

import math

import numpy as np
from scipy import ndimage

from ceiflow.images.field import Field, clean, pool
from ceiflow.images.spots import FALSE_SPOT, SMALL_TILE_NM, find_spots, flattened

# Spacings by which crystals in a layer are named, in nm, and how near a spot has to come.
KNOWN_SPACINGS_NM = {"LiF": (0.201, 0.233), "Li2O": (0.266,), "Li2CO3": (0.281, 0.292, 0.303)}
TOLERANCE = 0.02


def amorphous_fraction(
    image: np.ndarray,
    field_lattice: Field,
    layer_mask: np.ndarray,
    pixel_size_nm: float,
    spacing_range_nm: tuple[float, float] = (0.18, 0.75),
) -> dict:
    """Share of the layer's area without lattice fringes.

    Lattice is what passed the false-discovery threshold in `lattice_field`; that test reaches out of the
    particle by about twice its window, and the fringes leave it by the wavelength x defocus / spacing, so the
    layer is judged only further away from it.

    Parameters
    ----------
    image : (rows, columns) array
    field_lattice : Field
        From `lattice_field` of the same image.
    layer_mask : (rows, columns) bool array
        The layer, on the image or on the field's grid.
    pixel_size_nm : float
    spacing_range_nm : (float, float)

    Returns
    -------
    dict
        `amorphous_fraction` and `se` (binomial over independent windows; None where the layer is too narrow,
        with `reason`), `n_windows`, `area_nm2` judged, `crystals`: list of {spacing_nm, angle_deg,
        significance, name}, name None where no listed spacing lies within 2 %.
    """
    shape = field_lattice.values.shape
    mask = np.asarray(layer_mask, bool)
    if mask.shape != shape:
        mask = pool(mask.astype(np.float32), field_lattice.bin)[: shape[0], : shape[1]] > 0.5
    crystal = field_lattice.maps["crystal"]
    body = field_lattice.values > field_lattice.level
    window = float(field_lattice.notes.get("window_nm", 1.0))
    away = ndimage.distance_transform_edt(~(body & crystal)) * field_lattice.step_nm
    reach = 2.0 * window + float(field_lattice.notes.get("displaced_nm", 0.0))
    judged = mask & (away > reach)
    area = float(judged.sum()) * field_lattice.step_nm**2
    pieces = area / (2 * window) ** 2
    result = {"area_nm2": area, "n_windows": int(pieces), "crystals": [], "reason": ""}
    if pieces >= 4:
        result["crystals"] = _crystals(image, judged, field_lattice, pixel_size_nm, spacing_range_nm)
    else:
        reason = "too little of the layer is out of reach of the crystal's own fringes"
        return {"amorphous_fraction": None, "se": None, **result, "reason": reason}
    share = float(np.mean(~field_lattice.maps["positive"][judged]))
    shrunk = (share * pieces + 0.5) / (pieces + 1)
    return {"amorphous_fraction": share, "se": math.sqrt(shrunk * (1 - shrunk) / (pieces + 1)), **result}


def _crystals(image, judged, field_lattice, pixel_size_nm, spacing_range_nm) -> list[dict]:
    """Spots of what lies in the judged area, named where their spacing is a known one."""
    low = max(spacing_range_nm[0], 2.3 * pixel_size_nm)
    if low >= spacing_range_nm[1] or not judged.any():
        return []
    factor = field_lattice.bin
    fine = max(
        d
        for d in range(1, factor + 1)
        if factor % d == 0 and d * pixel_size_nm <= max(low / 2.6, pixel_size_nm)
    )
    rows, columns = (n // factor * factor for n in image.shape)
    cleaned, _ = clean(image)
    step = fine * pixel_size_nm
    flat = flattened(pool(cleaned[:rows, :columns], fine), max(1.5, 0.6 * spacing_range_nm[1] / step))
    weight = ndimage.gaussian_filter(judged.astype(np.float32), 0.4 / field_lattice.step_nm)
    times = field_lattice.bin // fine
    weight = np.repeat(np.repeat(weight, times, axis=0), times, axis=1)[: flat.shape[0], : flat.shape[1]]
    spots, _ = find_spots(flat * weight, step, (low, spacing_range_nm[1]))
    particle = [
        (s["spacing_nm"], s["angle_deg"]) for s in field_lattice.notes.get("spots", []) if not s["foreign"]
    ]
    bar = naming_bar(float(judged.sum()) * field_lattice.step_nm**2, 1 / spacing_range_nm[1], 1 / low)
    found = []
    for spot in spots:
        note = spot.as_note()
        turned = [
            abs((note["angle_deg"] - a + 90) % 180 - 90)
            for d, a in particle
            if abs(note["spacing_nm"] / d - 1) < 0.01
        ]
        # What has the particle's own spacing and direction is its delocalised fringe.
        if turned and min(turned) < 2:
            continue
        found.append({**note, "name": named(note["spacing_nm"]) if spot.significance >= bar else None})
    return found


def naming_bar(area_nm2: float, lowest: float, highest: float) -> float:
    """Power over its background that a spot needs before it names a crystal.

    The power of an amorphous film is exponentially distributed, but about a mean that is itself an estimate
    from `n` frequencies: the ratio x of both passes by chance with (1 + x / n)^-n. One false name in a
    hundred images, over all frequencies, places and both sizes of tile, is x = n ((N / 0.01)^(1/n) - 1).

    Parameters
    ----------
    area_nm2 : float
        Of the layer that is judged.
    lowest, highest : float
        Range of spatial frequencies in nm^-1.

    Notes
    -----
    Of the smaller tile, whose mean is the less certain: a Hann window makes 2.25 frequencies one, a median is
    worth 0.48 of a mean of exponential values, and three and a half annuli are averaged.
    """
    width = max(1.5 / SMALL_TILE_NM, 0.12)
    middle = (lowest + highest) / 2
    n = 0.48 * np.pi * middle * 3.5 * width * SMALL_TILE_NM**2 / 2.25
    # Tiles overlap by half in both directions; half of all frequencies are the other half of a pair.
    tests = 2 * 4 * area_nm2 * np.pi / 2 * (highest**2 - lowest**2)
    return float(n * ((max(tests, 1.0) / FALSE_SPOT) ** (1 / n) - 1))


def named(spacing_nm: float) -> str | None:
    """The crystal whose listed spacing is nearest, if within 2 %; None else."""
    best = min(
        ((abs(spacing_nm / d - 1), name) for name, list_nm in KNOWN_SPACINGS_NM.items() for d in list_nm),
        key=lambda item: item[0],
    )
    return best[1] if best[0] <= TOLERANCE else None
