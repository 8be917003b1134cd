"""The JSON Schemas of studies and laboratories."""

import json
import re
from pathlib import Path

import pytest
import yaml

from rmcheck.cli import main
from rmcheck.lab.file import LABORATORY
from rmcheck.lab.study.study_file import STUDY

jsonschema = pytest.importorskip("jsonschema")
SUITES = Path(__file__).resolve().parents[2] / "suites"
FILES = [
    (STUDY, "study-small.yaml"),
    (LABORATORY, "lab/lab.yaml"),
    (LABORATORY, "lab/small.yaml"),
]


@pytest.mark.parametrize(("schema", "name"), FILES)
def test_the_files_that_come_with_rmcheck_fit_their_schema(schema, name):
    """And the same with a key that nothing reads does not, at the top or below."""
    validator = jsonschema.Draft202012Validator(schema.schema())
    text = (SUITES / name).read_text(encoding="utf-8")
    found = yaml.safe_load(re.sub(r"\b(\d)e-", r"\1.0e-", text))  # YAML 1.1 has no 3e-3
    below = "pool" if "pool" in found else "training"

    assert list(validator.iter_errors(found)) == []
    assert not validator.is_valid(found | {"golde": "each"})
    assert not validator.is_valid(found | {below: {**found[below], "pth": "x"}})


@pytest.mark.parametrize(
    ("section", "value"),
    [
        ("models", {"a": {"model": "hf:a", "column": "a"}}),
        ("metrics", ["acuracy"]),
        ("leave_out", ["everything"]),
        ("test_sets", 3),
        ("rewrites", {"share": [0.5]}),
    ],
)
def test_what_the_reader_of_a_study_refuses_its_schema_does_too(section, value):
    """Whoever writes a study in an editor learns of it while typing."""
    validator = jsonschema.Draft202012Validator(STUDY.schema())
    found = yaml.safe_load((SUITES / "study-small.yaml").read_text(encoding="utf-8"))

    assert not validator.is_valid(found | {section: value})


@pytest.mark.parametrize("command", [["study"], ["lab", "train"], ["lab", "policies"]])
def test_a_command_prints_the_schema_of_its_file(command, capsys):
    """Without a file or a folder."""
    with pytest.raises(SystemExit) as ended:
        main([*command, "--schema"])

    assert ended.value.code == 0
    jsonschema.Draft202012Validator.check_schema(json.loads(capsys.readouterr().out))
