"""The study's sheets, the wildcards, and the helper functions that rules call."""

import contextlib
import functools
import gc
import os
import re
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import yaml
from snakemake.exceptions import WorkflowError

from ceiflow.errors import StudyError
from ceiflow.report.closing import closing_text
from ceiflow.report.notebooks import notebook_format
from ceiflow.study import module_digest, source_digest, validate
from ceiflow.figures.names import STUDY_FIGURES
from ceiflow.figures.slots import slots
from ceiflow.figures.tables import groups, rows
from ceiflow.report.results import MODALITY_NAMES
from ceiflow.study.config import read_yaml
from ceiflow.study.measurements import IMAGE_MODALITIES
from ceiflow.study.panels import criteria, panels

# A large study's jobs and files stay to the end: looking for garbage among them costs a sixth of the DAG.
gc.set_threshold(500_000)

# Snakemake looks at every script with this package, which costs a job of a cluster as much as all other imports.
notebook_format()

# The study folder: where Snakemake runs, or the `prefix` under which another workflow took this one in.
FOLDER = Path(workflow.modifier.path_modifier.prefix or "")
# Whether files lie in a bucket or the like: a job then finds what it names as its inputs, and nothing beside them.
STORED = workflow.storage_settings.default_storage_provider is not None


def for_jobs(path):
    """Where a job finds a file of the study, flagged with its place in the storage if there is one."""
    return workflow.modifier.modify_path(path)


# The study folder as jobs see it.
JOB_FOLDER = Path(for_jobs("config")).parent if STORED else FOLDER

try:
    # Snakemake has read it already, and takes the last of two keys that are the same.
    if (FOLDER / "config" / "config.yaml").is_file():
        read_yaml(FOLDER / "config" / "config.yaml", "config/config.yaml")
    STUDY = validate(config, Path.cwd() / FOLDER, stored=STORED)
except StudyError as error:
    raise WorkflowError(str(error)) from None
config.update(STUDY.config)
BEGUN = time.time()
for path in (config["cells"], config["acquisitions"]):
    if workflow.is_main_process and (FOLDER / path).stat().st_mtime > BEGUN + 1:
        raise WorkflowError(f"{path}: time of the file: found the future; expected the past (touch it)")


def sheet(path):
    """A sheet as an input. Every job reads it as the workflow begins, so it goes with the sources, not to a bucket."""
    return workflow.source_path((Path.cwd() / FOLDER / path).as_posix()) if STORED else path


def kept_here(path):
    """A file that every run adds to: no job elsewhere gets it to add to, so its job runs here, where it stays."""
    return local(path) if STORED else path


CELLS_SHEET, ACQUISITIONS_SHEET = sheet(config["cells"]), sheet(config["acquisitions"])


def region_of(row):
    """What the frames of one dose series share."""
    return tuple(row[key] for key in ("cell_id", "particle_id", "region_id", "modality"))


# Rows that are excluded are reported, and not analysed.
ACQUISITIONS = {row["acquisition_id"]: row for row in STUDY.acquisitions if not row["exclude"]}
CONDITIONS = {row["cell_id"]: row["condition"] for row in STUDY.cells}
CELLS = sorted(row["cell_id"] for row in STUDY.cells)
MAPS = sorted(name for name, row in ACQUISITIONS.items() if row["modality"] == "eels_si")
SPECTRA = sorted(name for name, row in ACQUISITIONS.items() if row["modality"] == "eels_spectrum")
IMAGES = sorted(name for name, row in ACQUISITIONS.items() if row["modality"] in IMAGE_MODALITIES)
# Looked up once a job: what belongs together is put together once.
SHEET_ROWS = {}
for row in sorted([*STUDY.cells, *STUDY.acquisitions], key=lambda row: row.get("acquisition_id") or ""):
    said = {key: value for key, value in row.items() if value is not None}
    SHEET_ROWS.setdefault(row["cell_id"], []).append(said)
IN_CELL = {}
for name, row in ACQUISITIONS.items():
    IN_CELL.setdefault(row["cell_id"], set()).add(name)
PRISTINE = {}
for name in IMAGES:
    if CONDITIONS[ACQUISITIONS[name]["cell_id"]] == "pristine":
        PRISTINE.setdefault(ACQUISITIONS[name]["modality"], []).append(name)
# Spectra that the sheet numbers as frames of one region, in their order.
DOSE_SERIES = {}
for name in sorted(MAPS + SPECTRA, key=lambda name: (ACQUISITIONS[name]["frame"] or 0, name)):
    if ACQUISITIONS[name]["frame"] is not None:
        DOSE_SERIES.setdefault(region_of(ACQUISITIONS[name]), []).append(name)
# Frames that are not analysed: the specimen saw them all the same.
UNSEEN_FRAMES = {}
for row in STUDY.acquisitions:
    if row["exclude"] and row["frame"] is not None and row["modality"] in ("eels_si", "eels_spectrum"):
        dose = row["dose_e_per_A2"] or config["microscope"]["dose_e_per_A2"]
        frame = {"acquisition_id": row["acquisition_id"], "frame": row["frame"], "dose_e_per_A2": dose}
        UNSEEN_FRAMES.setdefault(region_of(row), []).append(frame)
MAP_FILES = ["maps.h5", "layer.tsv"]
# Where no region is a series, or no image can calibrate another, no job has to be asked.
ANY_SERIES = any(len(names) > 1 for names in DOSE_SERIES.values())
ANY_PRISTINE = bool(PRISTINE) and config["images"]["bias"] != "none"
SPECTRUM_FILES = ["summary.json", "spectra.tsv", "fine_structure.json"]
IMAGE_FILES = ["summary.json", "layer.tsv", "overlay.h5"]
TABLES = [
    "acquisitions",
    "measurements",
    "pooled",
    "cells",
    "claims",
    "panels",
    "exploration",
    "heterogeneity",
    "planning",
]
PANEL_TABLES = ["acquisitions", "measurements", "panels"]
STUDY_PANELS = panels(STUDY.cells, STUDY.acquisitions, config["claims"])
PANELS = criteria(STUDY_PANELS)
SHEET = rows(STUDY.cells)
# One figure for each example of a panel, whose acquisition is chosen when all are measured.
PANEL_FIGURES = {place.name: place for place in slots(STUDY_PANELS, groups(SHEET, SHEET), STUDY.acquisitions)}
ROOMS = ["signals", "eels", "images", "layer", "statistics", "figures", "report"]
DEMO_DESIGN = workflow.source_path("../../config/demo/design.yaml")
RETRIEVED = {item["path"]: item for item in config["retrieve"]["files"]}
EELS_DB = {item["path"]: item for item in config["retrieve"]["eels_db"]}


def one_of(names):
    """A wildcard constraint that lets these names through and nothing else."""
    return "|".join(map(re.escape, names)) or "(?!)"


wildcard_constraints:
    acquisition=r"[A-Za-z0-9][A-Za-z0-9_.-]*",
    cell=r"[A-Za-z0-9][A-Za-z0-9_.-]*",
    retrieved=one_of(RETRIEVED),
    reference=one_of(EELS_DB),


def by_attempt(megabytes):
    """Memory of a job: as much again at every further attempt, where failed jobs may be sent again."""
    # The number of retries is not known yet when rules are read; and a function costs a millisecond a job.
    asked = {word.partition("=")[0] for word in sys.argv} & {"--profile", "--retries", "-T"}
    if not asked and "SNAKEMAKE_PROFILE" not in os.environ:
        return megabytes

    def wanted(wildcards, attempt):
        return megabytes * attempt

    return wanted


def code_of(script, *modules):
    """The code that a rule depends on, its adapter and the modules that it calls with all below them."""
    # By content: the time of a script, which Snakemake would go by, is that of the checkout.
    return module_digest(*modules) + source_digest(workflow.source_path(f"../scripts/{script}.py"))


def sections(*names):
    """The parts of the configuration that a rule reads, so that it reruns for these alone."""
    return {name: config[name] for name in names}


def raw_paths(row):
    """Paths of an acquisition's raw files, as the sheet writes them."""
    return [row[key] for key in ("path", "low_loss_path", "adf_path") if row.get(key)]


def stored(path):
    """Size and time of a raw file in the storage, and of the one that a reader opens beside it."""
    beside = [str(Path(path).with_suffix(".raw"))] if path.lower().endswith(".rpl") else []
    for name in [path, *beside]:
        item = for_jobs(name).flags["storage_object"]
        if item.exists():
            yield name, SimpleNamespace(st_size=item.size(), st_mtime=item.mtime())


@functools.cache
def raw_files(name):
    """Status of the raw files that are there, None for one that a rule makes; an absent one fails its own row."""
    found = {}
    for path in raw_paths(ACQUISITIONS[name]):
        if path in MADE:
            found[path] = None
        elif STORED:
            found.update(stored(path))
        else:
            with contextlib.suppress(OSError):
                found[path] = os.stat(os.path.join(FOLDER, path))
    return found


def raw_input(wildcards):
    """The raw files, whose times are another clock's: their stamps in `recorded` say whether they changed."""
    files = raw_files(wildcards.acquisition)
    # Snakemake fails a job whose input is of the future, ancient or not; the script finds these by the sheet.
    passed = {path: status for path, status in files.items() if not status or status.st_mtime <= BEGUN}
    return [ancient(path) if status else path for path, status in passed.items()]


def recorded(wildcards):
    """What the sheet says of one acquisition, without the columns that only group it, and its files' stamps.

    Stamps are size and whole seconds of the files that no rule makes; by these another file, older or newer, is seen.
    """
    # One function for both: each costs a tenth of a millisecond a job.
    grouping = {"cell_id", "particle_id", "region_id", "frame", "exclude", "note"}
    row = ACQUISITIONS[wildcards.acquisition]
    made = filter(None, raw_files(wildcards.acquisition).values())
    return {
        "row": {key: value for key, value in row.items() if key not in grouping},
        "stamps": [[status.st_size, int(status.st_mtime)] for status in made],
    }


def dose_series_of(name):
    """Frames of the region of one acquisition in their order; none unless the sheet orders several."""
    frames = DOSE_SERIES.get(region_of(ACQUISITIONS[name]), [])
    return frames if name in frames and len(frames) > 1 else []


def dose_file(wildcards):
    """The series of an acquisition's region, where there is one."""
    frames = dose_series_of(wildcards.acquisition)
    # A list, even of one, would reach the script as a list.
    return f"<results>/dose/{frames[0]}.json" if frames else []


def frames_of_region(wildcards):
    """Calibrated signals of a series."""
    return [f"<results>/calibrated/{name}.h5" for name in dose_series_of(wildcards.acquisition)]


def frame_rows(wildcards):
    """Name and number of each frame of a series, and the dose of those that are not analysed."""
    names = dose_series_of(wildcards.acquisition)
    seen = [{key: ACQUISITIONS[name][key] for key in ("acquisition_id", "frame")} for name in names]
    return seen + UNSEEN_FRAMES.get(region_of(ACQUISITIONS[wildcards.acquisition]), [])


def spectrum_row(name):
    """The cell of a spectrum, as texts: for those of one cell that are fitted together."""
    return {key: ACQUISITIONS[name][key] for key in ("acquisition_id", "cell_id", "modality")}


def cell_name(wildcards):
    """Parameters of a cell's notebook."""
    return {"cell_id": wildcards.cell}


def pristine_images(wildcards):
    """Measured pristine images of the same modality, which calibrate the gap of all others."""
    row = ACQUISITIONS[wildcards.acquisition]
    if not ANY_PRISTINE or CONDITIONS[row["cell_id"]] == "pristine":
        return []
    return [f"<results>/images/{name}/summary.json" for name in PRISTINE.get(row["modality"], [])]


def measured(name):
    """One kind of file of every analysed acquisition."""
    folders = {"eels": MAPS + SPECTRA, "images": IMAGES}
    return [f"<results>/{folder}/{item}/{name}" for folder, items in folders.items() for item in items]


def drawn(names):
    """What pages draw of these acquisitions."""
    maps, images = names.intersection(MAPS), names.intersection(IMAGES)
    spectra = maps.union(names.intersection(SPECTRA))
    return [
        *collect("<results>/eels/{name}/{file}", name=sorted(spectra), file=SPECTRUM_FILES),
        *collect("<results>/eels/{name}/{file}", name=sorted(maps), file=MAP_FILES),
        *collect("<results>/images/{name}/{file}", name=sorted(images), file=IMAGE_FILES),
    ]


def drawn_elsewhere():
    """All that pages draw, for jobs to which the cells' pages do not bring it."""
    # Where files are shared, these pages stand for it: named twice, it would double the cost of the DAG.
    return drawn({*ACQUISITIONS}) if STORED else []


def cell_files(wildcards):
    """What the page of one cell is made of."""
    names = IN_CELL.get(wildcards.cell, set())
    folders = {"eels": names.intersection(MAPS + SPECTRA), "images": names.intersection(IMAGES)}
    tables = [
        f"<results>/{kind}/{name}/measurements.tsv" for kind in folders for name in sorted(folders[kind])
    ]
    return [*drawn(names), *tables]


def cell_sheet_rows(wildcards):
    """What the sheets say of one cell."""
    return SHEET_ROWS.get(wildcards.cell, [])


def caption_of(figure, words=None):
    """A figure's caption: with its numbers, as written beside it, once it is there; before that the words."""
    made = Path.cwd() / workflow.pathvars.get("results") / "figures" / "captions" / f"{figure}.rst"
    # Rules from afar take no caption from this machine.
    local = Path(workflow.current_basedir.get_path_or_uri(secret_free=True)).is_dir()
    return str(made) if local and made.is_file() else f"../report/{words or figure}.rst"


def in_report(figure):
    """A panel's figure with its place in Snakemake's report: the reader's question, and what it shows."""
    place = PANEL_FIGURES[figure]
    shown = {"panel": place.panel.name if place.panel else "other", "cells": place.group}
    return report(
        f"<results>/figures/{figure}.svg",
        category=place.question,
        labels=shown | {"figure": MODALITY_NAMES.get(place.modality, "all compared")},
        caption=caption_of(figure, "panel"),
    )


def closing_words():
    """What the terminal says at the end of a run; out of a storage the tables for it come here first."""
    results = Path(workflow.pathvars.get("results"))
    if not STORED:
        return closing_text(results)
    for name in ("claims", "acquisitions"):
        table = for_jobs(f"{results}/tables/{name}.tsv").flags["storage_object"]
        table.local_path().parent.mkdir(parents=True, exist_ok=True)
        table.retrieve_object()
    page = for_jobs(f"{results}/reports/study.html").flags["storage_object"]
    return f"{closing_text(JOB_FOLDER / results)}\nRead {page.query} first."


def retrieved_file(wildcards):
    """Address and sha256 of one file of `retrieve: files`."""
    return RETRIEVED[wildcards.retrieved]


def eels_db_entry(wildcards):
    """Title, kind and sha256 of one spectrum of `retrieve: eels_db`."""
    return EELS_DB[wildcards.reference]


def demo_files():
    """The sheets' raw files that the demo's design makes; none in a study that is not the demo."""
    if not config["demo"]:
        return []
    from ceiflow.phantom.design import design_files

    wanted = {path for row in ACQUISITIONS.values() for path in raw_paths(row)}
    made = design_files(yaml.safe_load(Path(DEMO_DESIGN).read_text()))
    return sorted(wanted.intersection(made))


DEMO_FILES = demo_files()
MADE = {*RETRIEVED, *DEMO_FILES}
