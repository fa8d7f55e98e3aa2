"""The methods in sentences, from the configuration that ran, and where everything came from."""

from __future__ import annotations

from collections.abc import Mapping

from ceiflow.figures.tables import known, plain
from ceiflow.report import html
from ceiflow.report.html import Column, Markup, paragraph

# How an energy axis was set, by the name that the calibration gives it.
AXES = {
    "edges": "by known edges",
    "zero_loss": "by the zero loss",
    "file": "as the file says",
}


def _part(config: dict, *names: str) -> dict:
    for name in names:
        config = config.get(name) or {}
    return config


def _list(items) -> str:
    items = [str(item) for item in items or []]
    return ", ".join(items[:-1]) + " and " + items[-1] if len(items) > 1 else "".join(items)


def _percent(value: object) -> str:
    return f"{100 * float(value):g} %" if known(value) else "an unstated amount"  # type: ignore[arg-type]


def sentences(config: dict, axes: Mapping[str, int] | None = None) -> list[str]:
    """Paragraphs on spectra, layer and statistics; settings that the configuration lacks go unmentioned.

    Parameters
    ----------
    config : dict
        The merged configuration that ran.
    axes : mapping of str to int, optional
        How many energy axes of this run were set by which method.
    """
    if not config:
        return ["The configuration that ran was not found."]
    return [
        " ".join(part)
        for part in (_spectra(config, axes or {}), _layer(config), _images(config), _statistics(config))
        if part
    ]


def _axes(counts: Mapping[str, int]) -> list[str]:
    """How the energy axes of this run were set, which is not always what the policy hoped for."""
    names = [name for name in (*AXES, *sorted(set(counts) - set(AXES))) if counts.get(name)]
    if not names:
        return []
    total = sum(counts.values())
    words = _list(f"{AXES.get(name, name.replace('_', ' '))} in {counts[name]}" for name in names)
    return [f"The energy axis of spectra was set {words} of {html.counted(total, 'acquisition')}."]


def _spectra(config: dict, axes: Mapping[str, int]) -> list[str]:
    eels, text = _part(config, "eels"), []
    if not eels:
        return text
    fit, systematic = _part(eels, "fit"), _part(eels, "systematic")
    text += _axes(axes)
    text.append(
        f"The core losses of {_list(eels.get('elements'))} were fitted together with their background in "
        f"every pixel and in the summed spectrum of every zone, by Poisson likelihood, with "
        f"{eels.get('cross_sections', 'tabulated')} cross-sections at each acquisition's "
        "beam energy and angles."
    )
    if known(fit.get("start_eV")) and known(fit.get("stop_eV")):
        text.append(f"The fits ran from {plain(fit['start_eV'])} to {plain(fit['stop_eV'])} eV.")
    if systematic:
        given = _list(f"{_percent(value)} for {shell} edges" for shell, value in systematic.items())
        text.append(
            f"Cross-sections carry a systematic error of {given}, which is in every density and every share; "
            "it is the same for all acquisitions at equal settings, and so cancels in ratios between cells "
            "there. How far a second source of cross-sections differs stands beside every number."
        )
    text += _k_factors(eels) + _thickness(eels)
    if known(eels.get("max_thickness_over_mfp")):
        text.append(f"Nothing was quantified above t/λ = {plain(eels['max_thickness_over_mfp'])}.")
    detector = _part(config, "detector")
    if detector:
        kind = "a counting detector" if detector.get("counting") else "an integrating detector"
        text.append(
            f"Errors assume {kind} of gain {plain(detector.get('gain', 1))} (counts per electron), unless "
            "the scatter of an acquisition's own spectra (variance against mean, between neighbouring pixels "
            "and channels) says otherwise; the page of its cell tells. Coincidence loss and errors of the "
            "gain reference are assumed to be absent."
        )
    return text


def _k_factors(eels: dict) -> list[str]:
    factors, errors = _part(eels, "k_factors"), _part(eels, "k_factor_errors")
    if not factors:
        return []
    given = _list(
        f"{plain(factor)}" + (f" ± {_percent(errors[name])}" if name in errors else "") + f" for {name}"
        for name, factor in factors.items()
    )
    source = eels.get("k_factor_source")
    return [f"Cross-sections were multiplied by k-factors of {given}" + (f" ({source})." if source else ".")]


def _thickness(eels: dict) -> list[str]:
    density = eels.get("density_g_per_cm3")
    if not known(density):
        return []
    second = " and the composition (Malis et al. 1988)" if eels.get("formula") else ""
    return [
        f"Thicknesses of particles along the beam take the mean free path of {plain(density)} g/cm³ "
        f"(Iakoubovskii et al. 2008); models of it, from the density{second}, differ by 15 % and more, "
        "which is in the systematic error."
    ]


def _layer(config: dict) -> list[str]:
    layer, text = _part(config, "layer"), []
    if not layer:
        return text
    text.append(
        f"In spectrum images {_list(layer.get('particle_elements'))} mark the particle, and "
        f"{_list(layer.get('layer_elements'))} outside it a layer, whose thickness was fitted along the "
        f"normal to the surface in stretches of {plain(layer.get('segment_nm'))} nm, up to "
        f"{plain(layer.get('max_thickness_nm'))} nm."
    )
    if known(layer.get("detection_sigma")):
        sigma = plain(layer["detection_sigma"])
        text.append(f"Detection limits are at {sigma} standard deviations of what bare surface would give.")
    reference = _part(layer, "reference")
    if reference.get("name"):
        density = plain(reference.get("density_g_per_cm3"))
        text.append(f"Equivalent thicknesses refer to {reference['name']} of {density} g/cm³.")
    return text


def _images(config: dict) -> list[str]:
    images, text = _part(config, "images"), []
    if not images:
        return text
    text.append(
        "In high-resolution images the thickness is the gap between the outer edge of matter and the edge of "
        "the lattice fringes, in other images the width of the rim between vacuum and particle, in "
        f"stretches of {plain(images.get('segment_nm'))} nm; without a known defocus no absence is claimed."
    )
    if images.get("bias") == "auto":
        text.append("Pristine acquisitions at like defocus calibrate the gap, where there are any.")
    return text


def _statistics(config: dict) -> list[str]:
    options = _part(config, "statistics")
    text = [
        "Values were averaged from acquisition to region to particle to cell with equal weights at each "
        "level; the cell is the unit."
    ]
    if known(options.get("alpha")):
        level = f"{100 * (1 - float(options['alpha'])):g} %"
        text.append(f"Intervals are at {level}; p-values are adjusted over all registered claims (Holm).")
    text.append(
        "Cells below detection enter with both ends of their interval, zero and the detection limit, and a "
        "verdict has to hold at both."
    )
    if known(options.get("intraclass_correlation")):
        rho = plain(options["intraclass_correlation"])
        text.append(f"Bounds on prevalence allow for a correlation of {rho} between acquisitions of a cell.")
    if known(options.get("seed")):
        text.append(f"All random numbers derive from the seed {int(options['seed'])}.")
    return text


def provenance(record: dict) -> list[Markup]:
    """Versions, revision, seeds and inputs of provenance.json, whatever it holds."""
    if not record:
        return [paragraph("No record of provenance was found.")]
    # What is said in a few words stands in the open, long lists are folded away.
    short = {key: value for key, value in record.items() if isinstance(value, (str, int, float))}
    few = {key: value for key, value in record.items() if isinstance(value, dict) and 0 < len(value) <= 3}
    for key, value in few.items():
        short |= {f"{key} {name}": item for name, item in _flat(value)}
    parts = [html.facts({_words(key): value for key, value in short.items()})]
    for key, value in record.items():
        if isinstance(value, dict) and value and key not in few:
            rows = [{"name": name, "value": item} for name, item in _flat(value)]
            columns = [Column("Name", "name", "name"), Column("Value", "value", "path")]
            parts.append(html.details(_words(key), html.table(rows, columns)))
        elif isinstance(value, list) and value:
            rows = [item if isinstance(item, dict) else {"": item} for item in value]
            names = list(dict.fromkeys(name for row in rows for name in row))
            columns = [
                Column(_words(name), name, "path" if name in {"path", "sha256"} else "") for name in names
            ]
            parts.append(html.details(f"{_words(key)} ({len(rows)})", html.table(rows, columns)))
    return parts


def _words(key: str) -> str:
    return key.replace("_", " ")[:1].upper() + key.replace("_", " ")[1:]


def _flat(value: dict, prefix: str = "") -> list[tuple[str, str]]:
    found = []
    for key, item in value.items():
        if isinstance(item, dict):
            found += _flat(item, f"{prefix}{key}.")
        else:
            found.append((f"{prefix}{key}", "" if item is None else str(item)))
    return found
