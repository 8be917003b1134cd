"""What the page of a run draws: curves, calibration, and the responses that moved."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmcheck.metrics.rewards import Rewards
from rmcheck.run.drawn.texts import _typical, places


def found(bench):
    """The drawings of the one suite of a run."""
    (suite,) = json.loads((bench.path / "out" / "report.json").read_text())["suites"]
    return suite.get("drawings", {})


@pytest.mark.parametrize("how", [(), ("-n2",)], ids=["plain", "xdist"])
def test_a_report_has_what_the_page_draws(how, gate, bench):
    """Curves and calibration of both models, and responses that moved between them."""
    gate("--rmcheck-report=out", *how, model="fake:length_biased")

    drawn = found(bench)
    for role in ("candidate", "baseline"):
        curve = drawn["curves"][role]
        assert curve["n"][0] == 1
        assert curve["golden"]["values"][0] == pytest.approx(0)
        assert max(curve["golden"]["values"]) <= max(curve["best"]["values"]) + 1e-9
        assert len(drawn["calibration"][role]["pairs"]) == 10
        assert set(drawn["points"][role]["length"]) == {0, 1, 2}
        rows = {row["name"]: row for row in drawn["slices"][role]["rows"]}
        assert list(rows) == ["", "category=chat", "category=code"]
    assert "left_out" not in drawn
    words = next(one for one in drawn["traits"] if one["trait"] == "words")
    assert words["beyond"]["lower"] > 0  # longer than golden would have them
    moved = drawn["moved"]
    assert len(moved) == 5
    gaps = [abs(one["candidate_place"] - one["baseline_place"]) for one in moved]
    assert gaps == sorted(gaps, reverse=True)
    assert len({one["prompt_id"] for one in moved}) == 5


def test_the_page_says_why_a_model_may_have_failed_and_what_it_picks(gate, bench):
    """With the suspect first, the models' options in commands, and texts as n grows."""
    gate("--rmcheck-report=out", model="fake:length_biased")

    report = json.loads((bench.path / "out" / "report.json").read_text())
    page = (bench.path / "out" / "report.html").read_text()
    failed = [check for check in report["checks"] if check["verdict"] == "fail"]
    assert {check["causes"][0]["name"] for check in failed} == {"length"}
    assert all(check["causes"][0]["suspected"] for check in failed)
    assert page.index("Suspected: length") < page.index('id="checks"')
    assert "--rmcheck-model=fake:length_biased --rmcheck-baseline=fake:perfect" in page
    for one in found(bench)["picks"]:
        assert [step["n"] for step in one["steps"]] == [1, 4, 10]
        rewards = [step["reward"] for step in one["steps"]]
        assert rewards == sorted(rewards)
        assert one["best"]["golden"] >= one["steps"][-1]["golden"]


def test_what_cannot_be_drawn_is_named_with_the_reason(gate, bench):
    """A constant model has no spread to draw."""
    gate("--rmcheck-report=out", model="fake:constant")

    left = {one["drawing"]: one["why"] for one in found(bench)["left_out"]}
    page = (bench.path / "out" / "report.html").read_text()
    assert left["points"] == "all rewards of a prompt are equal"
    assert "Reward and golden of the candidate is not drawn: all rewards of a prompt" in page


@pytest.mark.parametrize("size", [2, 5, 56])
def test_the_typical_pick_is_the_median_best_of_n(size):
    """The best of all is that of all; half of 4,000 draws of fewer have no better a best."""
    rng = np.random.default_rng(0)
    assert _typical(size, size) == size - 1
    for n in range(1, size, 7):
        best = rng.integers(size, size=(4_000, n)).max(axis=1)
        assert np.mean(best < _typical(n, size)) <= 0.53
        assert np.mean(best <= _typical(n, size)) >= 0.47


def test_golden_choosing_is_the_best_there_is(gate, bench):
    """The perfect model gains what golden gains; one that gains less is below it."""
    gate("--rmcheck-report=out", model="fake:perfect", baseline="fake:random")

    curves = found(bench)["curves"]
    assert curves["candidate"]["golden"]["values"] == pytest.approx(
        curves["candidate"]["best"]["values"]
    )
    assert curves["baseline"]["golden"]["values"][-1] < curves["candidate"]["best"]["values"][-1]


def test_a_response_that_moved_is_shown_with_its_own_text(gate, bench):
    """The text, golden and rewards belong together."""
    gate("--rmcheck-report=out", model="fake:length_biased")
    rows = [json.loads(line) for line in (bench.path / "pool.jsonl").read_text().splitlines()]
    by_id = {row["prompt_id"]: row for row in rows}

    for one in found(bench)["moved"]:
        row = by_id[one["prompt_id"]]
        at = row["golden"].index(one["golden"])
        assert row["responses"][at].startswith(one["response"].rstrip("…"))
        assert one["candidate_reward"] == len(row["responses"][at])
        assert one["baseline_reward"] == one["golden"]


def test_one_model_alone_has_a_curve_and_nothing_that_moved(gate, bench):
    """A run without a baseline draws what it has."""
    check = "{name: a, metric: accuracy, at_least: 0.6}"
    suite = f"rmcheck: 1\npool: {{path: pool.jsonl}}\nchecks: [{check}]\n"
    (bench.path / "demo.yaml").write_text(suite)
    gate("--rmcheck-report=out", model="fake:perfect", baseline=None)

    assert list(found(bench)["curves"]) == ["candidate"]
    assert "moved" not in found(bench)


def test_nothing_is_computed_where_no_report_is_asked_for(gate, monkeypatch):
    """A gate without a report does not pay for drawings."""
    monkeypatch.setattr("rmcheck.run.runner.drawings", lambda *_: pytest.fail("computed"))

    gate().assert_outcomes(passed=6)


@given(st.lists(st.lists(st.integers(-3, 3), min_size=1, max_size=6), min_size=1, max_size=5))
def test_a_place_is_the_share_of_the_other_answers_below(prompts):
    """1 for a single best, 0 for the worst, NaN where there is no other."""
    proxy = np.concatenate(prompts).astype(float)
    counts = np.array([len(p) for p in prompts])
    offsets = np.concatenate([[0], np.cumsum(counts)])
    ids = tuple(map(str, range(len(prompts))))
    found_places = places(Rewards(proxy, proxy, offsets, ids, np.arange(len(prompts))))

    for row, answers in enumerate(prompts):
        for i, value in enumerate(answers):
            place = found_places[offsets[row] + i]
            if len(answers) == 1:
                assert np.isnan(place)
            else:
                below = sum(other < value for other in answers)
                assert place == pytest.approx(below / (len(answers) - 1))
