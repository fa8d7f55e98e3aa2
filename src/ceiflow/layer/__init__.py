"""Room: layer. Surface, normal, profile, thickness, coverage, detection limit; one geometry for all."""

from __future__ import annotations

from pathlib import Path


def measure_spectrum_image(
    calibrated: Path,
    fit: Path,
    edges: Path,
    outputs: dict[str, Path],
    config: dict,
    dose: Path | None = None,
    folder: Path = Path(),
) -> None:
    """Measure the layer in one spectrum image; see `ceiflow.layer.spectrum_image`."""
    from ceiflow.layer.spectrum_image import measure_spectrum_image as measure

    measure(calibrated, fit, edges, outputs, config, dose, folder)


def measure_image(signal: Path, outputs: dict[str, Path], config: dict, pristine: list[Path] = ()) -> None:
    """Measure the layer in one image; see `ceiflow.layer.image`."""
    from ceiflow.layer.image import measure_image as measure

    measure(signal, outputs, config, pristine)
