"""Parametric templates at O K and Li K: as at C K, readings of literature and no measurements.

Energies: transitions to hybridised metal 3d states of layered oxides at 528-531 eV, weak where the surface
is reduced to rock salt; pi* of carbonates at 533.5-534.5 eV; water, ice, ethers and alcohols without a pi*,
their main band at 537-540 eV; O-O sigma* of peroxide at 530-531 eV; LiF near 62 eV, Li2CO3 near 62 and 67 eV,
Li2O at 58-59 and 63 eV. Several of these ranges are known from memory of published spectra alone, which is
why their uncertainties are larger than those at C K: half of the range at O K, and 1 eV at Li K.
"""

from __future__ import annotations

from ceiflow.eels.fine_structure.templates import Line, Template


def _template(
    edge: str,
    onset: float,
    name: str,
    species: str,
    step: tuple[float, float],
    lines: tuple,
    se: float,
    source: str,
    area_se: float = 0.25,
) -> Template:
    return Template(
        name, species, edge, onset, *step, tuple(Line(*line) for line in lines), se, area_se, source
    )


def _oxygen(name: str, species: str, step: tuple, lines: tuple, se: float, source: str) -> Template:
    return _template("O_K", 527.0, name, species, step, lines, se, source)


def _lithium(name: str, species: str, step: tuple, lines: tuple, source: str) -> Template:
    return _template("Li_K", 55.0, name, species, step, lines, 1.0, source, 0.4)


OXYGEN = (
    _oxygen(
        "layered oxide",
        "oxide",
        (535.0, 1.5),
        ((529.5, 2.2, 1.8), (540.5, 6.0, 5.5), (546.0, 8.0, 2.5)),
        0.5,
        "hybridised metal 3d states 528-531; main band of O 2p with metal 4sp 537-545",
    ),
    _oxygen(
        "rock-salt oxide",
        "oxide",
        (534.5, 1.5),
        ((538.5, 4.0, 4.5), (532.0, 2.5, 0.5), (556.0, 12.0, 3.5)),
        0.7,
        "reduced surface: pre-peak weak and near 532, main band narrower, at 537-540",
    ),
    _oxygen(
        "carbonate",
        "carbonate",
        (537.0, 1.5),
        ((534.0, 1.4, 1.5), (540.0, 5.0, 4.5), (545.5, 7.0, 3.0)),
        0.35,
        "pi* of the C=O bond 533.5-534.5",
    ),
    _oxygen(
        "ice, ether, alcohol",
        "ice_or_ether",
        (535.5, 1.5),
        ((538.0, 4.5, 4.0), (543.0, 8.0, 3.0)),
        0.7,
        "no pi*: sigma* and main band of ice 537-540",
    ),
    _oxygen(
        "Li2O",
        "Li2O",
        (536.5, 1.5),
        ((534.3, 2.0, 1.2), (540.0, 4.0, 3.5), (550.0, 10.0, 2.5)),
        0.7,
        "simple ionic oxide: maxima near 534 and 540",
    ),
    _oxygen(
        "Li2O2",
        "Li2O2",
        (536.5, 1.5),
        ((530.8, 2.2, 2.5), (539.5, 5.0, 3.0), (550.0, 10.0, 2.0)),
        0.5,
        "sigma* of the O-O bond 530-531",
    ),
)

LITHIUM = (
    _lithium("LiF", "LiF", (60.5, 1.0), ((62.0, 2.0, 4.0), (69.5, 6.0, 6.0)), "main line near 62"),
    _lithium("Li2CO3", "Li2CO3", (60.5, 1.0), ((62.0, 2.5, 2.0), (67.0, 4.0, 5.0)), "maxima near 62 and 67"),
    _lithium("Li2O", "Li2O", (58.0, 1.0), ((58.6, 1.6, 1.5), (63.0, 4.0, 5.0)), "maxima at 58-59 and 63"),
)
