"""Which ionisation edges there are: onsets, lines and the shells that are quantified.

Onsets are those of the eXSpy table; positions of features are those of layered oxides and of carbonaceous
layers, with the scatter that chemistry gives them. They carry the energy calibration, so each has an error.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Edge:
    """One ionisation edge of an element.

    Parameters
    ----------
    element, shell : str
        "Mn", "L"; the L2, L3 and L1 edges are one edge here, as their cross-sections are added up.
    onset_eV : float
        Where the intensity starts (L3 for the L shell).
    second_eV : float or None
        Onset of L2, where it stands apart.
    features : tuple of (energy_eV, sigma_eV)
        Peaks that may stand at an edge, as Gaussians; L3 and L2 lines for the L shell.
    references : tuple of (energy_eV, se_eV)
        Narrow peaks whose energy is known, and how far chemistry may move them: the strongest narrow peak of
        the edge is one of these.
    """

    element: str
    shell: str
    onset_eV: float
    second_eV: float | None
    features: tuple[tuple[float, float], ...]
    references: tuple[tuple[float, float], ...] = ()

    @property
    def name(self) -> str:
        return f"{self.element}_{self.shell}"


# Gaussians: graphite-like pi*, carbonyl and carbonate pi*, sigma* resonances; pre-peak of layered oxides,
# carbonate pi*, main peak; white lines. References: graphite and carbonate pi* (Solomon et al. 2009,
# Carbon K-edge NEXAFS; carbonate 290.3 eV), O K pre-peak and L3 lines as layered oxides show them.
EDGES = {
    edge.element: edge
    for edge in (
        Edge("Li", "K", 55.0, None, ((60.0, 2.0), (67.0, 3.0))),
        Edge("B", "K", 188.0, None, ((191.5, 1.2), (199.0, 3.0))),
        Edge(
            "C",
            "K",
            284.0,
            None,
            ((285.4, 0.8), (288.4, 0.9), (290.3, 0.9), (293.0, 2.0), (299.0, 4.0)),
            ((285.4, 0.3), (288.5, 0.9), (290.3, 0.3)),
        ),
        Edge("N", "K", 401.0, None, ((401.0, 1.2), (408.0, 3.0))),
        Edge(
            "O",
            "K",
            532.0,
            None,
            ((529.5, 1.1), (534.0, 1.2), (540.0, 2.6), (545.0, 3.5)),
            ((529.5, 0.5), (533.9, 0.6)),
        ),
        Edge("F", "K", 685.0, None, ((690.0, 2.0), (699.0, 5.0))),
        Edge("Na", "K", 1072.0, None, ((1075.0, 2.0), (1083.0, 4.0))),
        Edge("Mg", "K", 1305.0, None, ((1310.0, 2.5), (1318.0, 5.0))),
        Edge("Al", "K", 1560.0, None, ((1566.0, 2.5), (1573.0, 5.0))),
        Edge("Si", "K", 1839.0, None, ((1845.0, 2.5), (1855.0, 5.0))),
        # L shells of the third row: delayed, and L3 is an electronvolt or so from L2, so they are one step.
        Edge("P", "L", 132.0, None, ((138.0, 2.5), (148.0, 5.0))),
        Edge("S", "L", 165.0, None, ((171.0, 2.5), (181.0, 5.0))),
        Edge("Cl", "L", 200.0, None, ((206.0, 2.5), (216.0, 5.0))),
        Edge("K", "L", 294.0, 296.5, ((296.5, 1.2), (299.3, 1.4))),
        Edge("Ca", "L", 346.0, 350.0, ((348.5, 1.2), (352.0, 1.4)), ((348.5, 0.7),)),
        Edge("Sc", "L", 402.0, 407.0, ((403.5, 1.2), (408.0, 1.4)), ((403.5, 0.8),)),
        Edge("Ti", "L", 456.0, 462.0, ((458.0, 1.2), (463.5, 1.4)), ((458.0, 0.7),)),
        Edge("V", "L", 513.0, 521.0, ((517.5, 1.4), (524.5, 1.6)), ((517.5, 0.8),)),
        Edge("Cr", "L", 575.0, 584.0, ((577.5, 1.4), (586.0, 1.7)), ((577.5, 0.8),)),
        Edge("Mn", "L", 640.0, 651.0, ((642.5, 1.5), (653.3, 1.9)), ((642.5, 0.8),)),
        Edge("Fe", "L", 708.0, 721.0, ((709.5, 1.4), (722.5, 1.8)), ((709.5, 0.8),)),
        Edge("Co", "L", 779.0, 794.0, ((780.3, 1.3), (795.3, 1.7)), ((780.3, 0.6),)),
        Edge("Ni", "L", 855.0, 872.0, ((854.5, 1.3), (872.0, 1.8)), ((854.5, 0.6),)),
        Edge("Cu", "L", 931.0, 951.0, ((932.0, 1.3), (952.0, 1.8)), ((932.0, 0.8),)),
        Edge("Zn", "L", 1020.0, 1043.0, ((1023.0, 2.0), (1046.0, 2.5))),
    )
}


def chosen_edges(elements: list[str]) -> dict[str, Edge]:
    """The edges of `elements` in the order given; an unknown symbol raises KeyError."""
    return {element: EDGES[element] for element in elements}
