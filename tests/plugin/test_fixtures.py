"""Fixtures and markers for plain test files."""

import json

import pytest


def test_metric_fixtures_give_estimates_on_slices_and_settings(gate_both_ways, bench):
    """`.where`, `.at` and the ends of the interval work as in the documentation."""
    bench.makepyfile(
        """
        import pytest

        @pytest.mark.rmcheck(suite="demo.yaml")
        def test_code_answers_hold_up(accuracy, bon_drop_ratio):
            assert accuracy.where(category="code").lower >= 0.60
            assert accuracy.where(category="code").n == 45
            assert bon_drop_ratio.at(n=8).upper <= 0.45
            assert bon_drop_ratio.at(n=2).value < bon_drop_ratio.at(n=8).upper

        @pytest.mark.rmcheck(suite="demo.yaml")
        def test_no_regression(accuracy):
            assert accuracy.drop().upper <= 0.4

        @pytest.mark.rmcheck(suite="demo.yaml")
        def test_rewards(rewards):
            assert len(rewards) == 90
        """
    )

    result = gate_both_ways(
        "test_metric_fixtures_give_estimates_on_slices_and_settings.py", model="fake:length_biased"
    )

    result.assert_outcomes(passed=3)


def test_a_failing_assert_shows_the_estimate(gate, bench):
    """Pytest's own assertion rewriting prints the interval; no hook of ours is needed."""
    bench.makepyfile(
        """
        import pytest

        @pytest.mark.rmcheck(suite="demo.yaml")
        def test_accuracy(accuracy):
            assert accuracy.lower >= 0.95
        """
    )

    result = gate("-k", "test_accuracy", model="fake:length_biased")

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*Estimate(0.7*, 95% bounds [[]0.7*, 0.7*[]], n=90)*"])


def test_an_estimate_cannot_be_compared_without_saying_which_end(gate, bench):
    """`accuracy >= 0.8` is a TypeError, not a guess."""
    bench.makepyfile(
        """
        import pytest

        @pytest.mark.rmcheck(suite="demo.yaml")
        def test_accuracy(accuracy):
            with pytest.raises(TypeError):
                accuracy >= 0.8
            with pytest.raises(TypeError):
                accuracy.estimate >= 0.8
            with pytest.raises(TypeError):
                float(accuracy.estimate)
        """
    )

    gate("-k", "test_accuracy").assert_outcomes(passed=1)


def test_models_score_texts_of_the_test(gate, bench):
    """`reward_model` takes prompts and responses; the baseline is another model."""
    bench.makepyfile(
        """
        import pytest

        pytestmark = pytest.mark.rmcheck

        def test_longer_wins(reward_model, baseline_model):
            scores = reward_model.score(["Hi?", "Hi?"], ["a", "a long answer"])
            assert scores[1] > scores[0]
            assert reward_model.margin("Hi?", "a long answer", "a") > 0
            assert baseline_model.margin("Hi?", "a long answer", "a") == 0
        """
    )

    gate("-k", "longer_wins", model="fake:length_biased", baseline="fake:constant").assert_outcomes(
        passed=1
    )


def test_a_fixture_without_a_suite_says_how_to_name_one(gate, bench):
    """No traceback: the marker to write."""
    bench.makepyfile(
        """
        import pytest

        @pytest.mark.rmcheck
        def test_accuracy(accuracy):
            pass
        """
    )

    result = gate("-k", "test_accuracy")

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*@pytest.mark.rmcheck(suite=*"])


def test_a_missing_model_or_setting_is_a_plain_error(gate, bench):
    """No golden model was given; bon_drop_ratio was not told n."""
    bench.makepyfile(
        """
        import pytest

        @pytest.mark.rmcheck(suite="demo.yaml")
        def test_golden(golden_model):
            pass

        @pytest.mark.rmcheck(suite="missing.yaml")
        def test_suite(accuracy):
            pass
        """
    )

    result = gate("-k", "test_golden or test_suite")

    result.assert_outcomes(errors=2)
    output = result.stdout.str()
    assert "--rmcheck-golden=SCHEME:LOCATION" in output
    assert "missing.yaml" in output
    assert "fixtures.py" not in output


def test_a_marked_test_counts_as_judging(gate, bench):
    """A run of marked tests alone is a gate too."""
    (bench.path / "demo.yaml").rename(bench.path / "kept.suite")
    bench.makepyfile(
        """
        import pytest

        @pytest.mark.rmcheck(suite="kept.suite")
        def test_accuracy(accuracy):
            assert accuracy.lower >= 0.6
        """
    )

    result = gate()

    assert result.ret == 0


def test_each_model_is_loaded_once_for_all_suites_and_tests(gate_both_ways, bench):
    """Two suites, three roles of use, one load; the count is written by the model itself."""
    bench.makepyfile(
        counted_rules="""
        import pathlib

        def length(prompts, responses):
            with pathlib.Path("calls.txt").open("a") as file:
                file.writelines(f"{r}\\n" for r in responses)
            return [float(len(r)) for r in responses]
        """
    )
    text = (bench.path / "demo.yaml").read_text()
    (bench.path / "second.yaml").write_text(text.replace("name: demo", "name: second"))

    result = gate_both_ways(
        "--rmcheck-report=out", model="python:counted_rules:length", baseline="fake:constant"
    )
    calls = (bench.path / "calls.txt").read_text().splitlines()
    report = json.loads((bench.path / "out" / "report.json").read_text())

    assert result.ret in (0, 1)
    assert len(calls) == len(set(calls)) == 900
    assert len(report["suites"]) == 2


def test_tests_that_need_a_gpu_are_skipped_where_there_is_none(gate, bench, monkeypatch):
    """The marker `gpu` says why."""
    monkeypatch.setattr("rmcheck.pytest_plugin.gate.has_gpu", lambda: False)
    bench.makepyfile(
        """
        import pytest

        @pytest.mark.gpu
        def test_kernel():
            raise AssertionError
        """
    )

    result = gate("-k", "test_kernel or accuracy", "-rs")

    assert result.parseoutcomes()["skipped"] == 1
    result.stdout.fnmatch_lines(["*needs a GPU; there is none here*"])


MISTAKES = {
    "accuracy > 0.7": "TypeError: accuracy is an interval, * accuracy.lower > 0.7",
    "accuracy.drop() <= 0.01": "TypeError: estimate is an interval, * estimate.upper <= 0.01",
    "0.2 > bon_drop_ratio": "TypeError: bon_drop_ratio is an interval, *_ratio.upper < 0.2",
    "accuracy": "TypeError: accuracy is neither true nor false. *accuracy.lower >= *",
    'accuracy.where(category="zzz").value': "*'zzz'*",
    "bon_drop_ratio.at(n=99).value": "*needs 99 responses*",
    "bon_drop_ratio.at(m=9).value": "*'m'*",
    'reward_model.score("a", "b")': "*score takes two lists, and got a text. *margin(*",
}


@pytest.mark.parametrize("wrong", MISTAKES)
def test_a_mistake_in_a_test_is_shown_at_its_own_line(gate, bench, wrong):
    """The last frame is the test's, and the message says what to write instead."""
    bench.makepyfile(
        f"""
        import pytest

        @pytest.mark.rmcheck(suite="demo.yaml")
        def test_wrong(accuracy, bon_drop_ratio, reward_model):
            assert {wrong}
        """
    )

    result = gate("-k", "test_wrong")

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([f">*assert {wrong}".replace("[", "[[]"), f"E *{MISTAKES[wrong]}"])
    assert "rmcheck/" not in result.stdout.str()
    assert "functools" not in result.stdout.str()


def test_a_drop_without_a_baseline_is_shown_at_its_own_line(gate, bench):
    """And names the option."""
    suite = bench.path / "demo.yaml"
    lines = suite.read_text().splitlines(keepends=True)
    suite.write_text("".join(line for line in lines if "max_drop" not in line))
    bench.makepyfile(
        """
        import pytest

        @pytest.mark.rmcheck(suite="demo.yaml")
        def test_drop(accuracy):
            assert accuracy.drop().upper < 0.1
        """
    )

    result = gate("test_a_drop_without_a_baseline_is_shown_at_its_own_line.py", baseline=None)

    result.stdout.fnmatch_lines([">*accuracy.drop()*", "E *give one with --rmcheck-baseline*"])
    assert "rmcheck/" not in result.stdout.str()


@pytest.mark.parametrize(
    ("marker", "outcome"),
    [('"demo.yaml"', "passed"), ('suit="demo.yaml"', "errors"), ('"demo.yaml", "b"', "errors")],
)
def test_the_marker_takes_the_path_of_a_suite(gate, bench, marker, outcome):
    """With or without its name; anything else is shown beside what to write."""
    bench.makepyfile(
        f"""
        import pytest

        @pytest.mark.rmcheck({marker})
        def test_marked(accuracy):
            assert accuracy.lower > 0.5
        """
    )

    result = gate("-k", "test_marked")

    result.assert_outcomes(**{outcome: 1})
    if outcome == "errors":
        result.stdout.fnmatch_lines(
            [f"*takes the path of one suite, *suite=* it has {marker}*".replace('"', "*")]
        )


def test_texts_of_a_test_have_no_score_in_a_bundle(gate, bench):
    """Where only scores are, the test says that it needs the model, and never passes unseen."""
    bench.path.joinpath("scores.jsonl").write_text(
        "".join(
            json.dumps({"prompt_id": f"p{i}", "response": j, "score": float(j)}) + "\n"
            for i in range(90)
            for j in range(10)
        )
    )
    bench.makepyfile(
        """
        import pytest

        @pytest.mark.rmcheck
        def test_own_texts(reward_model):
            assert reward_model.margin("Hi?", "a long answer", "a") > 0
        """
    )

    result = gate("-k", "test_own_texts", model="scores:scores.jsonl")

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            ">*reward_model.margin(*",
            "E *scores.jsonl has no score for 2 of 2 responses*",
            "E *A test that scores texts of its own needs the model: run it where*",
        ]
    )
    assert "rmcheck/" not in result.stdout.str()
