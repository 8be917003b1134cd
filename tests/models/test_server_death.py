"""A suite whose reward server goes away for good in the middle, and is back for the next run."""

import functools
import json

import pytest
import tiny_models
from failing_server import FailingServer

from rmcheck.errors import ScoringError
from rmcheck.models.engines.http.client import Patience
from rmcheck.models.kinds.classifier import http as http_model
from rmcheck.run.runner import Runner

SUITE = """\
rmcheck: 1
name: served
resamples: 200
min_prompts: 2
pool: {path: pool.jsonl}
checks:
  - {name: accuracy, metric: accuracy, at_least: 0.001}
"""
TEXTS = 40


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """A suite with its pool, and the tokenizer of the server; retries hardly wait."""
    rows = [
        {
            "prompt_id": f"p{i}",
            "prompt": f"what is {i}",
            "responses": [f"{'so ' * j}{i}" for j in range(4)],
            "golden": [0.0, 1.0, 2.0, 3.0],
        }
        for i in range(TEXTS // 4)
    ]
    (tmp_path / "pool.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "served.yaml").write_text(SUITE)
    tiny_models.tokenizer().save_pretrained(tmp_path / "words")
    quick = functools.partial(Patience, first_delay=0.01, longest_delay=0.05)
    monkeypatch.setattr(http_model, "Patience", quick)
    return tmp_path


def run(workplace, server, number):
    """A run of the suite: its verdict, and what was scored."""
    settings = f"tokenizer={workplace / 'words'}&version=1&batch=2&concurrency=1&tries=2"
    runner = Runner(
        candidate=f"http:{server.url}?{settings}",
        store=workplace / ".rmcheck",
        session_folder=workplace / f"session-{number}",
        shown_relative_to=workplace,
    )
    planned = runner.add(workplace / "served.yaml").planned[0]
    record = runner.record(planned, node="served.yaml::accuracy")
    return record.verdict, runner.suite_data()[0]["models"][0]["scoring"]


def test_a_server_that_dies_for_good_leaves_its_scores(workplace):
    """The error names the server and counts what is kept; when it is back the rest is scored."""
    with FailingServer("vllm", tiny_models.tokenizer()) as server:
        server.faults = [""] * 20 + ["drop"] * 1000
        with pytest.raises(ScoringError) as caught:
            run(workplace, server, 1)
        server.faults = []
        verdict, scoring = run(workplace, server, 2)
    message = str(caught.value)

    assert server.url in message
    assert f"{scoring['from_store']} of {TEXTS} scores are kept; a further run" in message
    assert verdict == "pass"
    assert 0 < scoring["from_store"] < TEXTS
    assert scoring["scored"] == TEXTS - scoring["from_store"]
