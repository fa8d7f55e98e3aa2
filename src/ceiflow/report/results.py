"""What a run left behind, read when a page asks for it."""

from __future__ import annotations

import statistics
from collections import Counter
from functools import cached_property
from pathlib import Path

from ceiflow.figures.tables import Rows, groups, known, number, read_json, rows

SPECTRA = ("eels_si", "eels_spectrum")
MODALITY_NAMES = {
    "eels_si": "EELS spectrum image",
    "eels_spectrum": "EELS spectrum",
    "hrtem": "HRTEM image",
    "tem": "TEM image",
    "adf": "ADF image",
}

QC_SYMBOLS = {"ok": "✔", "warning": "!", "failed": "✘", "excluded": "–"}


class Results:
    """Tables, configuration and files of one results folder.

    Parameters
    ----------
    folder : path
        The `results` folder of a study.
    sheet : path
        The cells sheet.
    """

    def __init__(self, folder: str | Path, sheet: str | Path = "config/cells.tsv"):
        self.folder = Path(folder)
        self._sheet = Path(sheet)

    def table(self, name: str) -> Rows:
        """Rows of `tables/{name}.tsv`."""
        return rows(self.folder / "tables" / f"{name}.tsv")

    @cached_property
    def config(self) -> dict:
        """The merged configuration that ran."""
        import yaml

        path = self.folder / "study" / "config.yaml"
        return (yaml.safe_load(path.read_text(encoding="utf-8")) or {}) if path.is_file() else {}

    @cached_property
    def provenance(self) -> dict:
        """Versions, inputs, revision and seeds."""
        return read_json(self.folder / "study" / "provenance.json")

    @cached_property
    def sheet(self) -> Rows:
        """The cells sheet as the author wrote it, by cell: a page is the same however its rows stand."""
        return sorted(rows(self._sheet), key=lambda row: row.get("cell_id") or "")

    @cached_property
    def cells(self) -> Rows:
        """Results by cell."""
        return self.table("cells")

    @cached_property
    def measurements(self) -> Rows:
        """Results by acquisition."""
        return self.table("measurements")

    @cached_property
    def acquisitions(self) -> Rows:
        """All acquisitions with their metadata and what became of them."""
        return self.table("acquisitions")

    @cached_property
    def heterogeneity(self) -> Rows:
        """Variance by level."""
        return self.table("heterogeneity")

    @cached_property
    def planning(self) -> Rows:
        """Power and detectable distance of every claim by cells, particles and regions."""
        return self.table("planning")

    @cached_property
    def claims(self) -> Rows:
        """Claims with their verdicts, and with the bounds that the configuration holds them against."""
        asked = {str(claim.get("id")): claim for claim in self.config.get("claims") or []}
        found = []
        for row in self.table("claims"):
            claim = asked.get(row["claim_id"], {})
            extra = {
                key: str(claim[key]) for key in ("low", "high", "direction") if claim.get(key) is not None
            }
            found.append({**extra, **{key: value for key, value in row.items() if value or key not in extra}})
        return found

    @property
    def tables(self) -> dict[str, Rows]:
        """What `ceiflow.figures.folders.study_figure` takes."""
        names = ("claims", "cells", "measurements", "acquisitions", "heterogeneity", "planning", "sheet")
        return {name: getattr(self, name) for name in names}

    @cached_property
    def groups(self) -> dict[str, list[str]]:
        """Cell ids by condition, electrode and state."""
        listed = self.sheet or self.cells or self.acquisitions
        return groups(listed, self.sheet)

    def source(self, acquisition: dict) -> Path:
        """The folder of one acquisition's results."""
        kind = "eels" if acquisition["modality"] in SPECTRA else "images"
        return self.folder / kind / acquisition["acquisition_id"]

    @cached_property
    def axes(self) -> Counter[str]:
        """How many energy axes of analysed spectra were set by which method."""
        spectra = [row for row in self.analysed() if row["modality"] in SPECTRA]
        records = [read_json(self.source(row) / "summary.json").get("calibration") or {} for row in spectra]
        return Counter(str(record["method"]) for record in records if record.get("method"))

    def analysed(self, cells: list[str] | None = None, modality: str | None = None) -> Rows:
        """Acquisitions that were neither failed nor excluded."""
        return [
            row
            for row in self.acquisitions
            if row["qc_status"] not in {"failed", "excluded"}
            and (cells is None or row["cell_id"] in cells)
            and (modality is None or row["modality"] == modality)
        ]

    def measured(self, acquisition_id: str, endpoint: str, zone: str = "layer") -> dict:
        """One measurement of one acquisition, or an empty row."""
        return self._measured.get((acquisition_id, endpoint, zone), {})

    @cached_property
    def _measured(self) -> dict[tuple[str, str, str], dict]:
        return {(row["acquisition_id"], row["endpoint"], row["zone"]): row for row in self.measurements}

    def representative(self, cells: list[str], modality: str) -> dict | None:
        """The acquisition in the middle of its group, by a fixed rule and not by its looks.

        That with the median thickness; where none has a thickness, that with the median detection limit;
        where none has either, the first by name.
        """
        own = sorted(self.analysed(cells, modality), key=lambda row: row["acquisition_id"])
        for name in ("value", "lod"):
            having = [
                (number(self.measured(row["acquisition_id"], "layer_thickness_nm")[name]), row)
                for row in own
                if known(self.measured(row["acquisition_id"], "layer_thickness_nm").get(name))
            ]
            if having:
                middle = statistics.median_low([value for value, _ in having])
                return next(row for value, row in having if value == middle)
        return own[0] if own else None


class CellResults(Results):
    """Results of one cell, from the files of its own acquisitions alone.

    What stands in the study's tables is made of the same files by the same functions, so both agree; but the
    page of a cell that reads these alone is not stale when another cell gets an acquisition.

    Parameters
    ----------
    folder : path
        The `results` folder of a study.
    sheet, acquisitions : path
        The sheets.
    cell_id : str
    """

    def __init__(self, folder: str | Path, sheet: str | Path, acquisitions: str | Path, cell_id: str):
        super().__init__(folder, sheet)
        self.cell_id = cell_id
        self._acquisitions_sheet = Path(acquisitions)

    @cached_property
    def sheet(self) -> Rows:
        """The cell's row of the sheet."""
        return [row for row in rows(self._sheet) if row.get("cell_id") == self.cell_id]

    @cached_property
    def _collected(self) -> dict[str, Rows]:
        import tempfile

        from ceiflow.statistics import stages
        from ceiflow.statistics.tables import read_table, write_table

        own = [row for row in read_table(self._acquisitions_sheet) if str(row["cell_id"]) == self.cell_id]
        cells = [row for row in read_table(self._sheet) if str(row["cell_id"]) == self.cell_id]
        folders = {str(row["acquisition_id"]): self.source(row) for row in own if not row.get("exclude")}
        found = {
            name: {key: path / name for key, path in folders.items() if (path / name).is_file()}
            for name in ("summary.json", "measurements.tsv")
        }
        with tempfile.TemporaryDirectory(prefix="ceiflow-") as folder:
            paths = {name: Path(folder) / f"{name}.tsv" for name in ("measurements", "acquisitions", "cells")}
            stages.collect(
                found["summary.json"],
                found["measurements.tsv"],
                own,
                cells,
                paths["measurements"],
                paths["acquisitions"],
            )
            values = stages.cell_rows(read_table(paths["measurements"]), cells)
            write_table(paths["cells"], stages.CELL_COLUMNS, values)
            return {name: rows(path) for name, path in paths.items()}

    def table(self, name: str) -> Rows:
        """Rows of the cell in `measurements`, `acquisitions` or `cells`; other tables have none."""
        return self._collected.get(name, [])
