"""Schemas, defaults, and the checker that reads them."""

import copy
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import yaml

from ceiflow.study.checker import check, is_type, nearest
from ceiflow.study.config import default_config, load_config, spell
from ceiflow.study.measurements import MODALITIES, ZONES
from ceiflow.study.metadata import METADATA
from ceiflow.study.schemas import load_schema, schema_folder

NAMES = ("config", "cells", "acquisitions")
KEYWORDS = set(
    [
        "$schema",
        "$defs",
        "$ref",
        "title",
        "description",
        "type",
        "properties",
        "additionalProperties",
        "required",
        "default",
        "unit",
        "examples",
        "format",
        "enum",
        "const",
        "minimum",
        "maximum",
        "exclusiveMinimum",
        "pattern",
        "minLength",
        "minItems",
        "maxItems",
        "uniqueItems",
        "minProperties",
        "items",
        "anyOf",
        "oneOf",
        "discriminator",
    ]
)
DIFFERENCE = {
    "id": "c",
    "kind": "difference",
    "endpoint": "layer_thickness_nm",
    "test": {"condition": "shorted"},
    "reference": {"condition": ["normal", "pristine"]},
}
CONFIGS = [
    {},
    {"eels": {"elements": ["C", "O"]}},
    {"eels": {"elements": []}},
    {"eels": {"elements": ["C", "C"]}},
    {"eels": {"elements": "C"}},
    {"eels": {"elements": ["Xx"]}},
    {"eels": {"fit": {"passes": 0}}},
    {"eels": {"fit": {"passes": 2.0}}},
    {"eels": {"fit": {"passes": 2.5}}},
    {"eels": {"fit": {"passes": True}}},
    {"eels": {"energy": {"policy": "guess"}}},
    {"eels": {"nonsense": 1}},
    {"microscope": {"beam_energy_keV": 300}},
    {"microscope": {"beam_energy_keV": None}},
    {"microscope": {"beam_energy_keV": 300000}},
    {"microscope": {"collection_mrad": 0}},
    {"microscope": {"beam_energy_keV": "300"}},
    {"strict": "yes"},
    {"strict": 1},
    {"unknown": {}},
    {"pathvars": {"results": "out"}},
    {"pathvars": {"results": 3}},
    {"images": {"spacing_range_nm": [0.2]}},
    {"images": {"spacing_range_nm": [0.2, 0.5]}},
    {"images": {"spacing_range_nm": [0.2, 0]}},
    {"retrieve": {"files": [{"path": "a"}]}},
    {"retrieve": {"files": [{"path": "a", "url": "ftp://x", "sha256": "0" * 64}]}},
    {"retrieve": {"files": [{"path": "a", "url": "https://x", "sha256": "0" * 64}]}},
    {"retrieve": {"files": [{"path": "a", "url": "https://x", "sha256": "0" * 63}]}},
    {"claims": [DIFFERENCE]},
    {"claims": [{**DIFFERENCE, "direction": "up"}]},
    {"claims": [{**DIFFERENCE, "margin": 2}]},
    {"claims": [{**DIFFERENCE, "test": {}}]},
    {"claims": [{**DIFFERENCE, "test": {"state": True}}]},
    {"claims": [{**DIFFERENCE, "test": {"state": []}}]},
    {"claims": [{**DIFFERENCE, "modality": "tem"}]},
    {"claims": [{**DIFFERENCE, "modality": ["tem", "hrtem"]}]},
    {"claims": [{**DIFFERENCE, "modality": ["tem", "xps"]}]},
    {"claims": [{**DIFFERENCE, "modality": []}]},
    {"claims": [{**DIFFERENCE, "alpha": 0.7}]},
    {"claims": [{**DIFFERENCE, "id": "a b"}]},
    {"claims": [{**DIFFERENCE, "kind": "similarity"}]},
    {"claims": [{"id": "c"}]},
    {"claims": ["c"]},
    {"claims": {}},
    {"claims": [{"id": "a", "kind": "absence", "endpoint": "x", "group": {"cell_id": "c"}, "margin": 2}]},
    {"claims": [{"id": "a", "kind": "absence", "endpoint": "x", "group": {"cell_id": "c"}, "margin": 0}]},
    {
        "claims": [
            {"id": "a", "kind": "interval", "endpoint": "x", "group": {"cycles": 3}, "low": 1, "high": 2}
        ]
    },
    {"claims": [{"id": "a", "kind": "interval", "endpoint": "x", "group": {"cycles": 3}, "low": 1}]},
]


def sections(schema, path=()):
    """Every schema below a schema."""
    yield path, schema
    children = [*schema.get("properties", {}).items(), *schema.get("$defs", {}).items()]
    children += [
        (name, schema[name])
        for name in ("items", "additionalProperties")
        if isinstance(schema.get(name), dict)
    ]
    children += [
        (str(n), option) for key in ("oneOf", "anyOf") for n, option in enumerate(schema.get(key, ()))
    ]
    for name, child in children:
        yield from sections(child, (*path, name))


@pytest.mark.parametrize("name", NAMES)
def test_schemas_are_valid_described_and_use_only_what_the_checker_knows(name):
    schema = load_schema(name)
    jsonschema.Draft202012Validator.check_schema(schema)
    for path, part in sections(schema):
        assert set(part) <= KEYWORDS, path
        if path and path[-1] != "$defs" and "$ref" not in part and not path[-1].isdigit():
            assert part.get("description"), path


def test_every_key_of_the_configuration_has_a_default():
    for path, part in sections(load_schema("config")):
        if {"items", "difference", "absence", "interval", "proportion"} & set(path):
            continue
        for name, child in part.get("properties", {}).items():
            assert "default" in child, (*path, name)
            if child.get("type") == "object" and "properties" in child:
                assert child["additionalProperties"] is False, (*path, name)


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_checker_agrees_with_jsonschema(config):
    schema = load_schema("config")
    valid = jsonschema.Draft202012Validator(schema).is_valid(config)
    assert (not list(check(config, schema, schema))) == valid


def test_a_line_end_is_not_part_of_a_name():
    """jsonschema lets it through, since Python's `$` matches before it."""
    schema = load_schema("config")
    assert list(check({"claims": [{**DIFFERENCE, "id": "a\n"}]}, schema, schema))


def test_defaults_satisfy_their_schema():
    schema = load_schema("config")
    assert not list(check(default_config(), schema, schema))
    jsonschema.validate(default_config(), schema)


def test_vocabulary_is_the_same_everywhere():
    config, acquisitions = load_schema("config"), load_schema("acquisitions")
    assert acquisitions["properties"]["modality"]["enum"] == list(MODALITIES)
    assert config["$defs"]["modality"]["anyOf"][0]["enum"] == list(MODALITIES)
    assert config["$defs"]["modality"]["anyOf"][1]["items"]["enum"] == list(MODALITIES)
    assert config["$defs"]["zone"]["enum"] == list(ZONES)
    microscope = config["properties"]["microscope"]["properties"]
    # The current stands for a dose that nobody states, and is no metadatum of its own.
    assert [name for name in microscope if name != "beam_current_pA"] == list(METADATA)
    for name, key in microscope.items():
        column = acquisitions["properties"][name]
        limits = ("type", "unit", "minimum", "maximum", "exclusiveMinimum")
        assert [key.get(k) for k in limits] == [column.get(k) for k in limits], name


def test_nothing_is_invented_about_the_microscope():
    assert set(default_config()["microscope"].values()) == {None}


def test_the_contracts_columns_are_there_in_order():
    cells = (
        "cell_id condition electrode electrolyte v_min_V v_max_V cycles c_rate_per_h state short_duration_s "
        "recovery_cycles batch note"
    )
    acquisitions = (
        "acquisition_id cell_id particle_id region_id modality path signal low_loss_path low_loss_signal "
        "adf_path adf_signal beam_energy_keV convergence_mrad collection_mrad pixel_size_nm dispersion_eV "
        "energy_offset_eV exposure_s low_loss_exposure_s dose_e_per_A2 beam_current_pA defocus_nm frame "
        "sha256 exclude note"
    )
    assert list(load_schema("cells")["properties"]) == cells.split()
    assert list(load_schema("acquisitions")["properties"]) == acquisitions.split()


def test_merge_is_deep_and_leaves_the_input_alone():
    raw = {"eels": {"fit": {"passes": 9}}, "claims": None, "layer": None}
    before = copy.deepcopy(raw)
    config = load_config(raw)
    assert raw == before
    assert config["eels"]["fit"] == {
        "start_eV": None,
        "stop_eV": None,
        "groups": 16,
        "passes": 9,
        "block_pixels": 1024,
    }
    assert config["claims"] == []
    assert config["layer"] == default_config()["layer"]
    assert load_config(config) == config
    assert load_config(None) == default_config()


def test_key_order_is_the_schemas_whatever_the_writer_did():
    assert list(load_config({"report": {}, "study": {}})) == list(default_config())


def test_unknown_keys_survive_the_merge_so_that_they_can_be_named():
    assert load_config({"eels": {"elemens": 1}})["eels"]["elemens"] == 1


def test_claims_get_the_defaults_of_their_kind():
    claim = load_config({"claims": [DIFFERENCE]})["claims"][0]
    assert (claim["zone"], claim["direction"], claim["modality"], claim["alpha"]) == (
        "layer",
        "two_sided",
        None,
        None,
    )
    absence = {"id": "a", "kind": "absence", "endpoint": "x", "group": {"condition": "y"}, "margin": 1}
    assert load_config({"claims": [absence]})["claims"][0]["max_prevalence"] == 0.1


def test_exponents_that_yaml_takes_for_text_are_numbers():
    raw = yaml.safe_load("microscope: {exposure_s: 1e-3}\nstudy: {title: 1e-3}\n")
    config = load_config(raw)
    assert config["microscope"]["exposure_s"] == 0.001
    assert config["study"]["title"] == "1e-3"


def test_defaults_cannot_be_spoilt():
    default_config()["eels"]["elements"].append("Zn")
    load_config({})["eels"]["elements"].append("Zn")
    assert "Zn" not in default_config()["eels"]["elements"]


def test_schema_folder_in_a_checkout(root):
    assert schema_folder() == root / "workflow" / "schemas"


def test_schema_folder_inside_a_package(tmp_path, monkeypatch):
    from ceiflow.study import schemas

    (tmp_path / "study" / "schemas").mkdir(parents=True)
    (tmp_path / "study" / "schemas" / "config.schema.yaml").write_text("{}")
    monkeypatch.setattr(schemas, "__file__", str(tmp_path / "study" / "schemas.py"))
    assert schemas.schema_folder() == tmp_path.resolve() / "study" / "schemas"


def test_a_broken_installation_says_so(tmp_path, monkeypatch):
    from ceiflow.study import schemas

    monkeypatch.setattr(schemas, "__file__", str(tmp_path / "a" / "b" / "c" / "schemas.py"))
    with pytest.raises(FileNotFoundError, match="without its schemas"):
        schemas.schema_folder()


@pytest.mark.parametrize(
    ("value", "name", "answer"),
    [
        (True, "number", False),
        (1, "integer", True),
        (1.0, "integer", True),
        (1.5, "integer", False),
        (float("nan"), "number", False),
        (float("inf"), "number", False),
        (float("inf"), "integer", False),
        (None, "null", True),
        ("1", "number", False),
    ],
)
def test_types(value, name, answer):
    assert is_type(value, name) is answer


def test_words():
    assert nearest("elemnts", ["elements", "fit"]) == "perhaps elements"
    assert nearest("zzz", ["elements", "fit"]) == "one of elements, fit"
    assert nearest("q", map(str, range(50))).endswith("19, ...")
    assert spell(("claims", 1, "low")) == "claims[2].low"
    assert spell(()) == "file"


def test_light_imports():
    """Every job imports the study room, so it must not pull in what takes long."""
    heavy = ("jsonschema", "pandas", "numpy", "h5py", "scipy", "hyperspy", "matplotlib")
    code = f"import sys, ceiflow.study, ceiflow.cli; print([m for m in {heavy!r} if m in sys.modules])"
    source = str(Path(__file__).resolve().parents[2] / "src")
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONPATH": source}
    )
    assert done.stdout.strip() == "[]"
