"""Rims in dark field that are no layers: slopes of bare particles, against layers of the same brightness.

    python benchmarks/layer/slopes.py FOLDER --seed 11 --count 4      FOLDER/slopes.tsv and a summary

Made here from thickness maps alone, with nothing of the phantom or of the estimator: a bare particle that is
bevelled, leaning, rounded, followed by another one that looks out from behind, or bevelled over a part of the
surface; and layers that are even, uneven, patchy, or on a sphere. Half of the images stand on an offset of
30000 with a gain of 3 and read noise, as scans that are stored without counts do.
"""

from __future__ import annotations

import argparse
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from multislice import measure_one, number, write_rows
from scipy.ndimage import gaussian_filter, gaussian_filter1d

SLOPES = ("bevelled", "leaning", "rounded", "another behind", "bevelled in part")
LAYERS = ("even", "uneven", "patchy", "sphere")
SIDE, HALF_ARC_NM, SAMPLES = 320, 400.0, 4096


def along(rng, position, mean: float, sd: float, correlation_nm: float = 25.0) -> np.ndarray:
    """A quantity that varies along the surface, not below zero."""
    s = np.linspace(-HALF_ARC_NM, HALF_ARC_NM, SAMPLES)
    wave = gaussian_filter1d(rng.standard_normal(SAMPLES), correlation_nm / (s[1] - s[0]))
    return np.maximum(mean + np.interp(position, s, wave * sd / wave.std()), 0.0)


def depth_below_surface(rng, pixel: float, radius: float) -> tuple[np.ndarray, np.ndarray]:
    """nm below the outline (negative outside), and nm along it."""
    y, x = (np.indices((SIDE, SIDE)) - SIDE / 2) * pixel
    angle = rng.uniform(-0.6, 0.6)
    u, v = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    depth, position = -u, v
    if np.isfinite(radius):
        depth, position = radius - np.hypot(u + radius, v), np.arctan2(v, u + radius) * radius
    relief = rng.uniform(0.2, 1.0)
    return depth + along(rng, position, 10 * relief, relief, 10.0) - 10 * relief, position


def circle(share: np.ndarray) -> np.ndarray:
    """Height of a quarter of a circle, from its edge (0) to its crest (1)."""
    share = np.clip(share, 0, 1)
    return np.sqrt(share * (2 - share))


def slope(rng, kind: str, pixel: float) -> np.ndarray:
    """Mass thickness of a bare particle that ends in a slope."""
    radius = np.inf if rng.random() < 0.6 else rng.uniform(60, 300)
    d, position = depth_below_surface(rng, pixel, radius)
    full = rng.uniform(60, 300)
    inner = full * rng.uniform(0.001, 0.01)
    if kind == "bevelled":
        share, rest = rng.uniform((0.15, 1.0), (0.6, 8.0))
        width = np.maximum(along(rng, position, rng.uniform(5, 18), rng.uniform(0, 3)), 1.0)
        fall = share * np.clip(d / width, 0, 1) + (1 - share) * np.clip((d - width) / rest, 0, 1)
        return full * fall + inner * np.clip(d - width - rest, 0, None)
    if kind == "leaning":
        width = np.maximum(along(rng, position, rng.uniform(6, 25), rng.uniform(0, 3)), 1.0)
        return full * np.clip(d / width, 0, 1) + inner * np.clip(d - width, 0, None)
    if kind == "rounded":
        width = rng.uniform(8, 40)
        return full * circle(d / width) + inner * np.clip(d - width, 0, None)
    if kind == "another behind":
        other, out = rng.uniform(15, 80), rng.uniform(4, 15)
        behind = rng.uniform(0.3, 1) * other * circle((d + out) / other)
        return full * (d > 0) + inner * np.clip(d, 0, None) + behind
    width = rng.uniform(8, 20) / (1 + np.exp(-position / 6)) + 0.5
    share = rng.uniform(0.3, 1.0)
    fall = share * np.clip(d / width, 0, 1) + (1 - share) * np.clip((d - width) / 3, 0, 1)
    return full * fall + inner * np.clip(d - width, 0, None)


def layer(rng, kind: str, pixel: float) -> tuple[np.ndarray, float]:
    """Mass thickness of a particle with a layer of 2 to 14 nm, and the layer's mean thickness."""
    radius = rng.uniform(60, 300) if kind == "sphere" else np.inf
    d, position = depth_below_surface(rng, pixel, radius)
    full = rng.uniform(60, 300)
    mean = float(np.exp(rng.uniform(np.log(2), np.log(14))))
    thick = along(rng, position, mean, {"even": 0.05, "uneven": 0.3}.get(kind, 0.1) * mean)
    if kind == "patchy":
        thick = thick * (along(rng, position, 10.0, 1.0, 80.0) > 9.5)
    share = rng.uniform(0.15, 0.5)
    if kind == "sphere":

        def body(reach):
            return np.minimum(2 * np.sqrt(np.maximum((radius + reach) ** 2 - (radius - d) ** 2, 0)), full)

        particle = body(0.0)
        return particle + share * (body(thick) - particle), mean
    ramp = max(rng.uniform(0, 3), 0.05)
    particle = full * np.clip(d / ramp + 0.5, 0, 1)
    whole = full * np.clip((d + thick) / ramp + 0.5, 0, 1)
    inner = full * rng.uniform(0.0, 0.006) * np.clip(d, 0, None)
    return particle + share * (whole - particle) + inner, mean


def exposed(rng, thickness: np.ndarray, pixel: float) -> np.ndarray:
    """An image: probe, counts (10 to 500 in the particle), unsteady lines, and what the detector stores."""
    mean = gaussian_filter(thickness, rng.uniform(0.4, 1.0) / pixel)
    mean = mean / np.quantile(mean, 0.95) * 10 ** rng.uniform(1, 2.7)
    lines = 1 + 0.003 * rng.standard_normal((SIDE, 1))
    counts = rng.poisson((mean + 0.003 * mean.max()) * lines).astype(float)
    if rng.random() < 0.5:
        return counts
    return 3.0 * counts + 30000 + 2.0 * rng.standard_normal(counts.shape)


def make(kind: str, seed: list[int]) -> tuple[np.ndarray, float, float]:
    """Image, pixel in nm and true thickness (0 for slopes)."""
    rng = np.random.default_rng(seed)
    pixel = float(rng.choice([0.4, 0.6, 0.65]))
    thickness, truth = (slope(rng, kind, pixel), 0.0) if kind in SLOPES else layer(rng, kind, pixel)
    return exposed(rng, thickness, pixel), pixel, truth


def measure(job: tuple[str, int, int]) -> dict:
    kind, seed, index = job
    image, pixel, truth = make(kind, [seed, (*SLOPES, *LAYERS).index(kind), index])
    with tempfile.TemporaryDirectory() as folder:
        read = measure_one(image.astype(np.float32), {"pixel_size_nm": pixel}, Path(folder), (), "adf")
    said = {item["endpoint"]: item for item in read["measurements"]}["layer_thickness_nm"]
    rim = read["summary"]["layer"].get("rim") or {}
    error = np.hypot(number(said["se_stat"]), number(said["se_sys"] or "0"))
    return {
        "kind": kind, "index": index, "truth_nm": truth, "status": said["status"],
        "thickness_nm": number(said["value"]), "error_nm": float(error), "lod_nm": number(said["lod"]),
        "for_layer": rim.get("for_layer"), "brightness": rim.get("brightness"),
        "refused_rim": bool(rim) and "a rim of" in read["summary"]["qc_reason"],
        "reason": read["summary"]["qc_reason"],
    }  # fmt: skip


def summary(rows: list[dict]) -> str:
    """A line a kind: what was said, and what would have been without the rule."""
    text = "| surface | images | identified | without the rule | bounded | not identifiable |\n"
    text += "|---|---|---|---|---|---|\n"
    for kind in dict.fromkeys(row["kind"] for row in rows):
        here = [row for row in rows if row["kind"] == kind]
        of = {name: sum(r["status"] == name for r in here) for name in ("identified", "bounded")}
        refused = sum(row["refused_rim"] for row in here)
        rest = len(here) - sum(of.values())
        text += f"| {kind} | {len(here)} | {of['identified']} | {of['identified'] + refused} | "
        text += f"{of['bounded']} | {rest} |\n"
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--count", type=int, default=4, help="images a kind")
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    jobs = [(kind, options.seed, k) for kind in (*SLOPES, *LAYERS) for k in range(options.count)]
    with ProcessPoolExecutor(options.processes) as pool:
        rows = list(pool.map(measure, jobs))
    write_rows(options.folder / "slopes.tsv", rows)
    print(summary(rows))


if __name__ == "__main__":
    main()
