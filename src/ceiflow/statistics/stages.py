"""File-level functions of the room: each reads tables, calls one room of arithmetic, writes tables."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from ceiflow.statistics.collect import (
    MEASUREMENT_COLUMNS,
    acquisition_columns,
    acquisition_row,
    measurement_rows,
)
from ceiflow.statistics.nesting import Cell, group_by, observation, summarise
from ceiflow.statistics.tables import Row, read_table, write_table
from ceiflow.study.measurements import unit

CELL_COLUMNS = [
    "cell_id",
    "condition",
    "electrode",
    "zone",
    "endpoint",
    "value",
    "unit",
    "se",
    "n_acquisitions",
    "n_particles",
    "n_bounded",
    "status",
    "value_low",
    "value_high",
    "lod",
    "se_sys",
    "se_source",
    "n_regions",
    "n_not_identifiable",
    "reason",
]
Table = str | Path | Iterable[Mapping[str, object]]
Paths = Mapping[str, str | Path] | Iterable[str | Path] | str | Path


def collect(
    summaries: Paths,
    measurements: Paths,
    acquisitions: Table,
    cells: Table,
    out_measurements: str | Path,
    out_acquisitions: str | Path,
) -> None:
    """Gather what each acquisition left behind into two tables.

    Parameters
    ----------
    summaries, measurements : mapping from acquisition id to path, or paths
        summary.json and measurements.tsv of every acquisition that the sheet does not exclude. A bare path
        belongs to the acquisition that its folder is named after.
    acquisitions, cells : path or rows
        The study's sheets.
    out_measurements, out_acquisitions : path
        tables/measurements.tsv and tables/acquisitions.tsv. Rows are sorted by acquisition, so that the
        order of the sheets does not matter.

    Raises
    ------
    FileNotFoundError
        An analysed acquisition has no summary, or no measurements and did not fail.
    """
    summary_of, measured = _by_acquisition(summaries), _by_acquisition(measurements)
    cell_of = {str(row["cell_id"]): row for row in read_table(cells)}
    sheet = sorted(read_table(acquisitions), key=lambda row: str(row["acquisition_id"]))
    rows: list[Row] = []
    table: list[Row] = []
    for acquisition in sheet:
        name = str(acquisition["acquisition_id"])
        if acquisition.get("exclude"):
            table.append(acquisition_row(acquisition, None))
            continue
        summary = _summary(summary_of, name)
        table.append(acquisition_row(acquisition, summary))
        if summary["qc_status"] == "failed":
            continue
        if name not in measured:
            raise FileNotFoundError(f"no measurements of acquisition {name}, which did not fail")
        cell = cell_of.get(str(acquisition["cell_id"]), {})
        rows += measurement_rows(acquisition, cell, read_table(measured[name]))
    write_table(out_measurements, MEASUREMENT_COLUMNS, rows)
    write_table(out_acquisitions, acquisition_columns(sheet), table)


def _by_acquisition(paths: Paths) -> dict[str, Path]:
    if isinstance(paths, Mapping):
        return {str(name): Path(path) for name, path in paths.items()}
    if isinstance(paths, str | Path):
        paths = [paths]
    return {Path(path).parent.name: Path(path) for path in paths}


def _summary(paths: Mapping[str, Path], name: str) -> dict[str, object]:
    if name not in paths:
        raise FileNotFoundError(f"no summary of acquisition {name}, which the sheet does not exclude")
    return json.loads(paths[name].read_text(encoding="utf-8"))


def aggregate(
    measurements: Table,
    cells: Table,
    out_cells: str | Path,
    out_heterogeneity: str | Path,
    config: Mapping[str, object],
    maps: Iterable[str | Path] = (),
) -> None:
    """Write one row for each cell, zone and endpoint, and the variance by level.

    Parameters
    ----------
    measurements : path or rows
        tables/measurements.tsv.
    cells : path or rows
        The sheet of cells; its further columns are kept, so that claims may select on them.
    out_cells, out_heterogeneity : path
        tables/cells.tsv and tables/heterogeneity.tsv.
    config : mapping
        The merged configuration: `statistics`.
    maps : paths
        maps.h5 of spectrum images, for the variance between pixels.
    """
    from ceiflow.statistics.heterogeneity import HETEROGENEITY_COLUMNS, heterogeneity_rows
    from ceiflow.statistics.pixels import pixel_rows

    measured, sheet = read_table(measurements), read_table(cells)
    extra = [name for row in sheet[:1] for name in row if name not in CELL_COLUMNS]
    write_table(out_cells, [*CELL_COLUMNS, *extra], cell_rows(measured, sheet))
    alpha = float(config["statistics"]["alpha"])
    found = heterogeneity_rows(measured, sheet, alpha, pixel_rows(maps))
    write_table(out_heterogeneity, HETEROGENEITY_COLUMNS, found)


def cell_rows(measurements: Iterable[Row], cells: Iterable[Row]) -> list[Row]:
    """Rows of the results' cells.tsv, sorted by cell, zone and endpoint."""
    sheet = {str(row["cell_id"]): row for row in cells}
    grouped = group_by(
        measurements, lambda row: (str(row["cell_id"]), str(row["zone"]), str(row["endpoint"]))
    )
    rows = []
    for cell_id, zone, endpoint in sorted(grouped):
        found = summarise(cell_id, [observation(row) for row in grouped[cell_id, zone, endpoint]])
        rows.append({**sheet.get(cell_id, {}), **_cell_row(found, zone, endpoint)})
    return rows


def _cell_row(cell: Cell, zone: str, endpoint: str) -> Row:
    return {
        "cell_id": cell.cell_id,
        "zone": zone,
        "endpoint": endpoint,
        "value": cell.value,
        "unit": unit(endpoint),
        "se": cell.se,
        "n_acquisitions": cell.n_acquisitions,
        "n_particles": cell.n_particles,
        "n_bounded": cell.n_bounded,
        "status": cell.status,
        "value_low": cell.low,
        "value_high": cell.high,
        "lod": cell.lod,
        "se_sys": cell.se_sys,
        "se_source": cell.se_source,
        "n_regions": cell.n_regions,
        "n_not_identifiable": cell.n_not_identifiable,
        "reason": cell.note,
    }


def judge(
    measurements: Table,
    cells: Table,
    config: Mapping[str, object],
    out_claims: str | Path,
    out_exploration: str | Path | None = None,
    out_registration: str | Path | None = None,
    pooled: Table = (),
) -> None:
    """Write one row for each registered claim, and the exploration of everything else.

    Parameters
    ----------
    measurements, cells : path or rows
        tables/measurements.tsv, and the sheet of cells or tables/cells.tsv, which says what the cells are.
        Cells are averaged anew from the measurements, because a claim may name the modality.
    config : mapping
        The merged configuration: `claims` and `statistics`.
    out_claims : path
        tables/claims.tsv.
    out_exploration : path, optional
        tables/exploration.tsv.
    out_registration : path, optional
        study/registration.json, which is read first where it is there; see `registration.register`.
    pooled : path or rows
        tables/pooled.tsv: shares of cells by one fit to all of their spectra, which go before averages.
    """
    from ceiflow.statistics.claims import CLAIM_COLUMNS, claim_rows
    from ceiflow.statistics.exploration import EXPLORATION_COLUMNS, exploration_rows
    from ceiflow.statistics.registration import register

    claims = config.get("claims") or []
    measured, sheet = read_table(measurements), read_table(cells)
    registered = register(out_registration, claims) if out_registration else {}
    rows = claim_rows(measured, sheet, claims, config["statistics"], read_table(pooled))
    write_table(
        out_claims,
        CLAIM_COLUMNS,
        ({**row, "registered": registered.get(str(row["claim_id"]))} for row in rows),
    )
    if out_exploration:
        explored = exploration_rows(measured, sheet, claims, config["statistics"])
        write_table(out_exploration, EXPLORATION_COLUMNS, explored)


def plan(
    measurements: Table,
    cells: Table,
    claims: Table,
    config: Mapping[str, object],
    out_planning: str | Path,
    most_cells: int | None = None,
) -> list[Row]:
    """Write power and detectable distance of every registered claim by cells, particles and regions.

    Parameters
    ----------
    measurements, cells, claims : path or rows
        tables/measurements.tsv, the sheet of cells, and tables/claims.tsv.
    config : mapping
        The merged configuration: `claims` and `statistics`.
    out_planning : path
        tables/planning.tsv.
    most_cells : int, optional
        Cells of each group up to which the table goes.

    Returns
    -------
    list of dict
        The rows, see `planning.plan_rows`.
    """
    from ceiflow.statistics.planning import MOST_CELLS, PLANNING_COLUMNS, plan_rows

    rows = plan_rows(
        read_table(measurements),
        read_table(cells),
        config.get("claims") or [],
        read_table(claims),
        config["statistics"],
        most_cells or MOST_CELLS,
    )
    write_table(out_planning, PLANNING_COLUMNS, rows)
    return rows
