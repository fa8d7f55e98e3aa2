"""docs/benchmarks.md: what was compared, how, and the tables."""

from __future__ import annotations

INTRODUCTION = """\
# Benchmarks

Written by `python benchmarks/quantification/run.py --long --write docs/benchmarks.md`, which installs every
peer from the package index into an environment of its own (`--cache`, by default `benchmarks/.venvs`), runs
all of them one after the other in the same rounds and measures CPU seconds with one BLAS thread. Absolute
times are those of a shared two-core machine: read the ratios.
"""
COMPARE = """\
## One spectrum image, every program

**Data.** 60 x 100 pixels, 1024 channels of 0.5 eV from 200 eV: a power law and the C K, O K, F K and Mn L
edges convolved with one low loss of t/lambda 0.5. A 10 nm layer (C/O/F/Mn .45/.40/.13/.02) lies on a
particle (.05/.60/.05/.30); the exponent of the background is 3.1 in the layer, 2.9 in the particle and
drifts by 0.05. Poisson counts of 200 and 5 a channel at 280 eV. The generator shares no code with
`ceiflow.eels`. All programs get the same hydrogenic edge curves (those of eXSpy) and the same noise-free
low loss: this compares fitting, not cross-sections.

**Numbers.** RMSE/CRLB is the root mean square error of an amplitude in units of its Cramer-Rao bound (four
amplitudes, A and r unknown, from the true model), pixel by pixel over the whole image. Values below 1
belong to fits that hold something fixed or above zero, and are bought with bias. Bias is the mean error
relative to the true mean where the element lives: C, O, F in the layer, Mn in the particle. "Without noise"
is the largest RMSE/CRLB of a fit to the expected counts at the high dose: what the model itself does wrong.
Imports, file reading of peers and start values are not timed.

- ceiflow: from opening the file to the last pixel's amplitudes and errors; near-edge terms are in the
  model, although the data have none. The image ends 26.5 eV above F K, where the project's own rule asks
  for 30 eV before it names an element identifiable; that rule is eased here so that all fit four elements.
- floor: the same bound with nothing learnt and nothing checked, edges known beforehand, data in memory.
- eXSpy: hydrogenic edges, power law, `low_loss`; start values from a fit of the mean spectrum; `multifit`
  with `lm`, or `lstsq` with r held at the mean spectrum's. numba and numexpr installed. A thirtieth (`lm`)
  or a tenth of the pixels a round.
- pyEELSMODEL: `LinearBG` with four exponents from 1 to 5, fixed patterns, `MscatterFFT`, as in its
  core-loss example; weighted is what that example uses, the convex background what its
  `ElementalQuantification` uses. "Edges spread beforehand" spares it the convolution in every pixel, which
  is possible only where one low loss stands for all. A tenth of the pixels a round.
- nionswift: `core_loss_edge`, divided by the true counts of a unit edge in the window.
"""
FILES = """\
## From a file to its maps

300 x 180 pixels x 2048 channels of dual EELS in the project's calibrated file (uint16, every pixel with its
own low loss of t/lambda .2 to .8, C O F Mn Co Ni), each job in a process of its own with its imports, the
file in the system's cache. The floor reads both signals once, does one weighted pass over the core loss
with one design for all pixels, and writes its maps. `quantify` reads, measures t/lambda, sorts pixels into
at most 16 groups of like material and thickness, builds a design for each from its low loss, learns its
near-edge shapes, fits every pixel, pools pixels into adaptive bins and fits those, and writes counts, areal
densities, their errors and detection limits, fractions, t/lambda and chi2. The longer file is the same rows
ten times. Spectra are held by blocks, whatever the file's size; what grows with a file are the maps, some
numbers for every pixel.
"""

# What `validation.py` writes stands between these.
BEGIN, END = "<!-- validation: begin -->", "<!-- validation: end -->"


def insert(text: str, part: str) -> str:
    """The page `text` with this part in place of the old one, or at its end."""
    if BEGIN in text:
        before, rest = text.split(BEGIN, 1)
        return before + part.rstrip("\n") + rest.split(END, 1)[1]
    return text.rstrip("\n") + "\n\n" + part


def kept(text: str) -> str:
    """The part of `validation.py` in an old page; empty where there is none."""
    return BEGIN + text.split(BEGIN, 1)[1].split(END, 1)[0] + END + "\n" if BEGIN in text else ""


def page(sections: dict[str, tuple[str, dict[str, float]]]) -> str:
    """The page from the tables that were made."""
    parts = [INTRODUCTION]
    for name, text in (("compare", COMPARE), ("files", FILES)):
        if name not in sections:
            continue
        table, facts = sections[name]
        lines = [f"- {words}: {value:.3g}" for words, value in facts.items()]
        parts += [text, table + "\n", "\n".join(lines) + "\n"]
    return "\n".join(parts)
