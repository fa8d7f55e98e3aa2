"""Parametric templates of K edges by bonding: what literature says of them, and how well it is known.

A template is no measurement. Its lines stand where the cited compilations put them; widths and strengths are
rounded readings of published spectra. Every template carries the uncertainty of its energies and strengths,
and what follows from a template is given with the systematic error that these uncertainties make.

Sources of the energies: Solomon et al. (2009), "Carbon (1s) NEXAFS spectroscopy of biogeochemically relevant
reference organic compounds", Soil Sci. Soc. Am. J. 73, 1817, for the bands of aromatic, aliphatic, O-alkyl
and carboxyl carbon; carbonates by their sharp pi* line at 290.3 eV, common knowledge since the spectra of
calcite; sigma* bands by their usual ranges.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

# f-sum rule: bonding moves intensity about near the threshold, and leaves the integral over so many eV.
WINDOW_EV = 50.0
GRID_STEP_EV = 0.1
_ROOT = np.sqrt(8 * np.log(2))
_SOLOMON = "Solomon et al. 2009 (C K NEXAFS bands)"


@dataclass(frozen=True)
class Line:
    """A Gaussian: centre and FWHM in eV, area in eV times the height of the continuum step."""

    centre_eV: float
    fwhm_eV: float
    area: float


@dataclass(frozen=True)
class Template:
    """One bonding environment at one edge.

    Parameters
    ----------
    name, species, edge : str
        `species` is what is reported; several templates may share one.
    onset_eV : float
        Nominal onset of the edge: the integral runs from there.
    step_eV, step_width_eV : float
        Where the continuum sets in.
    lines : tuple of Line
        The first is the one that marks the species.
    energy_se_eV : float
        How well its energies are known, all together.
    area_se : float
        Relative uncertainty of each line's strength.
    source : str
    decay : float
        The continuum falls off with this power of energy.
    """

    name: str
    species: str
    edge: str
    onset_eV: float
    step_eV: float
    step_width_eV: float
    lines: tuple[Line, ...]
    energy_se_eV: float
    area_se: float
    source: str
    decay: float = 4.0

    def grid(self) -> np.ndarray:
        """Energies in eV that the template is drawn on."""
        return np.arange(self.onset_eV - 20.0, self.onset_eV + 160.0, GRID_STEP_EV)

    def shape(self) -> np.ndarray:
        """Single-scattering intensity per eV on `grid`, unit integral over 50 eV from the onset."""
        from scipy.special import erf

        energy = self.grid()
        step = 0.5 * (1 + erf((energy - self.step_eV) / (self.step_width_eV / np.sqrt(2))))
        values = step * (energy / self.onset_eV) ** -self.decay
        for line in self.lines:
            sigma = line.fwhm_eV / _ROOT
            height = line.area / (sigma * np.sqrt(2 * np.pi))
            values = values + height * np.exp(-0.5 * ((energy - line.centre_eV) / sigma) ** 2)
        inside = (energy >= self.onset_eV) & (energy < self.onset_eV + WINDOW_EV)
        return values / (values[inside].sum() * GRID_STEP_EV)

    def perturbed(self, rng: np.random.Generator) -> Template:
        """The template as it might be too, within its uncertainties.

        The marking line moves by the uncertainty of the energies. What stands above it (sigma* bands, the
        step) is known less well, and moves by four times as much, up to 1 eV.
        """
        shift = self.energy_se_eV * rng.standard_normal()
        far = min(4 * self.energy_se_eV, 1.0)
        lines = []
        for index, line in enumerate(self.lines):
            moved = shift if index == 0 else far * rng.standard_normal()
            scale = float(np.exp(self.area_se * rng.standard_normal()))
            width = line.fwhm_eV * float(np.exp(0.1 * rng.standard_normal()))
            lines.append(Line(line.centre_eV + moved, width, line.area * scale))
        return replace(self, lines=tuple(lines), step_eV=self.step_eV + far * rng.standard_normal())


def _carbon(
    name: str, species: str, step: tuple[float, float], lines: tuple, se: float, source: str
) -> Template:
    return Template(name, species, "C_K", 284.0, *step, tuple(Line(*line) for line in lines), se, 0.2, source)


CARBON = (
    _carbon(
        "graphitic carbon",
        "sp2",
        (290.5, 0.8),
        ((285.3, 1.5, 1.5), (291.9, 1.8, 0.6), (294.0, 5.0, 2.5), (302.0, 12.0, 3.0)),
        0.15,
        f"{_SOLOMON}: aromatic 285.1-285.4; graphite sigma* 291.7-292",
    ),
    _carbon(
        "amorphous carbon",
        "sp2",
        (290.0, 2.5),
        ((285.2, 2.0, 0.9), (288.3, 4.0, 1.2), (294.5, 9.0, 5.0)),
        0.3,
        "evaporated films: pi* near 285, a filled valley, one broad sigma* maximum at 292-296",
    ),
    _carbon(
        "aliphatic C-H",
        "aliphatic",
        (290.0, 1.0),
        ((287.6, 1.5, 0.9), (293.1, 4.5, 3.0), (301.0, 9.0, 2.0)),
        0.25,
        f"{_SOLOMON}: 287.1-287.9",
    ),
    _carbon(
        "O-alkyl, ether",
        "ether",
        (291.0, 1.0),
        ((289.3, 1.7, 1.5), (295.5, 7.0, 4.0), (304.0, 9.0, 1.0)),
        0.2,
        f"{_SOLOMON}: O-alkyl 289.1-289.6",
    ),
    _carbon(
        "carboxyl",
        "carboxyl",
        (292.5, 1.0),
        ((288.5, 1.2, 1.9), (296.5, 6.0, 3.5), (303.0, 8.0, 1.5)),
        0.15,
        f"{_SOLOMON}: carboxyl pi* 288.4-288.7",
    ),
    _carbon(
        "inorganic carbonate",
        "carbonate",
        (295.0, 1.2),
        ((290.3, 1.0, 2.6), (298.3, 4.0, 2.5), (301.8, 4.5, 3.0)),
        0.1,
        "pi* of carbonates 290.2-290.4; sigma* 296-302",
    ),
    _carbon(
        "alkyl carbonate",
        "carbonate",
        (294.0, 1.2),
        ((290.4, 1.2, 2.4), (296.5, 6.0, 3.5), (303.0, 7.0, 2.0)),
        0.15,
        "pi* of organic carbonates 290.2-290.6; sigma* broader than in the salt",
    ),
)


def carbon_templates() -> tuple[Template, ...]:
    """The C K templates that are shipped."""
    return CARBON
