"""L3/L2 of Mn, Co and Ni by valence, computed: where the shipped templates of Co and Ni come from.

Crystal-field multiplet theory of 2p6 3d^n -> 2p5 3d^(n+1) in one ion (de Groot 2005, Coordination Chemistry
Reviews 249, 31): Slater integrals, spin-orbit coupling of both shells, a cubic field 10Dq; dipole transitions
from all states that are occupied at a temperature, summed over polarisations. Exact diagonalisation in the
basis of Slater determinants; nothing is fitted. The spectra get a continuum and are read by the recipe of
`ceiflow.eels.fine_structure.white_lines`, as a specimen is.

Mn is computed too, and says how far such numbers are off: it has measured references.

    python benchmarks/fine_structure/multiplets.py [--real-data FOLDER]
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from math import factorial, sqrt

import numpy as np
from scipy import sparse

BOLTZMANN_EV = 8.617e-5
# (m, spin) of the 6 orbitals of 2p and the 10 of 3d.
P, D = ([(m, s) for m in range(-n, n + 1) for s in (-0.5, 0.5)] for n in (1, 2))
ELL = {6: 1, 10: 2}


def wigner_3j(j1: int, j2: int, j3: int, m1: int, m2: int, m3: int) -> float:
    """Wigner's symbol for whole numbers, by Racah's sum."""
    if (
        m1 + m2 + m3
        or not abs(j1 - j2) <= j3 <= j1 + j2
        or any(abs(m) > j for m, j in ((m1, j1), (m2, j2), (m3, j3)))
    ):
        return 0.0
    f = factorial
    triangle = f(j1 + j2 - j3) * f(j1 - j2 + j3) * f(-j1 + j2 + j3) / f(j1 + j2 + j3 + 1)
    norm = np.prod([float(f(j + m) * f(j - m)) for j, m in ((j1, m1), (j2, m2), (j3, m3))])
    total = 0.0
    for t in range(max(0, j2 - j3 - m1, j1 - j3 + m2), min(j1 + j2 - j3, j1 - m1, j2 + m2) + 1):
        parts = (t, j3 - j2 + t + m1, j3 - j1 + t - m2, j1 + j2 - j3 - t, j1 - t - m1, j2 - t + m2)
        total += (-1) ** t / np.prod([float(f(part)) for part in parts])
    return (-1) ** (j1 - j2 - m3) * sqrt(triangle * norm) * total


@cache
def gaunt(k: int, l1: int, m1: int, l2: int, m2: int) -> float:
    """c^k(l1 m1; l2 m2) of Condon and Shortley: the matrix element of a renormalised spherical harmonic."""
    reduced = sqrt((2 * l1 + 1) * (2 * l2 + 1)) * wigner_3j(l1, k, l2, 0, 0, 0)
    return (-1) ** m1 * reduced * wigner_3j(l1, k, l2, -m1, m1 - m2, m2)


def coulomb(k: int, shells: tuple[list, list, list, list]) -> np.ndarray:
    """<ab|r^k/r^(k+1)|cd> between orbitals of four shells, per unit of the Slater integral of order k."""
    found = np.zeros([len(shell) for shell in shells])
    ells = [ELL[len(shell)] for shell in shells]
    for index in np.ndindex(*found.shape):
        (ma, sa), (mb, sb), (mc, sc), (md, sd) = (shell[i] for shell, i in zip(shells, index, strict=True))
        if sa == sc and sb == sd and ma + mb == mc + md:
            found[index] = gaunt(k, ells[0], ma, ells[2], mc) * gaunt(k, ells[3], md, ells[1], mb)
    return found


def spin_orbit(shell: list) -> np.ndarray:
    """l.s between the orbitals of a shell."""
    ell = ELL[len(shell)]
    found = np.zeros((len(shell), len(shell)))
    for i, (m, s) in enumerate(shell):
        found[i, i] = m * s
        for j, (other, t) in enumerate(shell):
            if other == m + 1 and t == s - 1:
                found[i, j] = found[j, i] = 0.5 * sqrt(ell * (ell + 1) - m * (m + 1))
    return found


def cubic_field() -> np.ndarray:
    """Energies of d orbitals per unit of 10Dq: t2g at -0.4, eg at +0.6."""
    found = np.zeros((10, 10))
    for i, (m, s) in enumerate(D):
        found[i, i] = {0: 0.6, 1: -0.4, 2: 0.1}[abs(m)]
        if abs(m) == 2:
            found[i, D.index((-m, s))] = 0.5
    return found


@cache
def annihilators(orbitals: int, electrons: int) -> tuple[sparse.csr_matrix, ...]:
    """c_i from determinants of so many electrons to those of one less, for every orbital."""
    many, fewer = (list(combinations(range(orbitals), count)) for count in (electrons, electrons - 1))
    place = {state: index for index, state in enumerate(fewer)}
    found = []
    for i in range(orbitals):
        held = [(column, state) for column, state in enumerate(many) if i in state]
        rows = [place[tuple(j for j in state if j != i)] for _, state in held]
        signs = [(-1.0) ** state.index(i) for _, state in held]
        columns = [column for column, _ in held]
        found.append(sparse.csr_matrix((signs, (rows, columns)), shape=(len(fewer), len(many))))
    return tuple(found)


def one_body(matrix: np.ndarray, lower: tuple) -> sparse.csr_matrix:
    """sum h_ij c+_i c_j."""
    stack = sparse.vstack(lower)
    return stack.T @ sparse.kron(matrix, sparse.identity(lower[0].shape[0])) @ stack


def two_body(integrals: np.ndarray, orbitals: int, electrons: int) -> sparse.csr_matrix:
    """1/2 sum V_abcd c+_a c+_b c_d c_c within one shell."""
    lower = annihilators(orbitals, electrons)
    if electrons < 2:
        return sparse.csr_matrix((lower[0].shape[1],) * 2)
    again = annihilators(orbitals, electrons - 1)
    # Row (c, d) of the stack is c_d c_c; the adjoint of row (a, b) is c+_a c+_b.
    pairs = sparse.vstack([second @ first for first in lower for second in again])
    flat = integrals.reshape(orbitals**2, orbitals**2)
    return 0.5 * pairs.T @ sparse.kron(flat, sparse.identity(again[0].shape[0])) @ pairs


def spin_operators(electrons: int) -> tuple[sparse.csr_matrix, sparse.csr_matrix]:
    """S+ and Sz of 3d^n."""
    raising = np.zeros((10, 10))
    for i, (m, s) in enumerate(D):
        if s < 0:
            raising[D.index((m, 0.5)), i] = 1.0
    lower = annihilators(10, electrons)
    return one_body(raising, lower), one_body(np.diag([s for _, s in D]), lower)


def spin_squared(up: sparse.csr_matrix, along: sparse.csr_matrix) -> sparse.csr_matrix:
    """S^2 by S+ and Sz."""
    return up.T @ up + along @ along + along


@cache
def initial_terms(electrons: int) -> dict[str, sparse.csr_matrix]:
    """Parts of the Hamiltonian of 3d^n, each per unit of its parameter, and the total spin squared."""
    lower = annihilators(10, electrons)
    terms = {f"F{k}dd": two_body(coulomb(k, (D, D, D, D)), 10, electrons) for k in (2, 4)}
    terms |= {"zeta_d": one_body(spin_orbit(D), lower), "tenDq": one_body(cubic_field(), lower)}
    terms["spin"] = spin_squared(*spin_operators(electrons))
    return terms


@cache
def final_terms(electrons: int) -> dict[str, sparse.csr_matrix]:
    """Parts of the Hamiltonian of 2p5 3d^n, each per unit of its parameter: 2p5 times 3d^n."""
    lower_p, lower_d = annihilators(6, 5), annihilators(10, electrons)
    identity = sparse.identity(6), sparse.identity(lower_d[0].shape[1])
    terms = {
        name: sparse.kron(identity[0], part)
        for name, part in initial_terms(electrons).items()
        if name != "spin"
    }
    terms["zeta_p"] = sparse.kron(one_body(spin_orbit(P), lower_p), identity[1])
    for name, integrals in (
        ("F2pd", coulomb(2, (P, D, P, D))),
        ("G1pd", -coulomb(1, (P, D, D, P)).swapaxes(2, 3)),
        ("G3pd", -coulomb(3, (P, D, D, P)).swapaxes(2, 3)),
    ):
        # sum V_pdqe (c+_p c_q)(c+_d c_e)
        terms[name] = sum(
            sparse.kron(one_body(integrals[:, d, :, e], lower_p), lower_d[d].T @ lower_d[e])
            for d in range(10)
            for e in range(10)
            if np.any(integrals[:, d, :, e])
        )
    return terms


@cache
def dipole(electrons: int) -> tuple[sparse.csr_matrix, ...]:
    """Three components of the transition from 2p6 3d^n to 2p5 3d^(n+1)."""
    lower_p, lower_d = annihilators(6, 6), annihilators(10, electrons + 1)
    found = []
    for q in (-1, 0, 1):
        parts = [
            gaunt(1, 2, m, 1, n) * sparse.kron(lower_p[j], lower_d[i].T)
            for i, (m, s) in enumerate(D)
            for j, (n, t) in enumerate(P)
            if s == t and m - n == q
        ]
        found.append(sparse.csr_matrix(sum(parts)))
    return tuple(found)


def eigensystem(matrix: sparse.csr_matrix) -> tuple[np.ndarray, np.ndarray]:
    """Energies and states, block by block: what no term connects is solved apart."""
    matrix = sparse.csr_matrix(matrix)
    matrix.data[np.abs(matrix.data) < 1e-12] = 0.0
    matrix.eliminate_zeros()
    count, label = sparse.csgraph.connected_components(matrix, directed=False)
    energies, states = np.zeros(label.size), np.zeros((label.size, label.size))
    start = 0
    for block in range(count):
        inside = np.flatnonzero(label == block)
        columns = slice(start, start + inside.size)
        energies[columns], states[inside, columns] = np.linalg.eigh(matrix[inside][:, inside].toarray())
        start += inside.size
    return energies, states


def hamiltonian(terms: dict[str, sparse.csr_matrix], values: dict[str, float]) -> sparse.csr_matrix:
    """Sum of the terms times their parameters."""
    return sum(value * terms[name] for name, value in values.items())


@dataclass(frozen=True)
class Sticks:
    """Lines of one ion.

    Parameters
    ----------
    energy_eV : (n,) array
        Zero is arbitrary.
    strength : (2, n) array
        Per ion, with the hole in 2p3/2 and in 2p1/2: what the final states have of either.
    spin : float
        Of the initial states.
    """

    energy_eV: np.ndarray
    strength: np.ndarray
    spin: float

    @property
    def ratio(self) -> float:
        """L3/L2 by the hole's angular momentum."""
        return float(self.strength[0].sum() / self.strength[1].sum())


def sticks(electrons: int, initial: dict[str, float], final: dict[str, float], kelvin: float) -> Sticks:
    """Transitions from the states that are occupied at a temperature.

    Parameters
    ----------
    electrons : int
        In 3d before the transition.
    initial, final : dict of str to float
        Parameters of either configuration in eV, by the names of `initial_terms` and `final_terms`.
    kelvin : float

    Returns
    -------
    Sticks
    """
    before, after = initial_terms(electrons), final_terms(electrons + 1)
    matrices = hamiltonian(before, initial), hamiltonian(after, final)
    return transitions(*matrices, before["spin"], after["zeta_p"], dipole(electrons), kelvin)


def transitions(
    initial: sparse.csr_matrix,
    final: sparse.csr_matrix,
    spin: sparse.csr_matrix,
    hole: sparse.csr_matrix,
    dipoles: Sequence[sparse.csr_matrix],
    kelvin: float,
) -> Sticks:
    """Lines between the states of two Hamiltonians.

    Parameters
    ----------
    initial, final : sparse matrix
        Hamiltonians in eV.
    spin : sparse matrix
        S^2 among the initial determinants.
    hole : sparse matrix
        l.s of the hole among the final ones.
    dipoles : sequence of sparse matrix
        From initial to final determinants, by polarisation.
    kelvin : float
    """
    levels, states = eigensystem(initial)
    weight = np.exp(-(levels - levels.min()) / (BOLTZMANN_EV * kelvin))
    occupied = weight > 1e-3
    weight = weight[occupied] / weight[occupied].sum()
    states, levels = states[:, occupied], levels[occupied]
    squared = np.einsum("ij,ij,j", states, spin @ states, weight)
    energies, ends = eigensystem(final)
    strength = sum((ends.T @ (component @ states)) ** 2 for component in dipoles) * weight
    # l.s of a hole in 2p3/2 is -1/2, in 2p1/2 it is 1.
    second = (np.einsum("ij,ij->j", ends, hole @ ends) + 0.5) / 1.5
    shares = np.stack([1 - second, second])[:, :, None] * strength
    lines = (energies[:, None] - levels).ravel()
    return Sticks(lines, shares.reshape(2, -1), float(sqrt(squared + 0.25) - 0.5))
