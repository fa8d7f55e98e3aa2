"""Exit waves of coated layered-oxide slabs by multislice (abTEM), and images of them at any defocus and dose.

Atoms one by one, dynamical scattering, and a hard-core amorphous carbon coating: nothing of it is shared with
the phase objects of `ceiflow.phantom.images`, nor with the estimators. abTEM is an extra
(`requirements-simulation.lock`); it is imported only where a wave is made, images need NumPy alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .optics import Lens, frequencies, transfer

#: LiNiO2, R-3m, hexagonal axes in nm, and the height of oxygen (Rougier et al. 1995, Rietveld).
A_NM, C_NM, OXYGEN_Z = 0.2878, 1.419, 0.2583
#: Amorphous carbon of 1.9 g cm^-3, atoms nm^-3, and the least distance of two of them: the bond length.
CARBON_PER_NM3, CARBON_CORE_NM = 95.0, 0.14
#: Root mean square displacement of an atom along an axis at 100 K, for one frozen configuration.
VIBRATION_NM = 0.005
#: Beam and cell: a sample of the wave, a slice.
SAMPLE_NM, SLICE_NM, ENERGY_KEV = 0.035, 0.2, 300.0
#: Cut off on every side of an image: the cell repeats, its seams are no surface.
SEAM_NM = 1.4
#: Between crystal and cell border, vacuum behind the coating, and what is cut off of the crystal's far side.
BACK_NM, VACUUM_NM, HIDDEN_NM = 1.5, 6.5, 4.0


@dataclass(frozen=True)
class Slab:
    """A facet of a crystal seen edge-on, beam along a [11-20] zone axis, and its coating.

    Parameters
    ----------
    coating_nm : float
        From the outermost atoms of the crystal to those of the coating; 0 is a bare facet.
    turn_deg : float
        Angle of the basal planes' normal against the facet's.
    tilt_mrad : float
        Of the facet against the beam.
    depth_nm, length_nm, crystal_nm : float
        Along the beam, along the facet, and below it.
    seed : int
        Of atoms' places.
    """

    coating_nm: float
    turn_deg: float
    tilt_mrad: float = 0.0
    depth_nm: float = 5.0
    length_nm: float = 18.0
    crystal_nm: float = 13.0
    seed: int = 0

    @property
    def cell_nm(self) -> tuple[float, float, float]:
        """Across the facet, along it, along the beam."""
        return BACK_NM + self.crystal_nm + self.coating_nm + VACUUM_NM, self.length_nm, self.depth_nm

    @property
    def edge_nm(self) -> float:
        """Where the crystal ends, from the cell's border, at half depth."""
        return BACK_NM + self.crystal_nm


def atoms(slab: Slab) -> tuple[np.ndarray, np.ndarray]:
    """Atomic numbers (n,), and places (n, 3) in nm: across the facet, along it, along the beam."""
    rng = np.random.default_rng(slab.seed)
    numbers, places = _crystal(slab, rng)
    if slab.coating_nm:
        carbon = _coating(slab, rng)
        numbers = np.concatenate([numbers, np.full(len(carbon), 6)])
        places = np.concatenate([places, carbon])
    return numbers, places + rng.normal(0, VIBRATION_NM, places.shape)


def _facet(slab: Slab, depth: np.ndarray) -> np.ndarray:
    return slab.edge_nm + (depth - slab.depth_nm / 2) * math.tan(slab.tilt_mrad * 1e-3)


def _crystal(slab: Slab, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    # Two hexagonal cells make one with right angles: a along the beam, a sqrt(3) and c in the image.
    hexagonal = [(number, x, y, z + h) for number, h in _SITES for x, y, z in _CENTRES]
    width = math.sqrt(3) * A_NM
    span = math.hypot(slab.cell_nm[0], slab.length_nm) / 2
    base = []
    for number, u, v, w in hexagonal:
        x, y = A_NM * (u - v / 2), A_NM * math.sqrt(3) / 2 * v
        base += [(number, x, y, w * C_NM), (number, x + A_NM / 2, y + width / 2, w * C_NM)]
    base = np.array(base)
    n_beam = round(slab.depth_nm / A_NM)
    beam, other, axis = np.meshgrid(
        np.arange(n_beam),
        np.arange(-math.ceil(span / width), math.ceil(span / width) + 1),
        np.arange(-math.ceil(span / C_NM), math.ceil(span / C_NM) + 1),
        indexing="ij",
    )
    cells = np.c_[beam.ravel() * A_NM, other.ravel() * width, axis.ravel() * C_NM]
    whole = (cells[:, None, :] + base[None, :, 1:]).reshape(-1, 3)
    numbers = np.tile(base[:, 0], len(cells)).astype(int)
    turn = math.radians(slab.turn_deg)
    shift = rng.uniform(0, 1.0, 2)
    across = whole[:, 2] * math.cos(turn) - whole[:, 1] * math.sin(turn) + slab.cell_nm[0] / 2 + shift[0]
    along = whole[:, 2] * math.sin(turn) + whole[:, 1] * math.cos(turn) + slab.length_nm / 2 + shift[1]
    depth = whole[:, 0] % slab.depth_nm
    keep = (across > BACK_NM) & (across < _facet(slab, depth)) & (along >= 0) & (along < slab.length_nm)
    return numbers[keep], np.c_[across, along, depth][keep]


_SITES = ((28, 0.0), (3, 0.5), (8, OXYGEN_Z), (8, 1 - OXYGEN_Z))
_CENTRES = ((0.0, 0.0, 0.0), (2 / 3, 1 / 3, 1 / 3), (1 / 3, 2 / 3, 2 / 3))


def _coating(slab: Slab, rng: np.random.Generator) -> np.ndarray:
    """Random places no two of which are nearer than a bond: what falls too near is drawn again."""
    from scipy.spatial import cKDTree

    size = np.array([slab.coating_nm, slab.length_nm, slab.depth_nm])
    wanted = round(CARBON_PER_NM3 * float(np.prod(size)))
    places = np.empty((0, 3))
    while len(places) < wanted:
        drawn = rng.uniform(0, 1, (wanted - len(places), 3)) * size
        places = np.concatenate([places, drawn])
        pairs = cKDTree(places).query_pairs(CARBON_CORE_NM, output_type="ndarray")
        # Of two that are too near the later one goes.
        places = np.delete(places, np.unique(pairs.max(axis=1)), axis=0) if len(pairs) else places
    # The first of them lie a bond's half beyond the crystal's atoms, the last at the coating's edge.
    places[:, 0] = (
        _facet(slab, places[:, 2])
        + CARBON_CORE_NM / 2
        + places[:, 0] * (1 - CARBON_CORE_NM / 2 / slab.coating_nm)
    )
    return places


def exit_wave(slab: Slab) -> np.ndarray:
    """Wave behind the slab, (along the facet, across it) complex64, `SAMPLE_NM` apart, vacuum about 1.

    Raises
    ------
    ImportError
        Without abTEM.
    """
    import abtem
    import dask
    from ase import Atoms

    numbers, places = atoms(slab)
    solid = Atoms(numbers, positions=10 * places, cell=10 * np.array(slab.cell_nm), pbc=True)
    with dask.config.set(scheduler="synchronous"), abtem.config.set({"diagnostics.progress_bar": False}):
        potential = abtem.Potential(
            solid,
            sampling=10 * SAMPLE_NM,
            slice_thickness=10 * SLICE_NM,
            parametrization="lobato",
            projection="infinite",
        )
        wave = abtem.PlaneWave(energy=1e3 * ENERGY_KEV).multislice(potential).compute()
    return np.asarray(wave.array, dtype=np.complex64).T


def image(wave: np.ndarray, slab: Slab, lens: Lens, rng: np.random.Generator) -> tuple[np.ndarray, float]:
    """Counts of an image of an exit wave, two samples a pixel, without the cell's seams and the far side.

    Parameters
    ----------
    wave : (rows, columns) complex array
        From `exit_wave`.
    slab : Slab
    lens : Lens
        Defocus, aberrations, coherence, dose and the camera's transfer.
    rng : numpy.random.Generator
        Counting noise.

    Returns
    -------
    (r, c) uint16 array
        Rows along the facet, columns across it, vacuum on the right.
    float
        Column of the crystal's edge, pixel centres at whole numbers.
    """
    # Samples along the two axes differ in the third digit: the cell is filled by a whole number of them.
    step = slab.length_nm / wave.shape[0], slab.cell_nm[0] / wave.shape[1]
    squared = frequencies(wave.shape, 1.0)
    for axis, size in enumerate(step):
        shape = [1, 1]
        shape[axis] = -1
        k = np.fft.fftfreq(wave.shape[axis]).reshape(shape)
        squared = squared + (size**-2 - 1) * k.astype(np.float32) ** 2
    seen = np.fft.ifft2(np.fft.fft2(wave) * transfer(squared, lens))
    pixel = 2 * SAMPLE_NM
    camera = np.exp2(-squared * pixel**2 / lens.mtf_half**2)
    intensity = np.fft.ifft2(np.fft.fft2(np.abs(seen) ** 2) * camera).real
    seam, hidden = round(SEAM_NM / step[0]), round(HIDDEN_NM / step[1])
    intensity = intensity[seam:-seam, hidden : -round(SEAM_NM / step[1])]
    rows, columns = intensity.shape[0] // 2, intensity.shape[1] // 2
    mean = intensity[: rows * 2, : columns * 2].reshape(rows, 2, columns, 2).mean((1, 3))
    electrons = np.maximum(mean, 0) * lens.dose_e_per_A2 * 100 * 4 * step[0] * step[1]
    edge = ((slab.edge_nm / step[1]) - hidden) / 2 - 0.5
    return rng.poisson(electrons).astype(np.uint16), edge
