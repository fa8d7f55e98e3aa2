"""Layers in multislice images with a known truth: bias of the gap, false positives, misses, detection limit.

    python benchmarks/layer/multislice.py waves FOLDER         exit waves (needs abTEM), once
    python benchmarks/layer/multislice.py measure FOLDER       images of them, measured: FOLDER/images.tsv
    python benchmarks/layer/multislice.py table FOLDER         what ceiflow.layer.bias holds of them
    python benchmarks/layer/multislice.py fixtures FOLDER      a few of them for the unit tests

Sets of slabs that share no seed: `calibration` is what `ceiflow.layer.bias` takes its figures from,
`development` was looked at while the estimator was mended, `report` is what it is held against.
"""

from __future__ import annotations

import argparse
import csv
import json
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

from ceiflow.layer.image import measure_image
from ceiflow.phantom import multislice
from ceiflow.phantom.multislice import SAMPLE_NM, Slab
from ceiflow.phantom.optics import Lens
from ceiflow.signals.store import Header, create_h5, write_header
from ceiflow.study import load_config
from ceiflow.study.metadata import METADATA, MISSING, Value

PIXEL_NM = 2 * SAMPLE_NM
COATINGS_NM = {0.0: 6, 1.0: 2, 2.0: 3, 5.0: 3, 10.0: 3}
DEFOCI_NM, DOSES = (40.0, 80.0, 150.0, 300.0), (100.0, 400.0, 2000.0)
FIXTURES = (
    ("development-0nm-0", 80.0, 400.0),
    ("development-0nm-1", 150.0, 400.0),
    ("development-2nm-0", 80.0, 400.0),
    ("development-5nm-1", 150.0, 400.0),
    ("development-10nm-2", 40.0, 400.0),
    ("development-10nm-1", 300.0, 400.0),
)
FIXTURE_FILE = Path(__file__).parents[2] / "tests" / "fixtures" / "multislice.npz"
SETS = {"calibration": 1, "development": 2, "report": 3}


def slabs(which: str, most: int = 6) -> dict[str, Slab]:
    """Slabs of a set by name: facet, tilt and depth drawn."""
    made = {}
    for coating, count in COATINGS_NM.items():
        for index in range(min(count, most)):
            seed = [SETS[which], round(10 * coating), index]
            rng = np.random.default_rng(seed)
            made[f"{which}-{coating:g}nm-{index}"] = Slab(
                coating_nm=coating,
                turn_deg=float(rng.uniform(0, 90)),
                tilt_mrad=float(rng.uniform(-15, 15)),
                depth_nm=float(rng.uniform(4, 8)),
                seed=int(rng.integers(1 << 30)),
            )
    return made


def make_wave(job: tuple[Slab, Path]) -> None:
    slab, path = job
    if not path.exists():
        np.save(path, multislice.exit_wave(slab))


def lens(defocus: float, dose: float) -> Lens:
    return Lens(beam_energy_keV=300.0, defocus_nm=defocus, dose_e_per_A2=dose)


def measure_one(image, settings: dict, folder: Path, bare=(), modality: str = "hrtem") -> dict:
    """Run the pipeline's own stage on one image; what it wrote."""
    known = {"pixel_size_nm": PIXEL_NM, "beam_energy_keV": 300.0, **settings}
    values = {name: Value(known[name], "sheet") if name in known else MISSING for name in METADATA}
    folder.mkdir(parents=True, exist_ok=True)
    signal = folder / "signal.h5"
    with create_h5(signal) as file:
        write_header(file, Header("simulated", modality, metadata=values))
        file["image/data"] = image
    outputs = {name: folder / name for name in ("layer", "overlay", "measurements", "summary")}
    measure_image(signal, outputs, load_config({}), list(bare))
    read = {"summary": json.loads(outputs["summary"].read_text())}
    for name in ("layer", "measurements"):
        with open(outputs[name], encoding="utf-8", newline="") as handle:
            read[name] = list(csv.DictReader(handle, delimiter="\t"))
    signal.unlink()
    return read


def number(text: str) -> float:
    return float(text) if text else float("nan")


def column(rows: list[dict], name: str) -> np.ndarray:
    return np.array([number(row.get(name) or "") for row in rows])


def described(read: dict, slab: Slab, edge: float) -> dict:
    """One row of images.tsv: places of both edges against the truth, thickness, limit, decisions."""
    rows, layer = read["layer"], read["summary"].get("layer", {})
    if not rows:
        return {"reason": read["summary"]["qc_reason"], "n": 0}
    inner = (column(rows, "inner_column") - edge) * PIXEL_NM
    outer = (column(rows, "outer_column") - edge) * PIXEL_NM - slab.coating_nm
    present = np.array([row["present"] == "true" for row in rows])
    thickness, limit = column(rows, "thickness_nm"), column(rows, "lod_nm")
    said = {row["endpoint"]: row for row in read["measurements"]}
    mean = said["layer_thickness_nm"]
    return {
        "n": int(np.isfinite(thickness).sum()),
        "gap_nm": layer.get("gap_median_nm"),
        "gap_sd_nm": layer.get("gap_sd_nm"),
        "lattice_edge_nm": float(np.nanmedian(inner)),
        "matter_edge_nm": float(np.nanmedian(outer)),
        "thickness_nm": float(np.nanmedian(thickness)),
        "rmse_nm": float(np.sqrt(np.nanmean((thickness - slab.coating_nm) ** 2))),
        "lod_nm": float(np.nanmedian(limit)),
        "present": int(present[np.isfinite(thickness)].sum()),
        "mean_nm": number(mean["value"]),
        "se_nm": float(np.hypot(number(mean["se_stat"]), number(mean["se_sys"] or "0"))),
        "status": mean["status"],
        "smallest_spacing_nm": layer["lattice"]["smallest_spacing_nm"],
        "amorphous": number(said["layer_amorphous_fraction"]["value"]),
        "reason": read["summary"]["qc_reason"],
    }


def measure_slab(job: tuple[str, Slab, Path, tuple]) -> list[dict]:
    """All images of one slab; for a set whose bare slabs are measured already, calibrated by them."""
    name, slab, path, bare = job
    wave, rows = np.load(path), []
    with tempfile.TemporaryDirectory() as folder:
        for defocus in DEFOCI_NM:
            for dose in DOSES:
                rng = np.random.default_rng([slab.seed, round(defocus), round(dose)])
                image, edge = multislice.image(wave, slab, lens(defocus, dose), rng)
                settings = {"defocus_nm": defocus, "dose_e_per_A2": dose}
                read = measure_one(image, settings, Path(folder), bare)
                row = {"name": name, "truth_nm": slab.coating_nm, "turn_deg": round(slab.turn_deg, 1)}
                row |= {"tilt_mrad": round(slab.tilt_mrad, 1), "depth_nm": round(slab.depth_nm, 1)}
                rows.append(row | settings | described(read, slab, edge))
    return rows


def write_rows(path: Path, rows: list[dict]) -> None:
    names = list(dict.fromkeys(key for row in rows for key in row))
    with open(path, "w", encoding="utf-8", newline="") as handle:
        writer = csv.DictWriter(handle, names, delimiter="\t", lineterminator="\n")
        writer.writeheader()
        writer.writerows(
            {key: f"{value:.4g}" if isinstance(value, float) else value for key, value in row.items()}
            for row in rows
        )


def table(rows: list[dict]) -> str:
    """The figures of `ceiflow.layer.bias`, from the calibration set.

    Defocus, gap of bare facets, its standard deviation between slabs, and the difference under coatings.
    """
    lines = []
    for defocus in DEFOCI_NM:
        means: dict[bool, list[float]] = {True: [], False: []}
        for name in dict.fromkeys(row["name"] for row in rows if row["name"].startswith("calibration")):
            here = [
                row for row in rows
                if row["name"] == name and float(row["defocus_nm"]) == defocus
                and float(row["dose_e_per_A2"]) > DOSES[0] and row["n"] != "0" and row["gap_nm"]
            ]  # fmt: skip
            truth = float(here[0]["truth_nm"]) if here else 1.0
            if truth != 1.0:
                gap = np.mean(column(here, "gap_nm") - truth)
                means[truth == 0].append(float(gap))
        bare, coated = np.array(means[True]), np.array(means[False])
        parts = bare.mean(), bare.std(ddof=1), coated.mean() - bare.mean()
        lines.append(
            f"[{defocus:.1f}, " + ", ".join(f"{part:.2f}" for part in parts) + f"]  # {len(bare)} slabs"
        )
    return "\n".join(lines)


def fixtures(folder: Path, output: Path) -> None:
    """A few small images of the development set with their truth, for the unit tests."""
    held = {}
    for name, defocus, dose in FIXTURES:
        slab = slabs("development")[name]
        rng = np.random.default_rng([slab.seed, round(defocus), round(dose)])
        image, edge = multislice.image(np.load(folder / f"{name}.npy"), slab, lens(defocus, dose), rng)
        key = f"{name.removeprefix('report-')}|{slab.coating_nm:g}|{defocus:g}|{dose:g}|{edge:.3f}"
        held[key] = image.astype(np.uint8) if image.max() < 256 else image
    np.savez_compressed(output, **held)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("waves", "measure", "table", "fixtures"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--set", choices=tuple(SETS), action="append")
    parser.add_argument("--most", type=int, default=6, help="slabs of one thickness")
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    if options.what == "table":
        with open(options.folder / "images.tsv", encoding="utf-8", newline="") as handle:
            print(table(list(csv.DictReader(handle, delimiter="\t"))))
        return
    if options.what == "fixtures":
        fixtures(options.folder, FIXTURE_FILE)
        return
    made = {name: slab for which in options.set or SETS for name, slab in slabs(which, options.most).items()}
    paths = {name: options.folder / f"{name}.npy" for name in made}
    with ProcessPoolExecutor(options.processes) as pool:
        if options.what == "waves":
            list(pool.map(make_wave, [(slab, paths[name]) for name, slab in made.items()]))
            return
        jobs = [(name, slab, paths[name], ()) for name, slab in made.items()]
        rows = [row for rows in pool.map(measure_slab, jobs) for row in rows]
    write_rows(options.folder / "images.tsv", rows)


if __name__ == "__main__":
    main()
