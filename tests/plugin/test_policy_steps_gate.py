"""Checks over the steps of a policy, through the whole gate."""

import json

import numpy as np
import pytest

from rmcheck.errors import SuiteError
from rmcheck.run.load import load

SUITE = """\
rmcheck: 1
name: demo
resamples: 500
pool: {path: pool.jsonl, slices: [category]}
checks:
  - {name: to-100, metric: accuracy, over: policy_step, holds_to: 100, at_least: 0.6}
  - {name: to-200, metric: accuracy, over: policy_step, holds_to: 200, at_least: 0.6}
  - {name: decay, metric: accuracy, over: policy_step, max_decay: 0.05}
  - {name: gain, metric: ndr, n: 2, over: policy_step, max_decay: 1.5}
"""


def with_steps(bench, rows, *, per_response):
    """At step 200 longer answers are no better; a prompt is one row a step, or one for all."""
    found = []
    for row in rows[:40]:
        asked = {"prompt": row["prompt"], "category": row["category"]}
        steps = [
            {"responses": [f"{r} {step}" for r in row["responses"]], "golden": golden}
            for step, golden in (
                (0, row["golden"]),
                (100, row["golden"]),
                (200, row["golden"][::-1]),
            )
        ]
        if per_response:
            found.append(
                asked
                | {
                    "responses": [text for one in steps for text in one["responses"]],
                    "golden": [value for one in steps for value in one["golden"]],
                    "policy_step": np.repeat([0, 100, 200], 10).tolist(),
                }
            )
        else:
            found += [
                asked | one | {"policy_step": 100 * number} for number, one in enumerate(steps)
            ]
    (bench.path / "pool.jsonl").write_text("".join(json.dumps(row) + "\n" for row in found))


def pool_of(bench):
    """The rows of the pool."""
    return [json.loads(line) for line in (bench.path / "pool.jsonl").read_text().splitlines()]


def measured(bench):
    """Name of each check to its value, bounds, verdict and note."""
    checks = json.loads((bench.path / "out" / "report.json").read_text())["checks"]
    keys = ("value", "lower", "upper", "verdict", "note", "n")
    return {check["name"]: tuple(check[key] for key in keys) for check in checks}


def test_a_model_is_held_to_a_step_and_its_decay_is_bounded(bench, gate):
    """The same numbers whether the step stands in each row or at each response."""
    bench.path.joinpath("demo.yaml").write_text(SUITE)
    found, rows = [], pool_of(bench)
    for per_response in (False, True):
        with_steps(bench, rows, per_response=per_response)
        result = gate("--rmcheck-report=out", model="fake:length_biased", baseline=None)
        result.assert_outcomes(passed=2, failed=2)
        found.append(measured(bench))
    result.stdout.fnmatch_lines(["*holds to step 100: judge the model on responses of the policy*"])

    for name, (*numbers, verdict, note, n) in found[0].items():
        assert found[1][name] == (*map(pytest.approx, numbers), verdict, note, n)
    assert found[0]["to-100"][3:5] == ("pass", "worst of 2: 0; holds to step 100")
    assert found[0]["decay"][0] > 0.1
    assert "it gets worse as the policy moves" in found[0]["decay"][4]
    assert found[0]["decay"][5] == 40  # a prompt asked at three steps is one unit


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("holds_to: 100", "holds_to: 150", "no responses of policy_step 150. Steps: 0, 100, 200."),
        ("over: policy_step, holds_to: 100", "over: step, holds_to: 1", "no slice 'step'"),
        ("over: policy_step, max", "over: category, max", "must be the step of the policy"),
        ("name: demo", "name: demo\nadaptive: true", "needs the prompts of every step"),
        (
            "metric: accuracy, over: policy_step, max",
            "metric: ece, over: policy_step, max",
            "ece has no decay",
        ),
    ],
)
def test_what_the_pool_cannot_say_of_steps_is_refused_where_it_is_asked(bench, old, new, said):
    """Before a model is opened, with the place in the suite."""
    with_steps(bench, pool_of(bench), per_response=False)
    bench.path.joinpath("demo.yaml").write_text(SUITE.replace(old, new))

    with pytest.raises(SuiteError, match=r"demo\.yaml:") as caught:
        load(bench.path / "demo.yaml")

    assert said in str(caught.value)
