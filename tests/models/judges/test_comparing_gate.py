"""A judge that compares, in a gate: rewards for every metric, and a check of what places do."""

import json
import re

import pytest
from judging_server import JudgingServer

SUITE = """\
rmcheck: 1
name: judged
resamples: 200
pool: {path: pool.jsonl}
checks:
  - {name: accuracy, metric: accuracy, at_least: 0.6}
  - {name: best-of-3, metric: bon_drop_ratio, n: 3, at_most: 0.4}
  - {name: places, metric: position_consistency, at_least: 0.9}
"""


def favouring(question, seed):
    """The larger number wins, and of neighbours the one in the first place."""
    a, b = (float(text) for text in re.findall(r"<(\d+)>", question))
    return f"[[{'A' if a + 2 > b else 'B'}]]"


@pytest.fixture
def server():
    """A judge with a taste for first places."""
    with JudgingServer() as running:
        running.says = favouring
        yield running


def test_every_metric_works_on_comparisons_and_the_taste_for_a_place_fails(server, pytester):
    """And a model that scores each response by itself has no such consistency."""
    rows = [
        {
            "prompt": f"what is {i}?",
            "responses": [f"<{(i * k + k) % 9}> {k}" for k in (2, 5, 7)],
            "golden": [(i * k + k) % 9 for k in (2, 5, 7)],
        }
        for i in range(36)
    ]
    (pytester.path / "pool.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (pytester.path / "judged.yaml").write_text(SUITE)
    (pytester.path / "judge.yml").write_text(
        f"engine: http:{server.url}?version=1\n"
        "prompt: '{{ prompt }} {{ responses[0] }} or {{ responses[1] }}'\n"
        "read: {choice: '\\[\\[([AB])\\]\\]'}\n"
    )
    given = ("judged.yaml", "--rmcheck", "--rmcheck-report=out")

    result = pytester.runpytest_inprocess(*given, "--rmcheck-model=judge:judge.yml")
    checks = json.loads((pytester.path / "out" / "report.json").read_text())["checks"]
    other = pytester.runpytest_inprocess(
        "judged.yaml::places", *given[1:], "--rmcheck-model=fake:perfect"
    )

    result.assert_outcomes(passed=2, failed=1)
    assert checks[2]["verdict"] == "fail"
    assert checks[2]["facts"]["first_place_wins"] > 0.5
    other.assert_outcomes(errors=1)
    other.stdout.fnmatch_lines(["*needs a judge that compares responses*"])
