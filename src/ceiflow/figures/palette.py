"""Colours of figures and pages; no drawing library is needed to know them."""

from __future__ import annotations

# Okabe and Ito (2008), told apart by readers with any of the common colour deficiencies.
BLACK, ORANGE, SKY, GREEN, YELLOW, BLUE, VERMILLION, PURPLE = (
    "#000000", "#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7",
)  # fmt: skip
GREY = "#6b6b6b"
CONDITION_COLOURS = {"pristine": GREEN, "normal": BLUE, "shorted": VERMILLION}
OTHER_COLOURS = (PURPLE, ORANGE, SKY, BLACK)
ELEMENT_COLOURS = {
    "C": BLACK, "O": VERMILLION, "F": GREEN, "Mn": PURPLE, "Co": BLUE, "Ni": ORANGE, "Li": SKY, "N": SKY,
    "P": ORANGE, "S": "#B8860B", "Si": GREY,
}  # fmt: skip


def element_colour(name: str, index: int = 0) -> str:
    """Colour of an element or of an edge column (`Mn`, `Mn_L3`, `edge_Mn`)."""
    symbol = edge_element(name)
    spare = (BLUE, ORANGE, GREEN, PURPLE, SKY, VERMILLION, BLACK)
    return ELEMENT_COLOURS.get(symbol, spare[index % len(spare)])


def edge_element(name: str) -> str:
    """The element of an edge column."""
    return next((part for part in name.split("_") if part[:1].isupper()), name)
