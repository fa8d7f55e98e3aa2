"""Carbon species and Mn valence: errors against the bound, and what happens when things go wrong.

Spectra are simulated with shapes that the estimator does not hold (`ceiflow.phantom`), or, for the
comparison with the bound, with its own references, since a bound holds for a model that is true.

    python benchmarks/fine_structure/run.py [--repeats 20] [--real-data FOLDER]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from ceiflow.eels import low_loss as ll
from ceiflow.eels.fine_structure.cells import pooled_rows
from ceiflow.eels.fine_structure.columns import ReferenceColumns
from ceiflow.eels.fine_structure.pooling import DIFFER, likelihood_of, pool
from ceiflow.eels.fine_structure.references import load_references, read_spectrum
from ceiflow.eels.fine_structure.rows import species_rows, unmixing_content, unmixing_reason
from ceiflow.eels.fine_structure.unmixing import Problem, Spectrum, grouping, unmix
from ceiflow.eels.fine_structure.valence import leave_one_out, load_standards
from ceiflow.phantom.edges import nature
from ceiflow.phantom.materials import MATERIALS, mix
from ceiflow.phantom.spectra import Beam, expected_dual

SPECIES = ("sp2", "aliphatic", "ether", "carboxyl", "carbonate")
LAYER = {"Li2CO3": 0.35, "ROCO2Li": 0.30, "polyether": 0.25, "LiF": 0.06, "LixPOyFz": 0.04}
BEAM = Beam(channels=500, zero_loss_fwhm_eV=0.8, jitter_eV=0.0, drift_eV=0.0)


def layer_material(extra: dict[str, float] | None = None):
    """The demo's layer, or with other volume fractions."""
    return mix(extra or LAYER)


def simulated(
    material, counts: float, thickness_nm: float, rng, shift=0.0, shift_se=0.3
) -> tuple[Spectrum, dict]:
    """A spectrum of the phantom with about so many counts under C K, and the true shares."""
    core, low = expected_dual({"layer": np.array([thickness_nm])}, {"layer": material}, BEAM, nature(1))
    core, low = core[0], low[0]
    edge = material.atoms["C"] * thickness_nm * 3.44e-7 * BEAM.electrons
    core = core * counts / edge
    energy = BEAM.core_energy() + shift
    loss = BEAM.low_start_eV + BEAM.true_dispersion_eV * np.arange(low.size)
    kernel = ll.kernel(loss, low, BEAM.true_dispersion_eV)
    truth = {name: material.carbon.get(name, 0.0) for name in SPECIES}
    return Spectrum(energy, rng.poisson(core).astype(float), kernel, shift_se_eV=shift_se), truth


def own_model(counts: float, background: float, shares: dict[str, float], rng):
    """A spectrum of the estimator's own references, and the bound on the error of each share."""
    references = load_references([], Path("."))
    energy = np.arange(250.0, 334.0, 0.5)
    weights = np.exp(-0.5 * (np.arange(-4, 5, 0.5) / 0.34) ** 2)
    kernel = weights / weights.sum(), 8
    columns = ReferenceColumns(energy, kernel, references)
    amounts = np.zeros(len(references))
    for name, share in shares.items():
        amounts[[item.species for item in references].index(name)] = share * counts
    shape = (energy / 284) ** -3.0
    mean = columns.columns(0.0, 0.0) @ amounts + background * shape
    spectrum = Spectrum(energy, rng.poisson(mean).astype(float), kernel, shift_se_eV=0.1)
    return spectrum, bound_of(spectrum, mean, references, amounts)


def bound_of(spectrum: Spectrum, mean: np.ndarray, references: list, amounts: np.ndarray) -> dict[str, float]:
    """Cramer-Rao bound on each share: background, corrections and shift as nuisances with their priors.

    Parameters
    ----------
    spectrum : Spectrum
        Axis, low loss and how well the axis is known.
    mean : (n,) array
        Expected counts.
    references : list of Reference
    amounts : (r,) array
        Counts of each.
    """
    inside = (spectrum.energy_eV >= 250) & (spectrum.energy_eV <= 334)
    problem = Problem(spectrum, 284.0)
    columns = ReferenceColumns(spectrum.energy_eV[inside], spectrum.kernel, references)
    problem.jump = amounts.sum() / 50.0 * problem.step
    free, penalty = problem.free()
    step = 0.05
    derivative = (columns.columns(step, 0.0) - columns.columns(-step, 0.0)) @ amounts / (2 * step)
    design = np.concatenate([columns.columns(0.0, 0.0), free, derivative[:, None]], axis=1)
    information = design.T @ (design / mean[inside, None])
    known = [1 / spectrum.shift_se_eV**2]
    information += np.diag(np.concatenate([np.zeros(len(references)), penalty, known]))
    covariance = np.linalg.pinv(information)[: len(references), : len(references)]
    names, group = grouping(references)
    share = group @ amounts / amounts.sum()
    gradient = (group - share[:, None]) / amounts.sum()
    bound = np.sqrt(np.diag(gradient @ covariance @ gradient.T))
    return dict(zip(names, bound, strict=True))


def against_the_bound(repeats: int) -> None:
    """Error at 2,000 and 20,000 counts over the Cramer-Rao bound, and how often intervals hold."""
    references = load_references([], Path("."))
    shares = {"sp2": 0.15, "aliphatic": 0.2, "ether": 0.25, "carboxyl": 0.1, "carbonate": 0.3}
    print("\nError of shares against the bound (own references, background five times the edge's jump)\n")
    print("| counts | species | true | RMSE | bound | RMSE / bound | 95 % interval holds |")
    print("|---|---|---|---|---|---|---|")
    for counts in (2000, 20000):
        errors, inside, bounds = {s: [] for s in SPECIES}, {s: 0 for s in SPECIES}, {}
        for index in range(repeats):
            spectrum, bounds = own_model(counts, counts / 50 * 0.5 * 5, shares, np.random.default_rng(index))
            found = unmix(spectrum, references, index)
            for i, name in enumerate(found.species):
                errors[name].append(found.fraction[i] - shares[name])
                inside[name] += found.low[i] - 0.02 <= shares[name] <= found.high[i] + 0.02
        for name in SPECIES:
            rmse = float(np.sqrt(np.mean(np.square(errors[name]))))
            ratio = rmse / bounds[name]
            print(
                f"| {counts} | {name} | {shares[name]:.2f} | {rmse:.3f} | {bounds[name]:.3f} | {ratio:.2f} "
                f"| {inside[name]} of {repeats} |"
            )


def thick_specimens(repeats: int) -> None:
    """Is the loss at large t/lambda the estimator's or the data's? Errors beside the bound at each thickness.

    The shapes are the phantom's; the bound is that of a model whose references are right, so an estimator
    that has to allow for wrong ones stays above it.
    """
    references = load_references([], Path("."))
    names = [item.species for item in references]
    print("\nCarbonate at 20,000 counts under C K by thickness\n")
    print("| t/lambda | true | mean | RMSE | stated se (stat, sys) | bound | RMSE / bound | identified |")
    print("|---|---|---|---|---|---|---|---|")
    for thickness in (60.0, 100.0, 155.0):
        found, seen = [], 0
        for index in range(repeats):
            rng = np.random.default_rng(3000 + index)
            spectrum, truth = simulated(layer_material(), 20000, thickness, rng)
            result = unmix(spectrum, references, index)
            i = result.species.index("carbonate")
            found.append((result.fraction[i], result.se_stat[i], result.se_sys[i]))
            rows = species_rows("all", "carbon", result, unmixing_reason(result, spectrum), 1, "")
            seen += any(
                row.endpoint == "carbon_fraction_carbonate" and row.status == "identified" for row in rows
            )
        amounts = np.zeros(len(names))
        for name, share in truth.items():
            amounts[names.index(name)] = share * 20000 if name in names else 0.0
        expected, _ = simulated(layer_material(), 20000, thickness, _Mean())
        bound = bound_of(spectrum, expected.counts, references, amounts)["carbonate"]
        weights, zero = spectrum.kernel
        elastic = weights[: zero + round(3.0 / BEAM.true_dispersion_eV)].sum()
        value, stat, systematic = (np.array(column) for column in zip(*found, strict=True))
        rmse = float(np.sqrt(np.mean((value - truth["carbonate"]) ** 2)))
        print(
            f"| {-np.log(elastic):.2f} | {truth['carbonate']:.2f} | {value.mean():.2f} | {rmse:.3f} "
            f"| {stat.mean():.3f}, {systematic.mean():.3f} | {bound:.3f} | {rmse / bound:.2f} "
            f"| {seen} of {repeats} |"
        )


class _Mean:
    """Draws that are their own expectation."""

    @staticmethod
    def poisson(mean: np.ndarray) -> np.ndarray:
        return mean


def by_cell(repeats: int) -> None:
    """Several weak spectra of one cell: the average of their shares, and one fit to all of them."""
    references = load_references([], Path("."))
    print("\nCarbonate of a cell of several spectra, axes off by 0.2 eV at random (shapes of the phantom)\n")
    print(
        "| spectra | counts each | true | average, RMSE | identified | one fit, RMSE | identified | agree |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for number, counts in ((4, 5000), (6, 1500)):
        averages, pooled, all_seen, seen, agree = [], [], 0, 0, 0
        for index in range(repeats):
            contents, statuses, shares = [], [], []
            for part in range(number):
                rng = np.random.default_rng(5000 + 50 * index + part)
                spectrum, truth = simulated(layer_material(), counts, 60.0, rng, rng.normal(0, 0.2))
                found = unmix(spectrum, references, part)
                rows = species_rows("all", "carbon", found, unmixing_reason(found, spectrum), 1, "")
                statuses += [row.status for row in rows if row.endpoint == "carbon_fraction_carbonate"]
                shares.append(found.fraction[found.species.index("carbonate")])
                contents.append(likelihood_of(unmixing_content(found, references, "")))
            averages.append(np.mean(shares))
            # A cell with one acquisition below its limit is bounded as a whole.
            all_seen += set(statuses) <= {"identified", "not_identifiable"} and "identified" in statuses
            row = next(
                item
                for item in pooled_rows("carbon", contents)
                if item["endpoint"] == "carbon_fraction_carbonate"
            )
            seen += row["status"] == "identified"
            agree += row["agreement_p"] >= DIFFER
            whole = pool(contents)
            pooled.append(whole.fraction[whole.species.index("carbonate")])
        errors = [
            float(np.sqrt(np.mean((np.array(values) - truth["carbonate"]) ** 2)))
            for values in (averages, pooled)
        ]
        print(
            f"| {number} | {counts} | {truth['carbonate']:.2f} | {errors[0]:.3f} | {all_seen} of {repeats} "
            f"| {errors[1]:.3f} | {seen} of {repeats} | {agree} of {repeats} |"
        )


def when_things_go_wrong(repeats: int) -> None:
    """The phantom's shapes: a shifted axis, a missing species, a thick specimen, templates that are wrong."""
    references = load_references([], Path("."))
    without = [item for item in references if item.species != "carbonate"]
    wrong = [item for item in references if item.name != "graphitic carbon"]
    cases = {
        "as it is": (layer_material(), 60.0, 0.0, 0.3, references),
        "axis off by 0.3 eV": (layer_material(), 60.0, 0.3, 0.3, references),
        "axis off by 0.3 eV, said to be known to 0.02": (layer_material(), 60.0, 0.3, 0.02, references),
        "t/lambda 0.8": (layer_material(), 155.0, 0.0, 0.3, references),
        "no reference of carbonate": (layer_material(), 60.0, 0.0, 0.3, without),
        "carbon black": (MATERIALS["carbon"], 60.0, 0.0, 0.3, references),
        "carbon black, without its reference": (MATERIALS["carbon"], 60.0, 0.0, 0.3, wrong),
    }
    print("\nShapes of the phantom, 20,000 counts under C K\n")
    print(
        "| case | species | true | mean | scatter | stated se (stat, sys) | within 2 se | reported | flag |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for name, (material, thickness, shift, shift_se, chosen) in cases.items():
        found = []
        for index in range(repeats):
            rng = np.random.default_rng(1000 + index)
            spectrum, truth = simulated(material, 20000, thickness, rng, shift, shift_se)
            result = unmix(spectrum, chosen, index)
            rows = species_rows("all", "carbon", result, unmixing_reason(result, spectrum), 1, "")
            found.append((result, rows))
        for species in ("sp2", "carbonate"):
            _print_case(name, species, truth[species], found, repeats)


def _print_case(name: str, species: str, true: float, found: list, repeats: int) -> None:
    results = [result for result, _ in found if species in result.species]
    flags = sum(bool(result.missing) for result, _ in found)
    energies = [item["energy_eV"] for result, _ in found for item in result.missing[:1]]
    flag = f"{flags} of {repeats}" + (f" at {np.median(energies):.1f} eV" if energies else "")
    status = [row.status for _, rows in found for row in rows if row.endpoint == f"carbon_fraction_{species}"]
    counted = ", ".join(f"{status.count(item)} {item}" for item in sorted(set(status)))
    if not results:
        print(f"| {name} | {species} | {true:.2f} | | | | | {counted} | {flag} |")
        return
    at = [result.species.index(species) for result in results]
    values = np.array([result.fraction[i] for result, i in zip(results, at, strict=True)])
    stat = np.array([result.se_stat[i] for result, i in zip(results, at, strict=True)])
    systematic = np.array([result.se_sys[i] for result, i in zip(results, at, strict=True)])
    good = int(np.sum(np.abs(values - true) < 2 * np.hypot(stat, systematic)))
    print(
        f"| {name} | {species} | {true:.2f} | {values.mean():.2f} | {values.std(ddof=1):.2f} "
        f"| {stat.mean():.2f}, {systematic.mean():.2f} | {good} of {repeats} | {counted} | {flag} |"
    )


def measured(folder: Path) -> None:
    """Measured files: amorphous carbon, and three Mn compounds left out one at a time."""
    references = folder / "references"
    energy, counts = read_spectrum(references / "amorphous_carbon_c_k.dm3")
    spectrum = Spectrum(energy, counts, None, shift_se_eV=0.5)
    found = unmix(spectrum, load_references([], Path(".")), 1)
    print("\nAmorphous carbon, measured (no low loss)\n")
    print("| species | share | se (stat, sys) | upper limit, 95 % | reported |")
    print("|---|---|---|---|---|")
    rows = species_rows("all", "carbon", found, unmixing_reason(found, spectrum), 1, "")
    for i, name in enumerate(found.species):
        row = next(row for row in rows if row.endpoint == f"carbon_fraction_{name}")
        print(
            f"| {name} | {found.fraction[i]:.2f} | {found.se_stat[i]:.2f}, {found.se_sys[i]:.2f} "
            f"| {found.limit[i]:.2f} | {row.status} |"
        )
    compounds = (("MnO", 2), ("LaMnO3", 3), ("MnO2", 4))
    entries = [{"name": n, "edge": "Mn_L", "path": f"mn_l23_{n}.csv", "valence": v} for n, v in compounds]
    standards = load_standards(entries, references, "Mn")
    errors = leave_one_out(standards)
    print("\nMn references, each predicted from the other two\n")
    print("| compound | valence | L3/L2 | recipe's systematic | L3 (eV) | error of valence |")
    print("|---|---|---|---|---|---|")
    for item in standards:
        lines = item.lines
        print(
            f"| {item.name} | {item.valence:g} | {lines.ratio:.2f} | {lines.ratio_sys:.2f} "
            f"| {lines.position_eV:.2f} | {errors[item.name]:+.2f} |"
        )


def nmc_edge(folder: Path) -> None:
    """The measured edge of an NMC particle: surface against bulk, each on references that were left in."""
    import tempfile

    from ceiflow import eels
    from ceiflow.eels.fine_structure.measure import measure_fine_structure
    from ceiflow.phantom.design import ACQUISITION_COLUMNS
    from ceiflow.signals import ingest
    from ceiflow.study import load_config

    references = [
        {"name": n, "edge": "Mn_L", "path": f"references/mn_l23_{n}.csv", "valence": v}
        for n, v in (("MnO", 2), ("LaMnO3", 3), ("MnO2", 4))
    ]
    config = load_config(
        {"eels": {"max_thickness_over_mfp": 1.2}, "fine_structure": {"references": references}}
    )
    row = dict.fromkeys(ACQUISITION_COLUMNS) | {
        "acquisition_id": "nmc-edge", "cell_id": "c", "modality": "eels_si", "path": "core_loss_si.dm3",
        "low_loss_path": "low_loss_si.dm3", "beam_energy_keV": 300.0, "convergence_mrad": 10.0,
        "collection_mrad": 20.0,
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as name:
        signal, calibrated, edges = (Path(name) / f"{item}.h5" for item in ("signal", "calibrated", "edges"))
        ingest(row, config, folder / "nmc-edge", signal)
        eels.edges([signal], edges, config)
        eels.calibrate(signal, calibrated, config)
        columns = np.broadcast_to(np.arange(21), (2, 21))
        masks = {"all": columns >= 0, "surface": (columns >= 1) & (columns < 4), "particle": columns >= 6}
        found = measure_fine_structure(calibrated, edges, masks, config, folder=folder)
    print("\nnmc-edge, measured: surface (pixels 1-3) and bulk (pixels 6-20)\n")
    print("| zone | endpoint | value | se (stat, sys) | status |")
    print("|---|---|---|---|---|")
    for item in found.rows:
        if item.endpoint.startswith(("mn_", "co_l3_l2", "oxygen", "lithium", "carbon_fraction_carbonate")):
            numbers = [f"{x:.2f}" if x is not None else "" for x in (item.value, item.se_stat, item.se_sys)]
            errors = ", ".join(part for part in numbers[1:] if part)
            print(f"| {item.zone} | {item.endpoint} | {numbers[0]} | {errors} | {item.status} |")


def main() -> None:
    """Print every table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--real-data", type=Path)
    arguments = parser.parse_args()
    against_the_bound(arguments.repeats)
    thick_specimens(arguments.repeats)
    by_cell(arguments.repeats)
    when_things_go_wrong(arguments.repeats)
    if arguments.real_data:
        measured(arguments.real_data)
        nmc_edge(arguments.real_data)


if __name__ == "__main__":
    main()
