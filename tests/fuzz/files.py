"""Spoiled instrument files through ingest: `python tests/fuzz/files.py --count 1200 --seed 1`.

Every one has to end in a failed row with a clean reason, or in a signal whose numbers make sense; within
bounds of time and memory, and without an exception. With `--chain` the accepted ones go on through
calibration, fit and layer. A run is taken up again where it stopped with `--first`.
"""

from __future__ import annotations

import argparse
import collections
import math
import sys
import tempfile
import time
import traceback
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "unit")]

import mutators
import numpy as np
import signals_makers as make

from ceiflow import signals
from ceiflow.signals.store import open_signal, read_header
from ceiflow.study import load_config, seed_for

READING = {"cpu_seconds": 10, "cpu_seconds_per_GB": 0, "memory_MB": 1000}
SLOW = 4 * READING["cpu_seconds"]


def corpus(folder: Path) -> dict[str, tuple[Path, str, tuple]]:
    """Small sound files of every format: name -> (file, modality, ways to spoil it)."""
    picture = make.image(40, 40)
    made = {
        "dm3-si": (make.write_dm(folder / "si.dm3"), "eels_si", mutators.BINARY),
        "dm4-si": (make.write_dm(folder / "si.dm4"), "eels_si", mutators.BINARY),
        "dm4-image": (make.write_dm(folder / "image.dm4", picture, step=0.05), "hrtem", mutators.BINARY),
        "emd-velox": (make.write_velox(folder / "v.emd", picture), "adf", mutators.HDF5),
        "emd-ncem": (make.write(folder / "n.emd"), "eels_si", mutators.HDF5),
        "hspy-si": (make.write(folder / "si.hspy"), "eels_si", mutators.HDF5),
        "msa": (make.write_msa(folder / "a.msa", make.cube()[0, 0]), "eels_spectrum", mutators.TEXT),
        "tif": (make.write(folder / "a.tif", picture, spectra=False), "hrtem", mutators.BINARY),
        "mrc": (make.write_mrc(folder / "a.mrc", picture), "hrtem", mutators.BINARY),
        "rpl": (make.write(folder / "a.rpl"), "eels_si", mutators.TEXT),
    }
    return made


def one(name: str, index: int, seed: int, sound: dict, folder: Path, chain: bool = False) -> tuple[str, str]:
    """Spoil one file and read it: ("failed" | "ok" | "WRONG", what happened)."""
    source, modality, kind = sound[name]
    random = np.random.default_rng(seed_for(seed, "file", name, str(index)))
    way, data = mutators.mutate(source.read_bytes(), kind, random)
    target = folder / f"spoiled{source.suffix}"
    target.write_bytes(data)
    if source.suffix == ".rpl":
        target.with_suffix(".raw").write_bytes(source.with_suffix(".raw").read_bytes())
    row = {"acquisition_id": "a", "modality": modality, "path": target.name}
    output = folder / "a.h5"
    begun = time.monotonic()
    try:
        header = signals.ingest(row, {"reading": READING}, folder, output)
        found = judge(header, output) if header.ok else judge_reason(header.reason, folder)
        if not found and chain and header.ok:
            found = follow(output, folder, modality)
    except Exception as error:
        found = f"raised {type(error).__name__}: {error}\n{traceback.format_exc()[-1500:]}"
        return "WRONG", f"{name} {index} {way}: {found}"
    if time.monotonic() - begun > SLOW:
        found = found or f"took {time.monotonic() - begun:.0f} s"
    if target.read_bytes() != data:
        found = "the raw file was written"
    state = "WRONG" if found else header.status
    return state, f"{name} {index} {way}: {found or header.reason}"


def judge_reason(reason: str, folder: Path) -> str:
    """What is wrong with a reason that a user reads; empty if nothing."""
    if not reason or "Traceback" in reason or str(folder) in reason:
        return f"no clean reason: {reason!r}"
    return f"reason of {len(reason)} letters" if len(reason) > 2000 else ""


def judge(header: signals.Header, output: Path) -> str:
    """What is wrong with an accepted signal; empty if nothing."""
    for name, value in header.metadata.items():
        if value.value is not None and not math.isfinite(value.value):
            return f"{name} = {value.value}"
    for role in read_header(output).roles:
        signal = open_signal(output, role)
        if not np.isfinite(signal.read()).all() or 0 in signal.shape:
            return f"{role}: values that are not finite, or none"
        if signal.pixel_size_nm is not None and not 1e-4 <= signal.pixel_size_nm <= 1e4:
            return f"{role}: pixel size {signal.pixel_size_nm} nm"
        if signal.energy_scale_eV is not None:
            low, high = signal.energy_eV[[0, -1]]
            if not (1e-4 <= signal.energy_scale_eV <= 100 and -1e4 <= low < high < 1e6):
                return f"{role}: energies {low} to {high} eV"
    return ""


def follow(signal: Path, folder: Path, modality: str) -> str:
    """Take an accepted signal through the later stages; each of them may refuse it, none may stumble."""
    from ceiflow import eels, layer
    from ceiflow.errors import SignalError

    config = load_config({"eels": {"elements": ["C", "O", "Mn"]}, "layer": {"particle_elements": ["Mn"]}})
    names = ("maps", "layer", "spectra", "measurements", "summary", "overlay", "fine_structure")
    out = {name: folder / f"{name}.out" for name in names}
    calibrated, edges, fit = folder / "calibrated.h5", folder / "edges.h5", folder / "fit.h5"
    try:
        if modality in ("hrtem", "tem", "adf"):
            layer.measure_image(signal, out, config)
            return ""
        eels.calibrate(signal, calibrated, config)
        eels.edges([signal], edges, config)
        if modality == "eels_spectrum":
            eels.measure_spectrum(calibrated, edges, out, config)
            return ""
        eels.quantify(calibrated, edges, fit, config)
        layer.measure_spectrum_image(calibrated, fit, edges, out, config)
    except SignalError:
        return ""
    return ""


def main() -> int:
    """Run and count; exit status 1 if anything went wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1200)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", nargs="*")
    parser.add_argument("--chain", action="store_true", help="accepted files go through the later stages")
    parser.add_argument("--keep", type=Path, help="folder for files on which something went wrong")
    parser.add_argument("--verbose", action="store_true")
    options = parser.parse_args()
    import rsciio.digitalmicrograph
    import rsciio.emd
    import rsciio.hspy
    import rsciio.tiff  # noqa: F401  # once here, and not in every child

    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "sound").mkdir()
        (folder / "spoiled").mkdir()
        sound = corpus(folder / "sound")
        names = [name for name in sound if not options.only or name in options.only]
        counts: collections.Counter[str] = collections.Counter()
        begun = time.monotonic()
        for number in range(options.first, options.count):
            name = names[number % len(names)]
            index = number // len(names)
            state, text = one(name, index, options.seed, sound, folder / "spoiled", options.chain)
            counts[state] += 1
            if state == "WRONG" or options.verbose:
                print(state, text, flush=True)
            if state == "WRONG" and options.keep:
                options.keep.mkdir(parents=True, exist_ok=True)
                spoiled = next((folder / "spoiled").glob(f"spoiled{sound[name][0].suffix}"))
                (options.keep / f"{name}-{index}{spoiled.suffix}").write_bytes(spoiled.read_bytes())
        seconds = time.monotonic() - begun
        total = sum(counts.values())
        print(f"{total} files, seed {options.seed}, {seconds:.0f} s: {dict(sorted(counts.items()))}")
        return int(counts["WRONG"] > 0)


if __name__ == "__main__":
    sys.exit(main())
