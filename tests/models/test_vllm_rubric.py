"""A judge with criteria behind a real vLLM server, whose tiny random model knows no JSON."""

import json
from dataclasses import replace

import pytest
import tiny_models
from vllm_server import needs_server, serving

from rmcheck.models.kinds.judge.score import answers_of
from rmcheck.models.registry import open_model

pytestmark = needs_server

RUBRIC = """\
engine: http:URL
prompt: |
  Question: {{ prompt }}
  Reference: {{ reference }}
  Answer: {{ response }}
read:
  criteria:
    correct: {range: [1, 5], weight: 2}
    clear: {range: [0, 9]}
  max_tokens: 400
  samples: 1
  temperature: 1.0
"""
SUITE = """\
rmcheck: 1
name: graded
resamples: 200
pool: {path: pool.jsonl}
checks:
  - {name: whole, metric: accuracy, at_least: 0.05}
  - {name: good, metric: accuracy, at_least: 0.95}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tiny language model; vLLM's attention on a CPU wants heads of 32 and more."""
    return tiny_models.causal(
        tmp_path_factory.mktemp("graded") / "model", hidden_size=128, max_position_embeddings=1024
    )


@pytest.fixture(scope="module")
def address(folder):
    """Of a server that writes."""
    with serving(folder, folder.parent / "server.log", "--max-model-len", "1024") as url:
        yield url


@pytest.mark.parametrize("asked", ["as turns", "as token ids"])
def test_every_answer_keeps_to_the_schema(address, folder, tmp_path, asked):
    """All criteria, in their ranges, and nothing else; whoever makes the tokens."""
    ids = f"?tokenizer={folder}" if asked == "as token ids" else ""
    (tmp_path / "rubric.yaml").write_text(RUBRIC.replace("URL", address + ids))
    (judge, _) = open_model(f"judge:{tmp_path / 'rubric.yaml'}").members
    member = judge.load()
    columns = {"reference": "four"}
    samples = [replace(sample, columns=columns) for sample in tiny_models.samples()]
    encoded = member.encode(samples)

    written = answers_of(member.asked, encoded, member.model.read)
    member.close()

    grades = [json.loads(answer.text) for answers in written.found.values() for answer in answers]
    assert len(grades) == 8
    assert len(set(map(str, grades))) > 4
    for grade in grades:
        assert grade.keys() == {"correct", "clear"}
        assert 1 <= grade["correct"] <= 5
        assert 0 <= grade["clear"] <= 9


def test_the_gate_reads_all_grades(address, pytester):
    """An answer without grades would be an error: `unparsed` is not set."""
    rows = [
        {
            "prompt": f"what is {text} and {i}",
            "responses": list(tiny_models.TEXTS[:2]),
            "golden": [i % 2, 1 - i % 2],
            "reference": text,
        }
        for i, text in enumerate(tiny_models.TEXTS * 4)
    ]
    (pytester.path / "pool.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (pytester.path / "graded.yaml").write_text(SUITE)
    (pytester.path / "rubric.yaml").write_text(RUBRIC.replace("URL", f"{address}?version=1"))

    pytester.runpytest_inprocess(
        "--rmcheck", "--rmcheck-model=judge:rubric.yaml", "--rmcheck-report=out"
    )
    report = json.loads((pytester.path / "out" / "report.json").read_text())
    verdicts = {check["name"]: check["verdict"] for check in report["checks"]}

    assert verdicts == {"whole": "pass", "good": "fail"}
