"""The demo study on one core and on two: `python benchmarks/scaling/cores.py`, on a quiet machine.

Both runs are from nothing, with byte-code and file caches warm: a first, small run is not counted. Each is
bound to as many processors as it may use, else Snakemake itself and its helpers would run on a second one
beside a single job. Wall time is asked for here; CPU time beside it shows whether the machine was quiet
(about the same in both).
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))

from generated import Cost, call
from running import demo_study, small_demo


def main() -> None:
    """Print the table and the ratio; exit status 1 if the two manifests differ."""
    processors = sorted(os.sched_getaffinity(0))
    if len(processors) < 2:
        sys.exit("two processors are needed")
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        call(small_demo(folder / "warm"), "--quiet", "all", cores=2)
        costs: dict[int, Cost] = {}
        manifests = set()
        print("| cores | wall s | CPU s |\n|---|---|---|")
        for cores in (1, 2):
            study = demo_study(folder / f"demo{cores}")
            os.sched_setaffinity(0, processors[:cores])
            costs[cores] = call(study, "--quiet", "all", cores=cores)
            manifests.add((study / "results" / "MANIFEST.sha256").read_text(encoding="utf-8"))
            print(f"| {cores} | {costs[cores].wall_s:.0f} | {costs[cores].cpu_s:.0f} |", flush=True)
    print(f"\nTwo cores are {costs[1].wall_s / costs[2].wall_s:.2f} times as fast as one.")
    sys.exit(len(manifests) != 1)


if __name__ == "__main__":
    main()
