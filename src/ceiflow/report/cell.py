"""Sections of a cell's page: every acquisition, everything found in it, and where that came from."""

from __future__ import annotations

import re

from ceiflow.figures import folders
from ceiflow.figures.names import ACQUISITION_FIGURES
from ceiflow.figures.tables import (
    BY_NUMBER,
    axis_label,
    endpoint_name,
    figures3,
    group_of,
    known,
    number,
    read_json,
    unit_name,
)
from ceiflow.report import html
from ceiflow.report.html import Block, Column, Markup, block, counted, join, paragraph, tag
from ceiflow.report.results import MODALITY_NAMES, QC_SYMBOLS, SPECTRA, Results

ORIGINS = {"sheet": "sheet", "file": "file", "config": "configuration", "missing": "missing"}
METADATA_NAMES = {
    "beam_energy_keV": ("Beam energy", "keV"),
    "convergence_mrad": ("Convergence", "mrad"),
    "collection_mrad": ("Collection", "mrad"),
    "pixel_size_nm": ("Pixel size", "nm"),
    "dispersion_eV": ("Dispersion", "eV"),
    "energy_offset_eV": ("Energy offset", "eV"),
    "exposure_s": ("Exposure", "s"),
    "low_loss_exposure_s": ("Low-loss exposure", "s"),
    "dose_e_per_A2": ("Dose", "e Å⁻²"),
    "defocus_nm": ("Defocus", "nm"),
}
# Where each is used: a signal is not said to lack what nothing about it needs.
OF_SPECTRA = {
    "convergence_mrad",
    "collection_mrad",
    "dispersion_eV",
    "energy_offset_eV",
    "low_loss_exposure_s",
}
OF_IMAGES = {"defocus_nm"}
ZONES = ("layer", "surface", "particle", "all")
ELEMENTS = BY_NUMBER.split()
# The results' column of that name is what was subtracted; the sheet's own stands beside it.
WRITTEN = {"energy_offset_eV": "sheet_energy_offset_eV"}
STATUS_SYMBOLS = {"identified": "✔", "bounded": "≤", "not_identifiable": "?"}
# Notes of `ceiflow.eels` on an edge that was not recorded, and on what is not known of the acquisition.
OUT_OF_RANGE = re.compile(r"\bthe range (starts|ends)\b|\brange, which (starts|ends)\b")
SETTING_LACKS = re.compile(r"^(unknown|no low loss|exposures unknown)|missing")
CAPTIONS = {
    "layer": (
        "Outer and inner edge of the layer, coloured by its thickness; dotted where bare; dashed where "
        "nothing could be told."
    ),
    "trace": (
        "Thickness along the surface with one standard deviation; grey: below the detection limit; marks at "
        "the foot: bare, not measured, or no limit known."
    ),
    "spectra": (
        "Summed spectra of the zones: counts with model and background; what stands above it, on a "
        "square-root scale; residual in standard deviations (grey: ± 2)."
    ),
    "fine_structure": (
        "Carbon K edge with the species that make it up, background removed, on the corrected axis; residual "
        "in standard deviations (grey: ± 2). Shares and intervals stand in the table."
    ),
    "species": (
        "Carbonate as a share of the carbon, neighbourhoods of pixels unmixed, with its standard deviation. "
        "Grey: no carbon edge, or an error that leaves nothing to say."
    ),
    "valence_map": (
        "White lines by bins as small as counts allow, none partly at the surface and partly below it, with "
        "standard errors of counting. The colour scale spans four standard errors at least."
    ),
    "valence": (
        "White lines in shells below the surface, 95 % intervals of counting. A reduced skin shows as a "
        "higher L₃/L₂ and a lower L₃; it is part of the particle, and no coating."
    ),
    "dose": "What fades and what grows along the frames of this region, with the fitted decays.",
    "profile": "Elements along the normal to the surface, means with standard errors.",
    "calibration": "Edges on the calibrated axis, found minus expected.",
}


def head(results: Results, cell_id: str) -> Block:
    """The cell as the sheet has it, and the way back."""
    sheet = next((row for row in results.sheet if row["cell_id"] == cell_id), {})
    own = [row for row in results.acquisitions if row["cell_id"] == cell_id]
    group = group_of(sheet) if sheet else ""
    pairs = {html_name(key): value for key, value in sheet.items() if key != "cell_id"}
    return block(
        paragraph(html.link("← The study", "../study.html"), " · ", html.link("All pages", "../index.html")),
        tag("h1", f"Cell {cell_id}"),
        paragraph(group, class_="by") if group else None,
        html.facts(
            {**pairs, "Acquisitions": len(own), "Particles": len({row["particle_id"] for row in own})}
        ),
        title=f"Cell {cell_id}",
    )


def html_name(column: str) -> str:
    """A column of the sheet in words, with its unit behind."""
    for suffix, unit in (
        ("_V", "V"),
        ("_per_h", "h⁻¹"),
        ("_s", "s"),
        ("_nm", "nm"),
        ("_mrad", "mrad"),
        ("_keV", "keV"),
    ):
        if column.endswith(suffix):
            words = column.removesuffix(suffix).replace("_", " ")
            return f"{words[:1].upper()}{words[1:]} ({unit})"
    words = column.replace("_", " ")
    return words[:1].upper() + words[1:]


def values(results: Results, cell_id: str) -> Block:
    """The cell's own values, which enter the claims."""
    own = [row for row in results.cells if row["cell_id"] == cell_id]
    told = sorted((row for row in own if row["status"] != "not_identifiable"), key=_reading_order)
    if not own:
        return block(paragraph("No value was found for this cell."))
    columns = [
        Column("Quantity", lambda row: endpoint_name(row["endpoint"])),
        Column("Zone", "zone"),
        Column("Value", lambda row: _value_text(row, "se"), "number"),
        Column("Status", lambda row: _status(row)),
        Column("Acquisitions", "n_acquisitions", "number"),
        Column("Particles", "n_particles", "number"),
        Column("Below detection", lambda row: row["n_bounded"] if row["n_bounded"] != "0" else "", "number"),
    ]
    rest = sorted({endpoint_name(row["endpoint"]) for row in own if row["status"] == "not_identifiable"})
    note = (
        paragraph(f"Not identifiable in any acquisition: {', '.join(rest)}.", class_="soft") if rest else None
    )
    first = [row for row in told if row["zone"] == "layer"]
    others = [row for row in told if row["zone"] != "layer"]
    caption = f"Values {html.ERRORS}"
    return block(
        html.table(first, columns, caption) if first else None,
        html.details(f"{counted(len(others), 'value')} of other zones", html.table(others, columns, caption))
        if others
        else None,
        note,
    )


def _reading_order(row: dict) -> tuple:
    """The layer's geometry first, then composition zone by zone, elements by number."""
    zone = ZONES.index(row["zone"]) if row["zone"] in ZONES else len(ZONES)
    kind, *rest = row["endpoint"].split("_")
    element = next((ELEMENTS.index(part) for part in rest if part in ELEMENTS), len(ELEMENTS))
    return kind != "layer", zone, kind, element, row["endpoint"]


def _value_text(row: dict, error: str) -> str:
    unit = unit_name(row.get("unit", ""))
    if known(row.get("value")):
        return f"{html.amount(row['value'], row.get(error), row.get('se_sys'))} {unit}".rstrip()
    if known(row.get("lod")):
        return f"< {figures3(row['lod'])} {unit}".rstrip()
    return ""


def _status(row: dict) -> Markup:
    words = row["status"].replace("_", " ")
    return join(f"{STATUS_SYMBOLS.get(row['status'], '')} {words}")


def acquisitions(results: Results, cell_id: str, explorer: bool = False, limit_kb: float = 400.0) -> Block:
    """Every acquisition of the cell, one after the other."""
    own = [row for row in results.acquisitions if row["cell_id"] == cell_id]
    parts: list[Markup | None] = []
    if not own:
        parts.append(paragraph("The sheet holds no acquisition of this cell."))
    for row in own:
        parts += acquisition(results, row, explorer, limit_kb)
    return block(*parts)


def acquisition(results: Results, row: dict, explorer: bool, limit_kb: float) -> list[Markup | None]:
    """One acquisition: state, metadata with origins, figures, calibration, all measurements."""
    name, modality, status = row["acquisition_id"], row["modality"], row["qc_status"]
    source = results.source(row)
    summary = read_json(source / "summary.json")
    parts: list[Markup | None] = [
        html.heading(name, 2, name),
        paragraph(
            html.badge(status, QC_SYMBOLS.get(status, "")),
            f" {MODALITY_NAMES.get(modality, modality)}, ",
            f"particle {row['particle_id'] or '–'}, region {row['region_id'] or '–'}",
        ),
        paragraph(row["qc_reason"], class_="notice") if row["qc_reason"] else None,
    ]
    if status in {"failed", "excluded"}:
        what = "It was not analysed." if status == "excluded" else "It could not be analysed."
        return [*parts, paragraph(what), metadata(row, summary)]
    findings = _findings(results, row)
    parts.append(html.facts(findings))
    if any("±" in text for text in findings.values()):
        parts.append(paragraph(f"Values {html.ERRORS}.", class_="soft"))
    parts.append(metadata(row, summary))
    parts += _density_sentences(results, name, modality)
    parts += _figures(modality, source, limit_kb)
    if modality == "eels_si" and explorer:
        parts.append(
            paragraph(html.link("Move over this map and see the spectra", f"../explorer/{name}.html"))
        )
    parts += [calibration(summary), _notes(summary), measurements(results, name)]
    return parts


def _findings(results: Results, row: dict) -> dict[str, str]:
    found = {}
    for endpoint in ("layer_thickness_nm", "layer_coverage", "layer_longest_bare_nm", "layer_conformality"):
        measured = results.measured(row["acquisition_id"], endpoint)
        words = endpoint_name(endpoint)
        found[words[:1].upper() + words[1:]] = _value_text(measured, "se_stat") if measured else ""
    thickness = results.measured(row["acquisition_id"], "thickness_over_mfp", "all")
    found["Thickness / mean free path"] = _value_text(thickness, "se_stat") if thickness else ""
    for key, (words, unit) in {
        "analysed_length_nm": ("Analysed surface", "nm"),
        "lod_thickness_nm": ("Detection limit", "nm"),
        "n_pixels": ("Pixels", ""),
    }.items():
        if known(row.get(key)):
            text = (
                f"{int(number(row[key]))}" if key == "n_pixels" else f"{figures3(row[key])} {unit}".rstrip()
            )
            found[words] = text
    return found


def metadata(row: dict, summary: dict) -> Markup:
    """Every metadatum with its value and where it came from, and the files behind the acquisition."""
    pairs = {}
    for key, (words, unit) in METADATA_NAMES.items():
        if key in (OF_IMAGES if row["modality"] in SPECTRA else OF_SPECTRA):
            continue
        origin = row.get(f"{key}_origin", "")
        value = (summary.get("metadata") or {}).get(key, {}).get("value", row.get(WRITTEN.get(key, key)))
        if origin == "missing":
            pairs[words] = tag("span", "missing", class_="missing")
        elif origin and known(value):
            source = tag("span", f"({ORIGINS.get(origin, origin)})", class_="from")
            pairs[words] = join(f"{number(value):.6g} {unit} ".replace("-", "−"), source)
    sources = summary.get("sources") or [
        {"role": role, "path": row[key], "sha256": row.get("sha256", "") if key == "path" else ""}
        for role, key in (("signal", "path"), ("low loss", "low_loss_path"), ("adf", "adf_path"))
        if row.get(key)
    ]
    files = [
        Column("File", lambda item: str(item.get("role", "")).replace("_", " ")),
        Column("Path", "path", "path"),
        Column("Signal", "signal"),
        Column("SHA-256", "sha256", "path"),
    ]
    return join(html.facts(pairs) if pairs else "", html.details("Files", html.table(sources, files)))


def _density_sentences(results: Results, name: str, modality: str) -> list[Markup]:
    """Say where absolute densities cannot be had and what can be."""
    notes: dict[str, list[str]] = {}
    for row in results.measurements:
        if row["acquisition_id"] == name and row["endpoint"].startswith("areal_density_"):
            if row["status"] != "not_identifiable":
                continue
            elements = notes.setdefault(row["note"].rstrip("."), [])
            if row["endpoint"].split("_")[2] not in elements:
                elements.append(row["endpoint"].split("_")[2])
    return [paragraph(_density_words(note, ", ".join(names), modality)) for note, names in notes.items()]


def _density_words(note: str, names: str, modality: str) -> str:
    if OUT_OF_RANGE.search(note):
        return f"Nothing of {names} can be had here, neither amounts nor shares: {note}."
    said = f"Absolute areal densities of {names} are not identifiable: {note}."
    if not SETTING_LACKS.search(note):
        return said
    if modality != "eels_si":
        return f"{said} Counts do not need them: compare shapes, not amounts."
    return (
        f"{said} Counts, their profile along the normal and the geometry of the layer do not need them: "
        "compare shapes, not amounts."
    )


def _figures(modality: str, source, limit_kb: float) -> list[Markup]:
    names = [kind for kind in ACQUISITION_FIGURES[modality] if folders.has_something(kind, source)]
    drawn = {
        kind: html.figure(
            folders.acquisition_figure(kind, modality, source), CAPTIONS.get(kind, ""), limit_kb=limit_kb
        )
        for kind in names
    }
    pair = html.row(drawn.pop("layer"), drawn.pop("trace")) if "layer" in drawn else None
    calibration_figure = drawn.pop("calibration", None)
    ordered = [drawn.pop("maps", None), pair, *drawn.values(), calibration_figure]
    return [item for item in ordered if item is not None]


def calibration(summary: dict) -> Markup | None:
    """Edges expected and found."""
    record = summary.get("calibration") or {}
    if not record:
        return None
    names = {
        "method": ("Energy axis set by", ""),
        "energy_offset_eV": ("Offset subtracted", "eV"),
        "energy_offset_se_eV": ("Its standard error", "eV"),
        "low_loss_offset_eV": ("Low-loss offset", "eV"),
        "dispersion_factor": ("Dispersion factor", ""),
    }
    pairs = {
        words: (
            f"{number(record[key]):.4g} {unit}".rstrip().replace("-", "−")
            if known(record.get(key))
            else str(record.get(key) or "").replace("_", " ")
        )
        for key, (words, unit) in names.items()
    }
    pairs |= _alignment(record)
    columns = [
        Column("Edge", lambda row: str(row.get("edge", "")).replace("_", " ")),
        Column("Expected (eV)", lambda row: _fixed(row.get("expected_eV")), "number"),
        Column("Found (eV)", lambda row: _fixed(row.get("found_eV")), "number"),
        Column("Residual (eV)", lambda row: _fixed(row.get("residual_eV")), "number"),
        Column("Standard error (eV)", lambda row: _fixed(row.get("se_eV")), "number"),
    ]
    flags = [str(flag) for flag in record.get("flags") or []]
    edges = record.get("edges") or []
    return join(
        html.facts(pairs),
        html.table(edges, columns, "Edges on the calibrated axis") if edges else "",
        paragraph("; ".join(flags).replace("+-", "±").replace(" -", " −"), class_="soft") if flags else "",
    )


def _alignment(record: dict) -> dict[str, str]:
    """Facts on drift, on what fine structure may rely on, and on the noise that errors rest on."""
    zero, noise = record.get("zero_loss") or {}, record.get("detector") or {}
    pairs = {}
    if known(record.get("residual_shift_eV")):
        value, error = (_fixed(record[f"residual_shift_{name}eV"]) for name in ("", "se_"))
        pairs["Residual shift of the edges, error with chemistry"] = f"{value} ± {error} eV"
    for name, unit in (("drift_eV_per_min", "eV per minute of exposure"), ("drift_eV_per_row", "eV per row")):
        error = zero.get(name.replace("drift_", "drift_se_"))
        if known(zero.get(name)) and known(error):
            text = f"{number(zero[name]):.2g} ± {number(error):.1g} {unit}"
            pairs["Drift of the zero loss"] = text.replace("-", "−")
            break
    if known(zero.get("jitter_eV")):
        pairs["Jitter from pixel to pixel"] = f"{number(zero['jitter_eV']):.2g} eV"
    if "fine_structure_ready" in record:
        ready = record["fine_structure_ready"]
        reason = str(record["fine_structure_reason"]).replace(" -", " −")
        words = "good enough" if ready else f"{reason}; the edge's own lines have to place it"
        pairs["Energy axis for fine structure"] = words
    if noise.get("label"):
        pairs["Noise"] = str(noise["label"]).replace("+-", "±")
    if record.get("dead_pixels"):
        pairs["Pixels without numbers, left out"] = str(record["dead_pixels"])
    return pairs


def _fixed(value: object) -> str:
    return f"{number(value):.2f}".replace("-", "−") if known(value) else ""


def _notes(summary: dict) -> Markup | None:
    notes = [str(note) for note in summary.get("notes") or []]
    return tag("ul", *(tag("li", note) for note in notes)) if notes else None


def measurements(results: Results, name: str) -> Markup:
    """All rows of one acquisition, folded away."""
    own = [row for row in results.measurements if row["acquisition_id"] == name]
    columns = [
        Column("Quantity", lambda row: axis_label(row["endpoint"], row["unit"])),
        Column("Zone", "zone"),
        Column(
            "Value", lambda row: html.amount(row["value"], row.get("se_stat"), row.get("se_sys")), "number"
        ),
        Column(
            "Detection limit", lambda row: figures3(row["lod"]) if known(row.get("lod")) else "", "number"
        ),
        Column("Status", _status),
        Column("Points", "n", "number"),
        Column("Note", "note", "reason"),
    ]
    return html.details(
        f"All {counted(len(own), 'measurement')}", html.table(own, columns, f"Values {html.ERRORS}")
    )
