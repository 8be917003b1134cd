"""A suite with a judge on all prompts and humans on some."""

import json

import numpy as np
import pytest

SUITE = """\
rmcheck: 1
name: judged
resamples: 500
pool: {path: pool.jsonl}
golden: {column: human, judge: gpt}
checks:
  - {name: accuracy, metric: accuracy, at_least: 0.6}
"""
MODEL = "--rmcheck-model=python:model:score?version=1"
TRUST = "--rmcheck-trust-suites"


@pytest.fixture
def judged(pytester):
    """200 prompts; a judge likes second answers too much, and humans have read 60 prompts."""
    rng = np.random.default_rng(0)
    rows = []
    for i in range(200):
        human = rng.normal(size=2)
        row = {
            "prompt": f"{i}?",
            "responses": [f"{h + rng.normal() / 2:.3f}" for h in human],
            "gpt": (human + rng.normal(size=2) / 2 + [0, 1]).tolist(),
        }
        rows.append(row | ({"human": human.tolist()} if i % 10 < 3 else {}))
    pytester.path.joinpath("pool.jsonl").write_text("\n".join(map(json.dumps, rows)))
    pytester.path.joinpath("judged.yaml").write_text(SUITE)
    pytester.makepyfile(
        model="def score(prompts, responses):\n    return [float(r) for r in responses]\n"
    )
    return pytester


def test_the_report_says_what_each_alone_would_give(judged):
    """All prompts count; the page has the number by humans, by the judge, and the trust in it."""
    result = judged.runpytest_inprocess("--rmcheck", MODEL, TRUST, "--rmcheck-report=out")
    report = json.loads(judged.path.joinpath("out/report.json").read_text())
    (check,) = report["checks"]
    facts = check["facts"]

    assert result.ret == 0
    assert check["n"] == 200
    assert facts["human_prompts"] == 60
    assert facts["judge_only"] < facts["human_only"]
    assert 0 < facts["trust_in_judge"] <= 1
    assert check["value"] > facts["judge_only"] + 0.05
    assert report["suites"][0]["golden"] == "column human, judge gpt"


def test_an_open_check_says_how_many_labels_of_people_it_takes(judged):
    """They are what is short: the judge has read everything."""
    judged.path.joinpath("judged.yaml").write_text(SUITE.replace("0.6}", "0.72}"))
    result = judged.runpytest_inprocess("--rmcheck", MODEL, TRUST, "--rmcheck-report=out")
    (check,) = json.loads(judged.path.joinpath("out/report.json").read_text())["checks"]

    assert check["verdict"] == "inconclusive"
    needed = int(np.ceil(check["prompts_needed"] * 60 / 200))
    assert needed > 60
    result.stdout.fnmatch_lines([f"*60 prompts labelled by people cannot*about {needed} could.*"])


def test_a_fixture_is_put_right_too(judged):
    """A plain test sees the number that the suite sees."""
    judged.makepyfile(
        test_plain="""
        import pytest

        @pytest.mark.rmcheck(suite="judged.yaml")
        def test_it(accuracy):
            assert accuracy.measurement.facts["human_prompts"] == 60
        """
    )
    result = judged.runpytest_inprocess("--rmcheck", MODEL, TRUST, "test_plain.py")

    result.assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("accuracy, at_least: 0.6", "bon_drop_ratio, n: 2, at_most: 0.6", "*is no mean over p*"),
        ("judge: gpt", "judge: gtp", "*no label column 'gtp'. Did you mean 'gpt'*"),
        ("name: judged", "name: judged\nadaptive: true", "*leave out `adaptive: true` or*"),
    ],
)
def test_what_humans_cannot_put_right_is_refused(judged, before, after, said):
    """At collection, with the place in the suite."""
    judged.path.joinpath("judged.yaml").write_text(SUITE.replace(before, after))
    result = judged.runpytest_inprocess("--rmcheck", MODEL, TRUST, "--collect-only")

    assert result.ret != 0
    result.stdout.fnmatch_lines([said])
