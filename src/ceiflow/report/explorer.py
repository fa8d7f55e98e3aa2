"""The spectrum explorer: one page a spectrum image, with data and script inside and nothing loaded."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import os
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ceiflow.eels.bins import BinFits, fit_bins
from ceiflow.figures.palette import element_colour
from ceiflow.figures.tables import by_number
from ceiflow.signals.store import open_signal, read_header

LARGEST_PAGE = 10_000_000
# Channels are summed for display up to this width, which is about what a microscope resolves.
WIDEST_CHANNEL_EV = 1.0
# So many counts are fitted for a page at once, each with some 40 bytes of memory: where hardly anything was
# counted, many more would fit into the page.
LARGEST_CELLS = 16_000_000
# A count of Poisson noise takes this many bits at least: half the logarithm of 2 pi e times its variance.
_NOISE = 2 * math.pi * math.e
_BASE64 = 4 / 3
_RESERVE = 1_500_000
ZONES = {1: "layer", 2: "particle"}


def write_explorer(
    calibrated: Path,
    edges: Path,
    maps: Path,
    page: Path,
    config: Mapping[str, Any],
    largest: int = LARGEST_PAGE,
) -> None:
    """Write the page of one spectrum image; one that failed gets a page with the reason.

    Parameters
    ----------
    calibrated, edges, maps : Path
        calibrated/{acquisition}.h5, study/edges.h5, eels/{acquisition}/maps.h5.
    page : Path
        The HTML file.
    config : mapping
        The merged configuration: `eels` and `detector`.
    largest : int
        Bytes of a page. Above it pixels are pooled, and channels summed, as little as brings it below; the
        page says so.
    """
    header = read_header(calibrated)
    reason = _failure(maps) if header.ok else header.reason
    if reason:
        _write(page, _render(header.acquisition_id, None, reason))
        return
    text = ""
    for side, factor in poolings(calibrated, config, largest):
        fits = fit_bins(calibrated, edges, config, _zones(maps), side, factor)
        text = _render(header.acquisition_id, _content(fits), "")
        if len(text.encode()) <= largest:
            break
    _write(page, text)


def _failure(maps: Path) -> str:
    """Why the maps could not be made; empty where they were."""
    import h5py

    with h5py.File(maps, "r") as file:
        return str(file.attrs.get("reason", "")) if file.attrs.get("status", "ok") == "failed" else ""


def poolings(calibrated: Path, config: Mapping[str, Any], largest: int) -> Iterator[tuple[int, int]]:
    """Ways to pool, (side of a bin, channels summed), from none on, that may fit into a page.

    What the noise of counts takes at least is known beforehand: what cannot fit is not tried.
    """
    core = open_signal(calibrated, "core_loss")
    rows, columns, channels = core.shape
    gain = float((config.get("detector") or {}).get("gain") or 1.0)
    total = sum(float(block.sum(dtype=np.float64)) for _, block in core.blocks(4096))
    mean = max(total / max(rows * columns * channels, 1), 0.0) / gain
    widest = max(int(WIDEST_CHANNEL_EV / core.energy_scale_eV + 1e-6), 1)
    factors = [factor for factor in (1, 2, 4, 8) if factor <= widest] or [1]
    for side in range(1, max(rows, columns) + 1):
        for factor in factors:
            cells = -(-rows // side) * -(-columns // side) * (channels // factor)
            bits = max(0.5 * math.log2(max(_NOISE * mean * side**2 * factor, 1.0)), 0.5)
            fits = cells <= LARGEST_CELLS and cells * bits / 8 * _BASE64 + _RESERVE <= largest
            if fits or side == max(rows, columns):
                yield side, factor


def _zones(maps: Path) -> np.ndarray:
    """Zone of every pixel."""
    import h5py

    with h5py.File(maps, "r") as file:
        return file["zone"][()]


def _content(fits: BinFits) -> dict[str, Any]:
    """What the script reads: facts, and arrays packed as text."""
    source, options, zone = fits.source, fits.source.config["eels"], fits.zone
    elements = by_number(fits.elements)
    order = [fits.elements.index(name) for name in elements]
    upper = np.triu_indices(len(elements))
    covariance = fits.covariance[:, order][:, :, order][:, upper[0], upper[1]]
    columns = [fits.theta[:, order], covariance, fits.chi2[:, None], fits.thickness[:, None]]
    known = fits.total is not None
    columns += [(fits.zero_loss if known else fits.chi2 * 0)[:, None]]
    columns += [(fits.total if known else fits.chi2 * 0)[:, None], fits.floor[:, order]]
    step, lowest = _step(fits)
    quantised = np.rint((fits.counts - lowest) / step).astype(np.int64)
    planes = max(1, math.ceil(int(quantised.max(initial=0)).bit_length() / 8))
    limit = options.get("max_thickness_over_mfp")
    facts = {
        "id": source.header.acquisition_id,
        "rows": fits.shape[0],
        "columns": fits.shape[1],
        "side": fits.side,
        "factor": fits.channel_factor,
        "pixel_nm": source.core.pixel_size_nm,
        "energy": [float(fits.energy_eV[0]), float(fits.energy_eV[1] - fits.energy_eV[0])],
        "channels": int(fits.energy_eV.size),
        "elements": elements,
        "modelled": fits.modelled,
        "colours": {name: element_colour(name, i) for i, name in enumerate(fits.modelled)},
        "onsets": [float(source.sections[name].edge.onset_eV) for name in fits.modelled],
        "names": [source.sections[name].edge.name.replace("_", " ") for name in fits.modelled],
        "scale": [round(float(fits.scale_errors[i]), 6) for i in order],
        "reasons": dict(source.reasons),
        "density_reason": source.density_reason(),
        "fraction_reason": source.fraction_reason(),
        "ratio": source.exposure_ratio or 0.0,
        "gain": source.noise.gain,
        "read_variance": source.noise.read_noise**2 * fits.channel_factor,
        "missing": 0.0 if source.low is None else source.low.missing,
        "thickest": None if limit is None else float(limit),
        "low_loss": known,
        "groups": int(fits.basis.shape[0]),
        "width": int(fits.basis.shape[1]),
        "step": step,
        "lowest": lowest,
        "planes": planes,
        "zones": {str(key): name for key, name in ZONES.items() if (zone == key).any()},
        "notes": list(source.notes),
    }
    return {
        "facts": facts,
        "arrays": {
            "counts": _pack(_byte_planes(quantised, planes)),
            "basis": _pack_floats(fits.basis),
            "amplitudes": _pack_floats(fits.amplitudes),
            "bins": _pack_floats(np.concatenate(columns, axis=1)),
            "labels": _pack(np.concatenate([fits.group.astype(np.uint8), zone]).tobytes()),
        },
    }


def _step(fits: BinFits) -> tuple[float, float]:
    """Step and least value of stored counts: whole numbers where they are, else a quarter of the noise."""
    counts = fits.counts
    lowest = float(counts.min(initial=0.0))
    if np.all(counts == np.rint(counts)):
        return 1.0, float(np.rint(lowest))
    noise = fits.source.noise
    typical = max(float(np.median(counts)), noise.gain)
    variance = noise.gain * typical + noise.read_noise**2 * fits.channel_factor
    step = 2.0 ** math.floor(math.log2(math.sqrt(variance) / 4))
    return step, math.floor(lowest / step) * step


def _byte_planes(values: np.ndarray, planes: int) -> bytes:
    """Whole numbers as planes of bytes, the lowest first: like bytes side by side are packed better."""
    flat = values.ravel()
    return b"".join(((flat >> (8 * plane)) & 255).astype(np.uint8).tobytes() for plane in range(planes))


def _pack(content: bytes) -> str:
    return base64.b64encode(zlib.compress(content, 9)).decode("ascii")


def _pack_floats(values: np.ndarray) -> str:
    """float32, little-endian, as four planes of bytes."""
    raw = np.ascontiguousarray(values, dtype="<f4").view(np.uint8).reshape(-1, 4)
    return _pack(np.ascontiguousarray(raw.T).tobytes())


def _render(name: str, content: Mapping[str, Any] | None, reason: str) -> str:
    from ceiflow.report.pages import TEMPLATE, environment

    script = (TEMPLATE / "explorer.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    facts = "" if content is None else json.dumps(content["facts"], sort_keys=True, allow_nan=False)
    return (
        environment()
        .get_template("explorer.html.j2")
        .render(
            name=name,
            reason=reason,
            style=(TEMPLATE / "page.css").read_text(encoding="utf-8")
            + (TEMPLATE / "explorer.css").read_text(encoding="utf-8"),
            script=script if content else "",
            digest=digest,
            # A block of data ends at the first `</`: there is none.
            facts=facts.replace("<", "\\u003c"),
            arrays={} if content is None else content["arrays"],
            said={} if content is None else content["facts"],
        )
    )


def _write(page: Path, text: str) -> None:
    page = Path(page)
    page.parent.mkdir(parents=True, exist_ok=True)
    partial = page.with_name(f".{page.name}.part")
    partial.write_text(text, encoding="utf-8", newline="\n")
    os.replace(partial, page)
