"""Small scenes of a particle edge with a known layer, for the tests of `ceiflow.images`.

An exit wave (mean inner potential, absorption, random atoms, lattice planes) is propagated through a defocus
and counted. It shares nothing with the estimators under test.
"""

from __future__ import annotations

import numpy as np

CARBON_PHASE_PER_NM = 0.059  # 9 V mean inner potential at 300 kV
CRYSTAL_PHASE_PER_NM = 0.12
ATOM_PHASE_NM2 = 5.9e-4  # projected phase of one light atom
LIGHT_ATOMS_PER_NM3 = 100.0
WAVELENGTH_NM = 0.0019687  # 300 kV


def _soft(distance, width=0.15):
    """1 inside (negative distance), 0 outside, over a transition of the atoms' own size."""
    return 0.5 - 0.5 * np.tanh(distance / width)


def random_atoms(shape, pixel, rng):
    """Projected phase fluctuation of a light amorphous solid per sqrt(nm), zero mean."""
    noise = rng.standard_normal(shape)
    fy, fx = np.fft.fftfreq(shape[0], pixel), np.fft.rfftfreq(shape[1], pixel)
    g2 = fy[:, None] ** 2 + fx[None, :] ** 2
    form = np.exp(-g2 * (np.pi * 0.05) ** 2 * 2)
    scale = ATOM_PHASE_NM2 * np.sqrt(LIGHT_ATOMS_PER_NM3) / pixel
    return np.fft.irfft2(np.fft.rfft2(noise) * form, s=shape) * scale


def propagate(phase, absorption, pixel, defocus_nm, information_limit=8.0):
    """Intensity behind a defocus, vacuum 1."""
    wave = np.exp(1j * phase - absorption)
    fy, fx = np.fft.fftfreq(phase.shape[0], pixel), np.fft.fftfreq(phase.shape[1], pixel)
    g2 = fy[:, None] ** 2 + fx[None, :] ** 2
    transfer = np.exp(-1j * np.pi * WAVELENGTH_NM * defocus_nm * g2 - (g2 / information_limit**2) ** 2)
    return np.abs(np.fft.ifft2(np.fft.fft2(wave) * transfer)) ** 2


def signed_distances(shape, pixel, angle_deg, edge_nm, radius_nm=None):
    """Distance (nm) from the crystal's edge, positive towards the vacuum; a plane or a disc."""
    rows, columns = np.mgrid[: shape[0], : shape[1]].astype(float)
    y, x = (rows - (shape[0] - 1) / 2) * pixel, (columns - (shape[1] - 1) / 2) * pixel
    a = np.deg2rad(angle_deg)
    if radius_nm is None:
        return x * np.cos(a) + y * np.sin(a) - edge_nm
    return np.hypot(x - (edge_nm - radius_nm) * np.cos(a), y - (edge_nm - radius_nm) * np.sin(a)) - radius_nm


def scene(
    gap_nm=5.0,
    shape=(700, 600),
    pixel=0.04,
    spacings=(0.47,),
    angles=(25.0,),
    edge_angle=0.0,
    edge_nm=-2.0,
    dose=400.0,
    defocus_nm=60.0,
    depth_nm=15.0,
    lattice=0.25,
    support_nm=0.0,
    radius_nm=None,
    gradient=0.0,
    noise=True,
    seed=0,
):
    """Counts of a bright-field image, and the signed distance from the crystal's true edge (nm).

    The crystal ends at distance 0, the amorphous layer at `gap_nm`; beyond is vacuum (or `support_nm` of
    carbon).
    """
    rng = np.random.default_rng(seed)
    pad = round(4 / pixel)  # the Fourier propagation is periodic: cut its rim away
    big = (shape[0] + 2 * pad, shape[1] + 2 * pad)
    distance = signed_distances(big, pixel, edge_angle, edge_nm, radius_nm)
    crystal = _soft(distance)
    layer = _soft(distance - gap_nm) - crystal if gap_nm > 0 else np.zeros(big)
    phase = depth_nm * (CARBON_PHASE_PER_NM * layer + CRYSTAL_PHASE_PER_NM * crystal)
    absorption = depth_nm * (layer / 400 + crystal / 150)
    atoms = random_atoms(big, pixel, rng)
    phase = phase + atoms * np.sqrt(depth_nm * np.clip(layer + 0.3 * crystal, 0, None))
    if support_nm:
        phase = phase + random_atoms(big, pixel, rng) * np.sqrt(support_nm)
        absorption = absorption + support_nm / 400
    rows, columns = np.mgrid[: big[0], : big[1]] * pixel
    for spacing, angle in zip(spacings, angles, strict=True):
        a = np.deg2rad(angle)
        phase = phase + lattice * crystal * np.cos(
            2 * np.pi * (columns * np.cos(a) + rows * np.sin(a)) / spacing + 0.3
        )
    mean = propagate(phase, absorption, pixel, defocus_nm)[pad:-pad, pad:-pad] * dose * (10 * pixel) ** 2
    if gradient:
        mean = mean * (1 + gradient * np.linspace(-0.5, 0.5, shape[0])[:, None])
    return (rng.poisson(mean) if noise else mean).astype(np.float32), distance[pad:-pad, pad:-pad]


def adf_scene(
    gap_nm=6.0, shape=(400, 500), pixel=0.3, rim=0.12, edge_nm=0.0, edge_angle=60.0, counts=60.0, seed=0
):
    """Dark-field counts: vacuum dark, a dim rim, a bright particle; and the distance from the particle's
    edge.
    """
    rng = np.random.default_rng(seed)
    distance = signed_distances(shape, pixel, edge_angle, edge_nm)
    bright = _soft(distance, 0.8)
    dim = _soft(distance - gap_nm, 0.8) - bright
    return rng.poisson(2 + counts * (bright + rim * dim)).astype(np.float32), distance


def edge_positions(values, level, distance, step_px, minimum=-1e9, maximum=1e9):
    """True distances (nm) at which the contour of a field lies: what a perfect estimator has at one value."""
    from scipy.ndimage import map_coordinates
    from skimage.measure import find_contours

    found = []
    for contour in find_contours(np.asarray(values, float), level):
        pixels = (contour + 0.5) * step_px - 0.5
        inside = np.all((pixels > 25) & (pixels < np.array(distance.shape) - 26), axis=1)
        if inside.sum() > 5:
            found.append(map_coordinates(distance, pixels[inside].T, order=1))
    found = np.concatenate(found) if found else np.empty(0)
    return found[(found > minimum) & (found < maximum)]
