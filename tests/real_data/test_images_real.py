"""Fields of measured images."""

from types import SimpleNamespace

import numpy as np
import pytest

from ceiflow.images import lattice_field, matter_field
from ceiflow.layer import rim
from ceiflow.study import load_config

pytestmark = pytest.mark.real_data


def test_soot(real_data):
    import tifffile

    image = tifffile.imread(real_data / "images/soot_hrtem_rgb.tif")[..., :3].mean(axis=2)
    pixel = 1 / 18.02
    matter = matter_field(image, pixel)
    assert matter.notes["vacuum"]
    values = matter.on_image(image.shape)
    assert values[80:250, 40:150].max() < 0.5  # vacuum left of the primary particle
    assert values[30:110, 490:].max() < 0.5  # and right of it
    assert values[150:300, 260:420].min() > 0.5
    lattice = lattice_field(image, pixel, matter=matter)
    assert lattice.notes["turbostratic"]
    assert 0.33 < lattice.notes["turbostratic_spacing_nm"] < 0.38
    crystal = lattice.on_image(image.shape)
    assert crystal[80:250, 40:150].max() < 0.5
    assert np.mean(crystal[150:300, 260:420] > 0.5) > 0.95


def test_dark_field_survey(real_data):
    from rsciio.digitalmicrograph import file_reader

    image = file_reader(str(real_data / "nmc-edge/adf_survey.dm3"))[0]["data"]
    pixel = 0.32417
    matter = matter_field(image, pixel, "adf")
    assert matter.notes["vacuum"]
    values = matter.on_image(image.shape)
    assert np.mean(values[430:, 20:] > 0.5) < 0.01
    assert values[:150].min() > 0.5
    edge = np.argmax(values[:, 380] < 0.5)
    assert 340 < edge < 385  # outside the dim rim
    assert not lattice_field(image, pixel).notes["lattice"]


def test_atomic_resolution_dark_field(real_data):
    from rsciio.digitalmicrograph import file_reader

    image = file_reader(str(real_data / "loaders/haadf_multi_signal.dm3"))[0]["data"]
    matter = matter_field(image, 0.01775, "adf")
    assert np.isfinite(matter.values).all()
    lattice = lattice_field(image, 0.01775, matter=matter)
    assert np.isfinite(lattice.values).all()


def test_slope_of_the_survey_is_no_layer(real_data):
    """Fitted with a layer it is 6.9 nm thick; a wedge of 11 nm does as well."""
    from rsciio.digitalmicrograph import file_reader

    image = file_reader(str(real_data / "nmc-edge/adf_survey.dm3"))[0]["data"].astype(np.float32)
    header = SimpleNamespace(modality="adf", metadata={})
    seen = rim.measure(image, 0.32417, header, load_config({}))
    assert seen.trace is None
    assert "wedge that thins out to nothing" in seen.reason
    assert abs(seen.entry["rim"]["for_layer"]) < rim.CLEAR
    # Under a blur that is four times that of the image's sharp edges.
    assert seen.entry["blur_nm"] > 2.5
