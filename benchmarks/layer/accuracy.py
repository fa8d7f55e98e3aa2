"""How near to the truth is the layer in spectrum images, and do its intervals cover?

    python benchmarks/layer/accuracy.py --source maps --repeats 2
    python benchmarks/layer/accuracy.py --source spectra --repeats 1 --small
    python benchmarks/layer/accuracy.py --source maps --repeats 2 --write docs/layer.md

`maps` draws count maps of a simulated particle with Poisson noise: geometry alone. `spectra` records whole
dual spectrum images with `ceiflow.phantom`, and calibrates and fits them first. Truth is the mean thickness
along the arc of each analysed segment. Prints one row for every true thickness, dose, shape and cover;
`--write` puts a summary of them between the marks of a page.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from scipy.spatial import cKDTree

from ceiflow.layer.elements import FitMaps, choose, read_fit
from ceiflow.layer.summary import layer_rows
from ceiflow.layer.trace import find_layer
from ceiflow.phantom.geometry import BARE_BELOW_NM, Scene, make_arc, pixel_paths, surface_in_view
from ceiflow.study import load_config

sys.path.insert(0, str(Path(__file__).parent))
import recorded

SHAPE, PIXEL_NM = (30, 44), recorded.PIXEL_NM
THICKNESSES, DOSES, KINDS = (0.0, 1.0, 2.0, 5.0, 10.0), (100.0, 750.0, 3500.0), ("sphere", "facet")
#: Share of the arc that is bare in every other acquisition of a layer.
PATCHY = 0.3
#: Counts per nm of path and e/A^2 of a 2 nm pixel as C K and Mn L edges give them, and the variance that
#: the fit of the background below them adds.
SIGNAL, BACKGROUND = {"Mn": 0.0012, "C": 0.008}, {"Mn": 0.04, "C": 0.12}
#: What a layer is made of in `spectra`.
COMPOSITION = {"Li2CO3": 0.35, "ROCO2Li": 0.30, "polyether": 0.25, "LiF": 0.06, "LixPOyFz": 0.04}
ELEMENTS = ("C", "O", "F", "Mn", "Co", "Ni")


@dataclass
class Tally:
    """Sums over acquisitions of one row of the table."""

    error: list = field(default_factory=list)
    inside: list = field(default_factory=list)
    false: list = field(default_factory=list)
    missed: list = field(default_factory=list)
    mean_error: list = field(default_factory=list)
    mean_z: list = field(default_factory=list)
    fraction: list = field(default_factory=list)
    limit: list = field(default_factory=list)
    said: list = field(default_factory=list)


def scene(rng: np.random.Generator, kind: str, thickness: float, bare: float) -> Scene:
    """A particle with its layer: shape, relief and bare runs drawn."""
    arc = make_arc(
        rng, 400.0, thickness_nm=thickness, sd_nm=0.1 * thickness, bare_fraction=bare, relief_nm=0.3
    )
    return Scene(
        kind=kind,
        arc=arc,
        radius_nm=float(rng.uniform(70, 350)),
        depth_nm=float(rng.uniform(30, 55)),
        tilt_rad=float(rng.uniform(0, 0.015)),
        angle_rad=float(rng.uniform(-0.5, 0.5)),
    )


def maps_of(ways: dict[str, np.ndarray], dose: float, rng: np.random.Generator) -> FitMaps:
    """Count maps with Poisson noise, and the densities that go with them."""
    thick = {"Mn": ways["oxide"] + ways["skin"], "C": ways["layer"]}
    density = {"Mn": 29.3, "C": 19.0}
    matter = thick["Mn"] + thick["C"]
    counts, spread, areal = {}, {}, {}
    for name, way in thick.items():
        mean = SIGNAL[name] * dose * way
        variance = mean + BACKGROUND[name] * dose * matter + 1.0
        counts[name] = mean + rng.standard_normal(mean.shape) * np.sqrt(variance)
        spread[name] = np.sqrt(variance)
        areal[name] = counts[name] * density[name] / (SIGNAL[name] * dose)
    total = rng.poisson(dose * (matter + 0.01)).astype(float)
    # ln(all / zero loss) of a fiftieth of the electrons.
    over_path = matter / 150
    spread_of_log = np.sqrt(np.expm1(over_path + 1e-3) / (2 * dose * PIXEL_NM**2))
    single = {
        "total_counts": total,
        "reduced_chi2": np.ones(matter.shape),
        "thickness_over_mfp": over_path + spread_of_log * rng.standard_normal(matter.shape),
    }
    return FitMaps(recorded.header("maps"), counts, spread, areal, dict(areal), {}, single, {})


def spectra_of(ways, dose: float, rng: np.random.Generator, folder: Path) -> FitMaps:
    """The fitted maps of a recorded dual spectrum image."""
    from ceiflow.phantom.materials import MATERIALS, mix

    materials = {"oxide": MATERIALS["NMC532"], "skin": MATERIALS["rocksalt"], "layer": mix(COMPOSITION)}
    beam = recorded.beam(
        dose, offset_eV=float(rng.uniform(-3, 3)), dispersion_factor=float(rng.uniform(0.997, 1.003))
    )
    lengths = {name: ways[name] for name in materials}
    seed = int(rng.integers(1 << 30))
    return read_fit(recorded.fitted(folder, lengths, materials, beam, seed, rng, load_config({}))["fit"])


def measure(
    maps: FitMaps, surface: dict[str, np.ndarray], tally: Tally, bare: bool, seed: int, given: dict
) -> None:
    """Measure one acquisition and hold it against the truth."""
    settings = load_config({"layer": given})["layer"]
    found = find_layer(choose(maps, settings), PIXEL_NM, settings)
    rows = {row.endpoint: row for row in layer_rows(found.trace, found.reason, seed, 200)}
    tally.said.append(rows["layer_thickness_nm"].status)
    if found.trace is None:
        return
    profile = found.profile
    _, nearest = cKDTree(found.surface.points).query(np.c_[surface["row"], surface["column"]])
    segment, truth = found.segments.of_point[nearest], surface["thickness_nm"]
    known = [k for k in range(len(found.segments)) if (segment == k).any()]
    true = np.array([truth[segment == k].mean() for k in known])
    seen = profile.thickness_nm[known]
    # As in layer.tsv: with the systematic error that each thickness has.
    std = np.hypot(profile.std_nm[known], profile.shape_relative * seen)
    present, limit = profile.present[known], profile.lod_nm[known]
    good = np.isfinite(seen) & np.isfinite(limit)
    error = (seen - true)[good]
    tally.error += error.tolist()
    tally.inside += (np.abs(error) < 1.96 * std[good]).tolist()
    tally.limit += limit[good].tolist()
    if bare:
        tally.false += present[good].tolist()
    tally.missed += (~present[good])[true[good] > 2 * limit[good]].tolist()
    analysed = truth[segment >= 0]
    covered = analysed >= BARE_BELOW_NM
    thickness, coverage = rows["layer_thickness_nm"], rows["layer_coverage"]
    if thickness.value is not None and covered.any():
        wrong = thickness.value - float(analysed[covered].mean())
        tally.mean_error.append(wrong)
        tally.mean_z.append(wrong / math.hypot(thickness.se_stat, thickness.se_sys or 0.0))
    # Half of a layer as thick as what counts as bare is bare, by no fault of the measurement.
    plain = max(2 * float(np.median(limit)), 1.5 * BARE_BELOW_NM)
    if coverage.value is not None and not 0 < float(np.median(truth)) < plain:
        tally.fraction.append(coverage.value - float(covered.mean()))


def run(
    source: str, repeats: int, seed: int, thicknesses=THICKNESSES, doses=DOSES, given: dict | None = None
) -> dict[tuple, Tally]:
    """Simulate and measure; the same seed gives the same table. `given` are settings of the layer."""
    table: dict[tuple, Tally] = {}
    for t in thicknesses:
        for dose in doses:
            for kind in KINDS:
                for repeat in range(repeats):
                    rng = np.random.default_rng([seed, round(10 * t), round(dose), KINDS.index(kind), repeat])
                    bare = PATCHY * ((repeat + KINDS.index(kind)) % 2) if t else 0.0
                    tally = table.setdefault((t, dose, kind, "patchy" if bare else "whole"), Tally())
                    item = scene(rng, kind, t, bare)
                    ways = pixel_paths(item, SHAPE, PIXEL_NM, 5, 1.0, 0.01)
                    if source == "maps":
                        maps = maps_of(ways, dose, rng)
                    else:
                        with tempfile.TemporaryDirectory() as folder:
                            maps = spectra_of(ways, dose, rng, Path(folder))
                    surface = surface_in_view(item, SHAPE, PIXEL_NM)
                    measure(maps, surface, tally, t == 0, repeat, given or {})
    return table


def merged(table: dict[tuple, Tally], keep) -> Tally:
    """All rows whose key `keep` accepts, as one."""
    total = Tally()
    for key, tally in table.items():
        if keep(*key):
            for name in vars(total):
                getattr(total, name).extend(getattr(tally, name))
    return total


def line(name: str, tally: Tally) -> str:
    """One row of the table."""

    def mean(values, text="{:6.2f}"):
        return text.format(float(np.mean(values))) if len(values) else "     -"

    def rms(values):
        return (
            mean(np.square(values), "{}")
            if not len(values)
            else f"{np.sqrt(np.mean(np.square(values))):6.2f}"
        )

    near = np.abs(tally.mean_z) < 2 if tally.mean_z else []
    counts = "/".join(
        str(tally.said.count(status)) for status in ("identified", "bounded", "not_identifiable")
    )
    return " ".join(
        [
            f"{name:24s}", f"{len(tally.error):5d}", mean(tally.error), rms(tally.error), mean(tally.inside),
            mean(tally.limit), mean(tally.false), mean(tally.missed), mean(tally.mean_error),
            rms(tally.mean_error), mean(near), rms(tally.fraction), f"{counts:>9s}",
        ]
    )  # fmt: skip


HEAD = (
    f"{'truth nm, dose, shape':24s}     n   bias   RMSE  cover  limit  false   miss | mean: bias RMSE  <2se"
    "  coverage-error  identified/bounded/not"
)


def seconds(shape: tuple[int, int] = (180, 300), pixel_nm: float = 1.0) -> float:
    """Processor time to measure a 10 nm layer in the count maps of one spectrum image."""
    import time

    rng = np.random.default_rng(1)
    item = scene(rng, "sphere", 10.0, PATCHY)
    maps = maps_of(pixel_paths(item, shape, pixel_nm, 3, 1.0, 0.01), 750.0, rng)
    settings = load_config({})["layer"]
    begin = time.process_time()
    found = find_layer(choose(maps, settings), pixel_nm, settings)
    layer_rows(found.trace, found.reason, 1, 2000)
    return time.process_time() - begin


def page(table: dict[tuple, Tally]) -> str:
    """Markdown table: thickness by dose, then shapes, covers and all."""
    head = (
        "truth nm", "dose e/A2", "shape, cover", "segments", "bias nm", "RMSE nm", "95 % interval holds",
        "limit nm", "false +", "missed", "bias of the mean nm", "mean in its interval", "coverage error",
        "identified / bounded / not",
    )  # fmt: skip

    def number(values, form="{:.2f}"):
        return form.format(float(np.mean(values))) if len(values) else ""

    def root(values):
        return f"{float(np.sqrt(np.mean(np.square(values)))):.2f}" if len(values) else ""

    def row(names, tally):
        said = [str(tally.said.count(name)) for name in ("identified", "bounded", "not_identifiable")]
        cells = [
            *names, str(len(tally.error)), number(tally.error), root(tally.error), number(tally.inside),
            number(tally.limit), number(tally.false), number(tally.missed), number(tally.mean_error),
            number(np.abs(tally.mean_z) < 1.96) if tally.mean_z else "", root(tally.fraction),
            " / ".join(said),
        ]  # fmt: skip
        return "| " + " | ".join(cells) + " |"

    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    for t in dict.fromkeys(key[0] for key in table):
        for dose in dict.fromkeys(key[1] for key in table):
            both = merged(table, lambda a, b, *_, t=t, dose=dose: (a, b) == (t, dose))
            lines.append(row((f"{t:g}", f"{dose:g}", "both"), both))
    for name in dict.fromkeys([key[2] for key in table] + [key[3] for key in table]):
        covered = merged(table, lambda t, _, kind, cover, name=name: t > 0 and name in (kind, cover))
        lines.append(row(("1 to 10", "all", name), covered))
    lines.append(row(("all", "all", "all"), merged(table, lambda *_: True)))
    return "\n".join(lines) + "\n"


def insert(path: Path, name: str, text: str) -> None:
    """Put `text` between the marks of `name` in a page."""
    first, last = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
    content = path.read_text(encoding="utf-8")
    start, end = content.index(first) + len(first), content.index(last)
    path.write_text(content[:start] + text + content[end:], encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--source", choices=("maps", "spectra"), default="maps")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--seed", type=int, default=20)
    parser.add_argument("--small", action="store_true", help="three thicknesses and two doses only")
    parser.add_argument("--write", type=Path, help="page whose table is renewed")
    parser.add_argument("--dose", type=float, help="this dose only, in e/A2")
    parser.add_argument("--time", action="store_true", help="only the time of a map of 300 x 180 pixels")
    parser.add_argument("--segment", help="layer.segment_nm: a length in nm, or auto")
    options = parser.parse_args()
    if options.time:
        print(f"{seconds():.1f} s")
        return
    grid = {"thicknesses": (0.0, 2.0, 10.0), "doses": (750.0, 3500.0)} if options.small else {}
    if options.dose:
        grid["doses"] = (options.dose,)
    if options.segment:
        length = options.segment if options.segment == "auto" else float(options.segment)
        grid["given"] = {"segment_nm": length}
    table = run(options.source, options.repeats, options.seed, **grid)
    print(HEAD)
    for (t, dose, kind, cover), tally in table.items():
        print(line(f"{t:4g} {dose:6g} {kind} {cover}", tally), flush=True)
    print(line("all", merged(table, lambda *_: True)))
    print(line("all of 5 nm and more", merged(table, lambda t, *_: t >= 5)))
    if options.write:
        insert(options.write, options.source, page(table))


if __name__ == "__main__":
    main()
