"""One spectrum image: layer along the surface, zones, spectra of the zones, every endpoint."""

from __future__ import annotations

import json
import math
import tempfile
from dataclasses import asdict
from pathlib import Path

import numpy as np

from ceiflow.eels.calibration import axis_values
from ceiflow.eels.source import ONE_FOR_ALL
from ceiflow.layer import order, output, support, zones
from ceiflow.layer.elements import Choice, FitMaps, choose, for_geometry, read_fit, with_counts_of
from ceiflow.layer.profile import Species
from ceiflow.layer.registration import Registration, register
from ceiflow.layer.summary import Trace, layer_rows, thickness_limit, write_layer
from ceiflow.layer.trace import INNER_NM, INNER_PIXELS, Found, edge_std_nm, find_layer, room_nm
from ceiflow.study.measurements import SPECIES, Measurement, not_identifiable

#: Without a pixel size lengths are counted in pixels, and nothing in nm is reported.
NO_PIXEL_SIZE = "pixel size missing"
#: What of the adaptive bins goes into maps.h5.
BINNED = ("areal_density", "areal_density_std", "areal_density_lod", "atomic_fraction")
#: Zones that a film behind the particle is in as well.
BEHIND = ("particle", "surface", "all")
#: A fit that is worse than this has something in it that the model does not know.
LARGEST_CHI2 = 1.5


def measure_spectrum_image(
    calibrated: Path,
    fit: Path,
    edges: Path,
    outputs: dict[str, Path],
    config: dict,
    dose: Path | None = None,
    folder: Path = Path("."),
) -> None:
    """Measure the layer in one spectrum image and write everything that it gives.

    Parameters
    ----------
    calibrated, fit, edges : Path
        The calibrated signal, its fitted maps, the cross-sections.
    outputs : dict of str to Path
        `maps`, `layer`, `spectra`, `measurements`, `summary`, `fine_structure`.
    config : dict
        The merged configuration.
    dose : Path, optional
        What `eels.dose_series` left for the region.
    folder : Path
        Of the study: paths of references are seen from there.
    """
    from ceiflow import eels
    from ceiflow.study import seed_for
    from ceiflow.study.measurements import write_rows

    maps = read_fit(fit)
    header, settings = maps.header, config["layer"]
    size = header.metadata.get("pixel_size_nm")
    pixel_nm = float(size.value) if size is not None and size.known else None
    # Maps are read whenever they are wanted, also those of a second fit.
    with tempfile.TemporaryDirectory() as scratch:
        choice = choose(maps, settings)
        found = find_layer(choice, pixel_nm or 1.0, settings)
        standing = _standing_beside(maps, found, settings, pixel_nm or 1.0)
        geometry = maps
        if standing:
            # Each of them takes as much memory as the fit of a large image.
            del choice, found
            eels.same_design(calibrated, edges, Path(scratch, "same_design.h5"), config)
            geometry = with_counts_of(maps, Path(scratch, "same_design.h5"))
            choice = choose(geometry, settings)
            found = find_layer(choice, pixel_nm or 1.0, settings)
            found.notes.append(f"{'+'.join(standing)} stands beside the surface: one design for all pixels")
        if pixel_nm is None:
            found.trace, found.reason = None, NO_PIXEL_SIZE
        placed, why_not_placed = _placed(geometry, choice, found, settings, pixel_nm)
    zone, distance, masks = _zones(maps, found, settings, pixel_nm)
    spectra = eels.fit_zones(calibrated, edges, masks, config)
    around, film = spectra.pop(support.BESIDE, None), {}
    measured = dict(spectra)
    if around is not None and spectra.get("layer") is not None:
        measured["layer"], film = support.excess(spectra["layer"], around)
        measured |= {
            name: support.without_film(spectra[name], around, film) for name in BEHIND if spectra.get(name)
        }
    registered = _registered(calibrated, maps, choice, pixel_nm)
    if isinstance(registered, Registration) and registered.applied:
        found.notes.append(f"dark field placed on the maps: {registered.words(pixel_nm)}")
    seed = seed_for(config["statistics"]["seed"], header.acquisition_id, "layer")
    rows = layer_rows(found.trace, found.reason, seed, config["statistics"]["resamples"])
    depth = distance if pixel_nm else None
    own = {name: mask for name, mask in masks.items() if name != support.BESIDE}
    fine = eels.measure_fine_structure(calibrated, edges, own, config, dose, folder, depth)
    composition = eels.zone_measurements(measured, header, config["eels"]["elements"])
    rows += order.interface_rows(placed, config["eels"]["elements"], choice.what, why_not_placed)
    rows += _of_layer([*composition, *fine.rows], zone)
    rows.append(output.dose_row(header))
    rows = output.complete(rows, "eels_si", config["eels"]["elements"])

    write_maps(
        outputs["maps"],
        maps,
        zone,
        distance if pixel_nm else np.full(distance.shape, np.nan),
        pixel_nm,
        fine.maps | ({"adf": registered.image} if isinstance(registered, Registration) else {}),
        fit,
    )
    eels.write_content(outputs["fine_structure"], fine.content)
    write_layer(outputs["layer"], found.trace)
    eels.write_spectra(outputs["spectra"], spectra)
    write_rows(outputs["measurements"], rows)
    sections = eels.origins(edges, header.metadata, config["eels"]["elements"])
    more = {"cross_sections": sections}
    if film:
        more["beside_the_layer_per_nm2"] = film
    if registered is not None:
        more["registration"] = (
            registered.entry(pixel_nm) if isinstance(registered, Registration) else {"reason": registered}
        )
    more["layer"] = _layer_entry(choice, found, placed, fine.rows)
    doubt = eels.implausible(spectra, header.metadata)
    _write_summary(outputs["summary"], maps, choice, found, rows, config, pixel_nm, more, doubt)


def _standing_beside(maps: FitMaps, found: Found, settings: dict, pixel_nm: float) -> list[str]:
    """Elements of the layer that stand beside it too, as a film behind the particle does."""
    profile = found.profile
    if profile is None:
        return []
    thick = np.where(profile.present, np.nan_to_num(profile.thickness_nm), 0.0)
    around = support.beside(
        found.distance_nm, found.segment_map, thick, profile.blur_nm, pixel_nm,
        2 * settings["max_thickness_nm"], np.ones(maps.shape, dtype=bool),
    )  # fmt: skip
    return [
        name
        for name in settings["layer_elements"]
        if name in maps.counts
        and not maps.identifiable.get(name)
        and support.stands_beside(maps.counts[name], maps.counts_std[name], around)
    ]


def _placed(maps: FitMaps, choice: Choice, found: Found, settings: dict, pixel_nm: float | None):
    """Where the elements of the layer begin and end, and why nothing is known of it where nothing is."""
    if pixel_nm is None or found.trace is None:
        return {}, found.reason or NO_PIXEL_SIZE
    if found.profile.amplitude_source == "none":
        return {}, found.reason or "nothing shows a layer"
    geometry = for_geometry(maps)
    heavy = set(settings["particle_elements"])
    species = [
        Species(name, values.ravel(), geometry.counts_std[name].ravel() ** 2, particle=name == "O")
        for name, values in geometry.counts.items()
        if name not in heavy and not maps.identifiable.get(name) and np.isfinite(values).any()
    ]
    depth = max(INNER_NM, INNER_PIXELS * pixel_nm)
    with np.errstate(divide="ignore"):
        bend = float(np.mean(1.0 / found.segments.radius_nm))
    edges = order.interfaces(
        found.distance_nm.ravel(), found.segment_map.ravel(), found.profile, choice.species[0], species,
        1.0 / bend if bend > 0 else np.inf, pixel_nm, depth, settings["max_thickness_nm"],
    )  # fmt: skip
    return edges, "" if found.profile.present.any() else "nothing above the detection limit"


def _registered(
    calibrated: Path, maps: FitMaps, choice: Choice, pixel_nm: float | None
) -> Registration | str | None:
    """The dark-field image in the frame of the maps; None where none was recorded."""
    from ceiflow.signals.store import open_signal, read_header

    if "adf" not in read_header(calibrated).roles or choice.reason:
        return None
    image = open_signal(calibrated, "adf")
    if len(image.shape) != 2:
        return "the dark-field signal is no image"
    light = [
        maps.counts[name] for name in ("C", "O") if name in maps.counts and not maps.identifiable.get(name)
    ]
    return register([choice.values, *light], image.read().astype(float), pixel_nm, image.pixel_size_nm)


def _of_layer(rows: list[Measurement], zone: np.ndarray) -> list[Measurement]:
    """What the zones are made of; a band beside a bare surface holds the blurred particle, and no layer."""
    if (zone == zones.LAYER).any():
        return rows
    reason = "no layer was found that this could be measured in"
    return [not_identifiable(row.zone, row.endpoint, reason) if row.zone == "layer" else row for row in rows]


def _zones(maps: FitMaps, found: Found, settings: dict, pixel_nm: float | None):
    """Zone map, distance from the fitted edge, masks by zone."""
    total = maps.single.get("total_counts")
    measured = np.isfinite(next(iter(maps.counts.values())) if total is None else total)
    trace = found.trace
    if found.profile is not None:
        distance = zones.shifted_distance(
            found.distance_nm, found.position_nm, found.segments.position_nm, found.profile.x_in_nm
        )
        thickness = np.nan_to_num(found.profile.thickness_nm)
        present = found.profile.present
    else:
        distance = found.distance_nm
        thickness, present = np.zeros(len(found.segments)), np.zeros(len(found.segments), dtype=bool)
    segment_map = np.where(measured, found.segment_map, -1)
    depth = settings["surface_depth_nm"] if pixel_nm else 2.0
    zone = zones.zone_map(distance, segment_map, thickness, present, depth)
    zone[~measured] = zones.EXCLUDED
    limit = thickness_limit(trace) if trace is not None else None
    band = max(2.0 * (pixel_nm or 1.0), limit or 0.0)
    masks = zones.zone_masks(zone, distance, segment_map, depth, band, measured)
    blur = found.profile.blur_nm if found.profile is not None else 1.0
    outer = np.where(present, thickness, 0.0)
    if pixel_nm:
        # Where nothing says how far the layer reaches, what stands beside the surface may be the layer.
        outer[np.isnan(trace.lod_nm) if trace is not None else slice(None)] = np.inf
    around = support.beside(
        distance, segment_map, outer, blur, pixel_nm or 1.0, 2 * settings["max_thickness_nm"], measured
    )
    return zone, distance, masks | ({support.BESIDE: around} if around.any() else {})


def write_maps(
    path: Path,
    maps: FitMaps,
    zone: np.ndarray,
    distance: np.ndarray,
    pixel_nm: float | None,
    more: dict[str, np.ndarray] | None = None,
    fit: Path | None = None,
) -> None:
    """Write maps.h5 in the layout of the contract, with the adaptive bins of fit.h5 where it has some."""
    from ceiflow.signals.store import create_h5

    groups = {
        "areal_density": maps.areal,
        "areal_density_std": maps.areal_std,
        "areal_density_lod": maps.lod,
        "atomic_fraction": maps.fraction,
        "counts": maps.counts,
        "counts_std": maps.counts_std,
    }
    with create_h5(path) as file:
        file.attrs["schema"] = "ceiflow-maps-1"
        file.attrs["acquisition_id"] = maps.header.acquisition_id
        file.attrs["pixel_size_nm"] = float("nan") if pixel_nm is None else pixel_nm
        for group, content in groups.items():
            for name in content:
                _write(file.require_group(group), name, content[name].astype(np.float32))
            file.require_group(group)
        for name in ("thickness_over_mfp", "reduced_chi2", "total_counts"):
            values = maps.single.get(name, np.full(maps.shape, np.nan))
            _write(file, name, values.astype(np.float32))
        # Every carbon species has a map, as every element has, empty where none could be made.
        unknown = dict.fromkeys((f"carbon_fraction/{name}" for name in SPECIES), np.full(maps.shape, np.nan))
        for name, values in sorted((unknown | (more or {})).items()):
            _write(file, name, values.astype(np.float32))
        _write(file, "zone", zone)
        _write(file, "distance_nm", distance.astype(np.float32))
        if fit is not None:
            _copy_bins(fit, file)


def _copy_bins(fit: Path, file) -> None:
    """Labels of the bins and what they hold; nothing here depends on them."""
    import h5py

    with h5py.File(fit, "r") as source:
        if "bin" not in source:
            return
        _write(file, "bin", source["bin"][()])
        file.attrs["bins"] = source.attrs["bins"]
        for group in BINNED:
            for name, data in source[f"binned/{group}"].items():
                _write(file.require_group(f"binned/{group}"), name, data[()])


def _write(group, name, values):
    group.create_dataset(name, data=values, compression="gzip", compression_opts=4, shuffle=True)


def _write_summary(
    path, maps: FitMaps, choice: Choice, found: Found, rows, config, pixel_nm, more, doubt: str
) -> None:
    calibration = json.loads(maps.header.attributes.get("calibration", "{}"))
    trace: Trace | None = found.trace
    values = axis_values(calibration)
    values |= {
        row.endpoint: row.value
        for row in rows
        if row.endpoint in ("thickness_over_mfp", "dose_e_per_A2") and row.zone == "all"
    }
    values["thickness_over_mfp_se"] = next(
        (
            math.hypot(row.se_stat or 0.0, row.se_sys or 0.0)
            for row in rows
            if row.endpoint == "thickness_over_mfp" and row.zone == "all" and row.value is not None
        ),
        None,
    )
    values["analysed_length_nm"] = float(found.segments.length_nm.sum()) if pixel_nm else None
    values["lod_thickness_nm"] = thickness_limit(trace) if trace is not None else None
    values["n_pixels"] = int(np.prod(maps.shape))
    more["notes"] = _notes(choice, found, pixel_nm)
    if calibration:
        more["calibration"] = calibration
    reasons = _reasons(maps, found, calibration, config, pixel_nm) + ([doubt] if doubt else [])
    output.write_summary(path, maps.header, values, reasons, **more)


def _notes(choice: Choice, found: Found, pixel_nm) -> list[str]:
    notes = [f"surface drawn in the map of {choice.what}", *found.notes]
    if pixel_nm and edge_std_nm(found) is not None:
        notes.append(f"position of the surface known to {edge_std_nm(found):.2g} nm, segment by segment")
    if pixel_nm:
        for name, text in (("frame", "too near to the frame"), ("facing", "facing another particle")):
            if found.surface.lost_nm.get(name, 0.0) > 0:
                notes.append(f"{found.surface.lost_nm[name]:.3g} nm of contour {text}: left out")
    return notes


def _layer_entry(
    choice: Choice, found: Found, placed: dict[str, order.Interface], fine: list[Measurement]
) -> dict:
    """How the layer was found, for the page and for whoever checks."""
    profile = found.profile
    if profile is None:
        return {"reason": found.reason}
    return {
        "kernel": profile.kind,
        "compared": profile.compared,
        "blur_nm": profile.blur_nm,
        "edge_std_nm": edge_std_nm(found),
        "room_nm": room_nm(found),
        "amplitude": profile.amplitude,
        "amplitude_se": profile.amplitude_std,
        "amplitude_source": profile.amplitude_source,
        "amplitude_weight": profile.amplitude_weight,
        "surface_density_per_nm2": found.surface_density(),
        "interfaces": {name: asdict(item) for name, item in placed.items()},
        "order_outside_first": order.order(placed, fine),
        "significance": profile.significance,
        "chi2_per_dof": profile.chi2_per_dof,
        "segment_nm": found.segment_nm,
        "n_segments": len(found.segments),
        "lost_nm": found.surface.lost_nm,
        "particle": choice.what,
    }


def _reasons(maps: FitMaps, found: Found, calibration, config, pixel_nm) -> list[str]:
    """Why someone should look at this acquisition."""
    reasons = []
    if pixel_nm is None:
        reasons.append(NO_PIXEL_SIZE)
    if found.reason and found.reason != NO_PIXEL_SIZE:
        reasons.append(found.reason)
    reasons += [note for note in found.notes if note.startswith("few counts")]
    tolerance = config["eels"]["energy"]["tolerance_eV"]
    for edge in calibration.get("edges", []):
        residual = edge.get("residual_eV")
        if residual is not None and abs(residual) > tolerance:
            reasons.append(f"energy of {edge['edge']} off by {residual:.2g} eV after calibration")
    chi2 = maps.single.get("reduced_chi2")
    if chi2 is not None and np.isfinite(chi2).any():
        middle = float(np.nanmedian(chi2))
        if middle > LARGEST_CHI2:
            reasons.append(
                f"chi2 per degree of freedom of the spectra is {middle:.2g}: not in the model's noise"
            )
    shared = any(text.startswith(ONE_FOR_ALL) for text in maps.header.warnings)
    if not shared and not np.isfinite(maps.single.get("thickness_over_mfp", np.nan)).any():
        reasons.append("low loss missing: no thickness, no correction of plural scattering")
    return reasons
