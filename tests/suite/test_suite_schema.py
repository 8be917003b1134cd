"""The JSON Schema says what the loader does, as far as a schema can."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import get_args

import jsonschema
import pytest
import yaml

from rmcheck.metrics.registry import metric_class, metric_names
from rmcheck.pool.pool import FaultKind
from rmcheck.probes.effect import ProbeEffect
from rmcheck.suite import keys
from rmcheck.suite.schema import SCHEMA_FILE, schema_text, suite_schema
from rmcheck.suite.suite import Check, GoldenSource, PoolSource, Suite, TrainingCheck

HERE = Path(__file__).parent
VALID = sorted(path.stem for path in (HERE / "valid").glob("*.yaml"))
INVALID = sorted(path.stem for path in (HERE / "invalid").glob("*.yaml"))

# What stays the loader's: words of one file compared with each other, and what YAML's own
# reading hides from a schema. The rest of the corpus a schema must refuse.
ONLY_THE_LOADER_SEES = {
    "bound_is_nan": "NaN compares with nothing",
    "check_second_of_a_name": "two checks compared",
    "over_is_no_slice": "compared with pool.slices",
    "probe_file_missing": "another file",
    "probe_file_wrong": "another file",
    "setting_out_of_range": "said by the metric's own code",
    "decay_alone": "said by the metrics' own code",
    "decay_beyond_the_range": "max_decay compared with both ends of the range",
    "drop_beyond_the_range": "max_drop compared with both ends of the range",
    "suite_blind_to_direction": "said by the metrics' own code",
    "suite_seed_is_octal": "YAML 1.1 has read 0123 as the number 83",
    "text_alias_of_itself": "a value that contains itself",
    "text_with_an_escape": "stands in quotes as \\e",
    "text_duplicate_key": "the last one has won",
    "where_is_no_slice": "compared with pool.slices",
}


@pytest.fixture(scope="module")
def validator():
    """A validator of the committed schema."""
    return jsonschema.Draft202012Validator(json.loads(SCHEMA_FILE.read_text(encoding="utf-8")))


def plain(path: Path):
    """The file as an editor's YAML parser gives it to the schema; None where it is not YAML."""
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, TypeError):
        return None


def test_the_committed_schema_is_the_generated_one():
    """After a key, a metric or a format changed: `python -m rmcheck.suite.schema`."""
    assert SCHEMA_FILE.read_text(encoding="utf-8") == schema_text()


def test_the_module_writes_the_schema(tmp_path):
    """`python -m rmcheck.suite.schema` writes the file, here to another place."""
    target = tmp_path / "suite.schema.json"
    code = (
        "import pathlib, runpy;"
        f"pathlib.Path.with_name = lambda self, name: pathlib.Path({str(target)!r});"
        "runpy.run_module('rmcheck.suite.schema', run_name='__main__')"
    )

    subprocess.run([sys.executable, "-c", code], check=True)

    assert json.loads(target.read_text(encoding="utf-8"))["title"] == "rmcheck suite"


def test_the_schema_is_one():
    """It keeps the rules of the draft that it names."""
    jsonschema.Draft202012Validator.check_schema(suite_schema())


@pytest.mark.parametrize("name", VALID)
def test_what_loads_fits_the_schema(validator, name):
    """No editor draws red lines under a right suite."""
    errors = [error.message for error in validator.iter_errors(plain(HERE / f"valid/{name}.yaml"))]

    assert errors == []


@pytest.mark.parametrize("name", [name for name in INVALID if name not in ONLY_THE_LOADER_SEES])
def test_what_a_schema_can_see_it_refuses(validator, name):
    """Whoever writes a suite in an editor learns of the mistake while typing."""
    assert not validator.is_valid(plain(HERE / f"invalid/{name}.yaml"))


@pytest.mark.parametrize(
    "name", [name for name in ONLY_THE_LOADER_SEES if name != "text_alias_of_itself"]
)
def test_the_list_of_exceptions_is_not_longer_than_it_must_be(validator, name):
    """What the schema has learnt to see leaves the list."""
    assert validator.is_valid(plain(HERE / f"invalid/{name}.yaml"))


@pytest.mark.parametrize(
    ("table", "cls", "not_in_the_file", "not_in_the_class"),
    [
        (keys.SUITE, Suite, {"path", "training"}, {"rmcheck"}),
        (keys.POOL, PoolSource, set(), set()),
        (keys.GOLDEN, GoldenSource, set(), set()),
        (keys.CHECK, Check, {"line"}, set()),
        (
            {**keys.TRAINING_CHECK, **keys.TRAINING, **keys.TRANSFER},
            TrainingCheck,
            {"line"},
            {"training", "transfer"},
        ),
    ],
)
def test_file_and_dataclass_name_the_same_things(table, cls, not_in_the_file, not_in_the_class):
    """A key that no field takes, or a field that no key sets, is a mistake."""
    fields = {field.name for field in dataclasses.fields(cls)}

    assert set(table) - not_in_the_class == fields - not_in_the_file


def test_schema_and_loader_name_the_same_keys():
    """Every key and every setting of every metric is in the schema, nothing else."""
    schema = suite_schema()
    items = schema["properties"]["checks"]["items"]
    check, training = items["else"]["else"], items["then"]["properties"]
    probe = items["else"]["then"]["properties"]
    settings = {
        part["if"]["properties"]["metric"]["const"]: set(part["then"]["properties"])
        for part in check["allOf"]
        if "metric" in part["if"]["properties"]
    }

    assert set(schema["properties"]) == set(keys.SUITE)
    assert set(schema["properties"]["pool"]["properties"]) == set(keys.POOL)
    assert set(schema["properties"]["golden"]["properties"]) == set(keys.GOLDEN)
    assert set(schema["properties"]["serving"]["properties"]) == set(keys.SERVING)
    assert set(check["properties"]) == set(keys.CHECK)
    assert set(probe) == {*keys.PROBE_CHECK, *keys.settings_of(ProbeEffect)} - {"at_least"}
    assert set(training) == set(keys.TRAINING_CHECK)
    assert set(training["training"]["properties"]) == set(keys.TRAINING)
    assert {name: found - set(keys.CRITERIA) for name, found in settings.items()} == {
        name: set(keys.settings_of(metric_class(name))) for name in metric_names()
    }


def test_every_fault_kind_can_be_set():
    """The kinds are those of the pool."""
    _, by_kind = suite_schema()["properties"]["pool"]["properties"]["faults"]["anyOf"]

    assert set(by_kind["properties"]) == set(get_args(FaultKind))


def described(schema: dict, path: str = ""):
    """(path, description) of every key below."""
    for name, value in schema.get("properties", {}).items():
        if isinstance(value, dict) and "const" not in value:
            yield f"{path}{name}", value.get("description", "")
            yield from described(value, f"{path}{name}.")
            for kind in ("then", "else"):
                yield from described(value.get("items", {}).get(kind, {}), f"{path}{name}.")
    for part in schema.get("allOf", []):
        name = part["if"]["properties"].get("metric", {}).get("const", "")
        settings = {
            key: value
            for key, value in part["then"].get("properties", {}).items()
            if key not in keys.CRITERIA
        }
        yield from described({"properties": settings}, f"{path}{name}.")


def test_every_key_and_setting_has_a_description():
    """Hovering over a key in an editor says what it means."""
    assert [path for path, text in described(suite_schema()) if not text] == []


def test_every_metric_has_a_description():
    """The completion of `metric:` says what each one is."""
    check = suite_schema()["properties"]["checks"]["items"]["else"]["else"]
    metric = check["properties"]["metric"]

    assert [option["const"] for option in metric["oneOf"] if not option["description"]] == []
