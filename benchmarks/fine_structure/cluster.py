"""An ion and the orbitals of oxygen around it: multiplets with charge transfer, for Ni.

The ten ligand spin-orbitals that have the symmetry of 3d are full but for the electrons that 3d has taken:
3d^n L^10, 3d^(n+1) L^9, ... (Zaanen, Sawatzky & Allen 1985, Phys. Rev. Lett. 55, 418). Small enough for exact
diagonalisation with three holes in all, as in Ni3+.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from multiplets import (
    Sticks,
    annihilators,
    cubic_field,
    dipole,
    final_terms,
    hamiltonian,
    initial_terms,
    spin_operators,
    spin_squared,
    transitions,
)
from scipy import sparse


@dataclass(frozen=True)
class Oxygen:
    """What an ion in oxygen has beside its own parameters; energies in eV.

    Parameters
    ----------
    delta : float
        Mean of 3d^(n+1) L^9 above the mean of 3d^n L^10, before the transition.
    u_dd, u_pd : float
        Mean repulsion between two electrons of 3d, and between a core hole and what an electron of 3d adds.
    v_eg, v_t2g : float
        Hopping between 3d and its ligand orbital.
    """

    delta: float
    u_dd: float
    u_pd: float
    v_eg: float
    v_t2g: float


def cluster_sticks(
    electrons: int, initial: Mapping[str, float], final: Mapping[str, float], oxygen: Oxygen, kelvin: float
) -> Sticks:
    """As `multiplets.sticks`, with oxygen.

    Parameters
    ----------
    electrons : int
        Formal ones, in 3d before the transition.
    initial, final : mapping of str to float
    oxygen : Oxygen
    kelvin : float

    Returns
    -------
    Sticks
    """
    field = cubic_field()
    hopping = oxygen.v_eg * (field + 0.4 * np.eye(10)) + oxygen.v_t2g * (0.6 * np.eye(10) - field)
    before = _matrix(electrons, 1, initial_terms, initial, hopping, oxygen.delta, oxygen.u_dd)
    # Orbitals are in the order 2p, 3d, ligand. A hop passes the other electrons of 3d, of which there is one
    # more after the transition: hence the sign.
    attracted = oxygen.delta + oxygen.u_dd - oxygen.u_pd
    after = _matrix(electrons + 1, 6, final_terms, final, -hopping, attracted, oxygen.u_dd)
    spins, dipoles = [], [[], [], []]
    for taken in range(11 - electrons):
        up, along = (
            sparse.kron(shell, _ones(ligand)) + sparse.kron(_ones(shell), ligand)
            for shell, ligand in zip(
                spin_operators(electrons + taken), spin_operators(10 - taken), strict=True
            )
        )
        spins.append(spin_squared(up, along))
        if electrons + taken < 10:
            for parts, component in zip(dipoles, dipole(electrons + taken), strict=True):
                parts.append(sparse.kron(component, sparse.identity(_ligands(taken))))
    full = sparse.csr_matrix((after.shape[0], spins[-1].shape[0]))
    holes = [
        sparse.kron(final_terms(electrons + 1 + taken)["zeta_p"], sparse.identity(_ligands(taken)))
        for taken in range(10 - electrons)
    ]
    return transitions(
        before,
        after,
        sparse.block_diag(spins),
        sparse.block_diag(holes),
        [sparse.csr_matrix(sparse.hstack([sparse.block_diag(parts), full])) for parts in dipoles],
        kelvin,
    )


def _ones(matrix: sparse.csr_matrix) -> sparse.csr_matrix:
    return sparse.identity(matrix.shape[0])


def _ligands(taken: int) -> int:
    """Determinants of the ligand that lacks so many electrons."""
    return annihilators(10, 10 - taken)[0].shape[1]


def _matrix(
    electrons: int,
    cores: int,
    terms: Callable[[int], dict[str, sparse.csr_matrix]],
    values: Mapping[str, float],
    hopping: np.ndarray,
    delta: float,
    u_dd: float,
) -> sparse.csr_matrix:
    """Hamiltonian of all configurations; `cores` is 6 with a core hole and 1 without."""
    number = 11 - electrons
    blocks: list[list[sparse.csr_matrix | None]] = [[None] * number for _ in range(number)]
    for taken in range(number):
        own = hamiltonian(terms(electrons + taken), dict(values))
        # The mean of a configuration is what delta and U say.
        mean = taken * delta + u_dd * taken * (taken - 1) / 2 - own.diagonal().mean()
        own = own + mean * _ones(own)
        blocks[taken][taken] = sparse.kron(own, sparse.identity(_ligands(taken)))
        if taken + 1 < number:
            metal, ligand = annihilators(10, electrons + taken + 1), annihilators(10, 10 - taken)
            hop = sum(
                hopping[i, j] * sparse.kron(sparse.kron(sparse.identity(cores), metal[i].T), ligand[j])
                for i, j in zip(*np.nonzero(hopping), strict=True)
            )
            blocks[taken + 1][taken], blocks[taken][taken + 1] = hop, hop.T
    return sparse.csr_matrix(sparse.bmat(blocks))
