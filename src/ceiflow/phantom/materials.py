"""What a simulated cathode consists of: densities, mean free paths, plasmons, potentials, bonding.

Every number here belongs to the phantom alone. The analysis must not know it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

SPECIES = ("sp2", "aliphatic", "ether", "carboxyl", "carbonate")


@dataclass(frozen=True)
class Material:
    """One homogeneous material; every quantity is at 300 kV.

    Parameters
    ----------
    atoms : mapping of str to float
        Atoms nm^-3 by element.
    mean_free_path_nm : float
        Inelastic mean free path.
    elastic_path_nm : float
        Attenuation length of the beam by scattering outside the collection aperture.
    plasmon_eV, plasmon_width_eV : float
        Centre and width of the plasmon.
    shallow : tuple of (onset in eV, share of the inelastic events)
        Edges below the core-loss range: metal M2,3 and Li K.
    background : float
        Probability nm^-1 eV^-1 at 280 eV of everything below the core edges, and `exponent` its decay.
    carbon : mapping of str to float
        Shares of the carbon bonding (see `SPECIES`), adding up to one.
    oxygen : mapping of str to float
        Shares of the oxygen templates: oxide, rocksalt, carbonate, ether.
    metal : str
        Template of the metal white lines: layered (Mn 4+) or rocksalt (Mn 2+).
    potential_V : float
        Mean inner potential.
    scattering : float
        ADF signal nm^-1, relative.
    """

    atoms: Mapping[str, float]
    mean_free_path_nm: float
    elastic_path_nm: float
    plasmon_eV: float
    plasmon_width_eV: float
    shallow: tuple[tuple[float, float], ...] = ()
    background: float = 4e-7
    exponent: float = 3.0
    carbon: Mapping[str, float] = field(default_factory=dict)
    oxygen: Mapping[str, float] = field(default_factory=dict)
    metal: str = "layered"
    potential_V: float = 8.0
    scattering: float = 1.0


_METAL_M = ((51.0, 0.05), (62.0, 0.04))
_LITHIUM_K = ((60.0, 0.04),)

MATERIALS = {
    "NMC532": Material(
        {"O": 58.6, "Mn": 8.79, "Co": 5.86, "Ni": 14.66}, 151.0, 260.0, 25.0, 14.0, _METAL_M, 0.9e-6, 2.95,
        oxygen={"oxide": 1.0}, potential_V=19.0, scattering=8.0,
    ),
    "LMR": Material(
        {"O": 60.6, "Mn": 14.54, "Co": 3.64, "Ni": 6.06}, 155.0, 275.0, 24.6, 13.5, _METAL_M, 0.85e-6, 2.9,
        oxygen={"oxide": 1.0}, potential_V=18.0, scattering=7.4,
    ),
    "rocksalt": Material(
        {"O": 50.0, "Mn": 15.0, "Co": 10.0, "Ni": 25.0}, 142.0, 220.0, 23.4, 13.0, _METAL_M, 1.1e-6, 3.0,
        oxygen={"rocksalt": 1.0}, metal="rocksalt", potential_V=22.0, scattering=9.5,
    ),
    "Li2CO3": Material(
        {"C": 17.2, "O": 51.6}, 181.0, 700.0, 23.2, 11.0, _LITHIUM_K, 2.9e-7, 2.8,
        carbon={"carbonate": 1.0}, oxygen={"carbonate": 1.0}, potential_V=9.5, scattering=1.6,
    ),
    "ROCO2Li": Material(
        {"C": 23.8, "O": 35.7}, 198.0, 850.0, 22.6, 12.0, _LITHIUM_K, 2.6e-7, 2.85,
        carbon={"carbonate": 0.5, "ether": 0.5}, oxygen={"carbonate": 0.67, "ether": 0.33}, potential_V=8.2,
        scattering=1.2,
    ),
    "polyether": Material(
        {"C": 32.8, "O": 16.4}, 210.0, 1100.0, 22.0, 12.5, (), 2.2e-7, 2.75,
        carbon={"ether": 0.7, "aliphatic": 0.3}, oxygen={"ether": 1.0}, potential_V=7.0, scattering=0.8,
    ),
    "LiF": Material(
        {"F": 61.3}, 172.0, 600.0, 24.8, 10.0, _LITHIUM_K, 3.6e-7, 3.1, potential_V=10.0, scattering=2.0,
    ),
    "LixPOyFz": Material(
        {"O": 22.3, "F": 22.3}, 185.0, 650.0, 23.5, 12.0, ((133.0, 0.03),), 4.5e-7, 3.3,
        oxygen={"ether": 1.0}, potential_V=9.0, scattering=1.9,
    ),
    "carbon": Material(
        {"C": 95.0}, 188.0, 800.0, 23.8, 12.0, (), 4.5e-7, 2.9,
        carbon={"sp2": 0.8, "aliphatic": 0.2}, potential_V=9.5, scattering=1.2,
    ),
}  # fmt: skip


def mix(fractions: Mapping[str, float]) -> Material:
    """Homogeneous mixture of materials.

    Parameters
    ----------
    fractions : mapping of str to float
        Volume fractions of `MATERIALS`; scaled to add up to one.

    Returns
    -------
    Material
        Densities and inverse lengths add by volume; bonding adds by atoms.
    """
    total = sum(fractions.values())
    parts = [(share / total, MATERIALS[name]) for name, share in fractions.items() if share > 0]
    elements = sorted({element for _, part in parts for element in part.atoms})
    atoms = {el: sum(share * part.atoms.get(el, 0.0) for share, part in parts) for el in elements}

    def mean(name: str) -> float:
        return sum(share * getattr(part, name) for share, part in parts)

    def inverse(name: str) -> float:
        return 1 / sum(share / getattr(part, name) for share, part in parts)

    def bonding(element: str, name: str) -> dict[str, float]:
        shares: dict[str, float] = {}
        for share, part in parts:
            for kind, weight in getattr(part, name).items():
                shares[kind] = shares.get(kind, 0.0) + share * part.atoms.get(element, 0.0) * weight
        whole = sum(shares.values())
        return {kind: weight / whole for kind, weight in shares.items()} if whole else {}

    shallow: dict[float, float] = {}
    for share, part in parts:
        for onset, weight in part.shallow:
            shallow[onset] = shallow.get(onset, 0.0) + share * weight
    return Material(
        atoms,
        inverse("mean_free_path_nm"),
        inverse("elastic_path_nm"),
        mean("plasmon_eV"),
        mean("plasmon_width_eV"),
        tuple(sorted(shallow.items())),
        mean("background"),
        mean("exponent"),
        bonding("C", "carbon"),
        bonding("O", "oxygen"),
        parts[0][1].metal,
        mean("potential_V"),
        mean("scattering"),
    )


def damaged(material: Material, dose_e_per_A2: float, critical: Mapping[str, float]) -> Material:
    """What the beam leaves of a material: bonds and elements fade exponentially, and what they held is gone.

    Parameters
    ----------
    dose_e_per_A2 : float
        Accumulated before the recording.
    critical : mapping of str to float
        Critical dose by carbon species (its carbon, and the oxygen of the same name) or element.
    """

    def left(name: str) -> float:
        return math.exp(-dose_e_per_A2 / critical[name]) if name in critical else 1.0

    atoms = {element: density * left(element) for element, density in material.atoms.items()}
    shares = {}
    for element, name in (("C", "carbon"), ("O", "oxygen")):
        kept = {kind: share * left(kind) for kind, share in getattr(material, name).items()}
        whole = sum(kept.values())
        if element in atoms and whole > 0:
            atoms[element] *= whole
            kept = {kind: share / whole for kind, share in kept.items()}
        shares[name] = kept
    return replace(material, atoms=atoms, **shares)
