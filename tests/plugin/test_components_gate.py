"""Several rewards at once, gated as their sum, with a report of each."""

import json

import pytest

SUITE = """\
rmcheck: 1
name: sums
resamples: 200
pool: {path: pool.jsonl}
checks:
  - {name: accuracy, metric: accuracy, ties: half, at_least: 0.6}
  - {name: passes, metric: false_positive_rate, at_most: 0.1}
"""


@pytest.fixture
def sums(pytester):
    """Sixty sums, each with a right and two wrong answers, of which one is long."""
    rows = [
        {
            "prompt": f"{i} + 1?",
            "responses": [str(i + 1), str(i), "I do not know."],
            "golden": [1, 0, 0],
            "sum": i + 1,
        }
        for i in range(60)
    ]
    pytester.path.joinpath("pool.jsonl").write_text("\n".join(map(json.dumps, rows)))
    pytester.path.joinpath("demo.yaml").write_text(SUITE)
    pytester.makepyfile(
        rewards="""
        def right(completions, sum, **kwargs):
            return [c[0]["content"] == str(s) for c, s in zip(completions, sum)]

        def long(completions, **kwargs):
            return [float(len(c[0]["content"]) > 4) for c in completions]
        """
    )
    return pytester


def test_each_reward_is_reported_beside_the_sum(sums):
    """Its weight, share of the variance, its own metrics, and the correlation with the others."""
    spec = "trl:rewards:right,rewards:long?reward_weights=1,0.5"
    result = sums.runpytest_inprocess(
        "--rmcheck", f"--rmcheck-model={spec}", "--rmcheck-report=report"
    )

    assert result.ret == 0
    report = json.loads(sums.path.joinpath("report", "report.json").read_text())
    models = report["suites"][0]["models"]
    told = models[0]["description"]
    assert told["reward"] == "1 × right + 0.5 × long"
    # Inside a prompt: right is (2, −1, −1) / 3, long (−1, −1, 2) / 3.
    assert told["reward right"].startswith("weight 1; 100% of the variance; accuracy 1.000 [")
    assert told["reward right"].endswith("correlates -0.50 with reward long")
    assert told["reward long"].startswith("weight 0.5; 0% of the variance; accuracy 0.250 [")
    assert [m["role"] for m in models] == ["candidate", *["candidate member"] * 2]
