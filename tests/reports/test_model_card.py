"""The verdicts of a run elsewhere: in a model card, and as a badge."""

import json
from xml.etree import ElementTree

import pytest
import yaml

from rmcheck.cli import main

pytest_plugins = ["pytester"]


@pytest.fixture
def run(pytester):
    """Folder of the report of a model that knows nothing, with one check that it passes."""
    row = {"responses": ["a", "b"], "golden": [0, 1]}
    rows = [{"prompt": f"q{i}", **row} for i in range(60)]
    pytester.path.joinpath("pool.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    pytester.path.joinpath("demo.yaml").write_text(
        "rmcheck: 1\npool: {path: pool.jsonl}\nchecks:\n"
        "  - {name: accuracy, metric: accuracy, at_least: 0.9}\n"
        "  - {name: some, metric: accuracy, at_least: 0.1}\n"
    )
    options = ("--rmcheck", "--rmcheck-model=fake:random", "--rmcheck-report=run")
    pytester.runpytest_inprocess("demo.yaml", *options)
    return pytester.path / "run"


def test_the_hub_reads_the_verdicts_of_a_model_card(run):
    """Its own reader finds each check with value, bounds, requirement and verdict."""
    hub = pytest.importorskip("huggingface_hub.repocard_data")
    assert main(["report", "run", "--model-card", "card.yaml"]) == 0

    index = yaml.safe_load(run.with_name("card.yaml").read_text())["model-index"]
    name, results = hub.model_index_to_eval_results(index)

    assert name == "fake:random"
    assert [one.metric_type for one in results] == ["accuracy", "accuracy"]
    assert results[0].metric_name == "accuracy >= 0.9: fail"
    assert results[1].metric_name == "some >= 0.1: pass"
    assert results[0].metric_args["lower"] < results[0].metric_value
    assert results[0].dataset_name == "pool.jsonl"


def test_a_badge_says_how_many_checks_passed(run):
    """In red while the gate is closed, and to screen readers too."""
    assert main(["report", "run", "--badge", "badges/gate.svg"]) == 0

    image = ElementTree.fromstring((run.parent / "badges" / "gate.svg").read_text())
    texts = [element.text for element in image.iter() if element.text]
    assert texts == ["rmcheck", "1 of 2 pass"]
    assert image.attrib["aria-label"] == "rmcheck: 1 of 2 pass"
    assert "#c62828" in (run.parent / "badges" / "gate.svg").read_text()
