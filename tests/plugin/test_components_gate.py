"""Several rewards at once, gated as their sum and each against its own golden."""

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
            "human_right": [1, 0, 0],
            "human_long": [0.0, 0.0, 1.0] if i % 3 else [None, 0.0, 1.0],
            "human_wrong": [None, 1.0, 0.0],
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
    assert told["component right"].startswith("weight 1; 100% of the variance; accuracy 1.000 [")
    assert told["component right"].endswith("correlates -0.50 with long")
    assert told["component long"].startswith("weight 0.5; 0% of the variance; accuracy 0.250 [")
    assert [m["role"] for m in models] == ["candidate", *["candidate member"] * 2]
    right, long = models[0]["components"]
    assert (right["name"], right["weight"], long["weight"]) == ("right", 1, 0.5)
    assert right["correlations"] == {"long": pytest.approx(-0.5)}
    assert right["share"] == pytest.approx(1.0)
    assert right["measured"]["accuracy"]["value"] == 1.0


CHECKS = """\
  - {name: right, metric: accuracy, component: right, golden: human_right, at_least: 0.9}
  - {name: long, metric: accuracy, component: long, golden: human_long, at_least: 0.9}
  - {name: long-is-right, metric: accuracy, ties: half, component: long, at_least: 0.6}
  - {name: sum-is-long, metric: accuracy, ties: half, golden: human_long, at_least: 0.4}
  - {name: sum-is-wrong, metric: accuracy, golden: human_wrong, at_least: 0.4}
"""


def checks(sums, *lines, model="trl:rewards:right,rewards:long?reward_weights=1,0.5", args=()):
    """A run of these checks on a pool that drops what has no label."""
    suite = SUITE.split("  - {")[0].replace(".jsonl}", ".jsonl, faults: {missing_label: drop}}")
    sums.path.joinpath("demo.yaml").write_text(suite + "".join(lines))
    return sums.runpytest_inprocess("--rmcheck", f"--rmcheck-model={model}", *args)


def test_each_component_is_gated_against_its_own_golden(sums):
    """In one suite; responses without that golden are left out, and texts shown are the right."""
    result = checks(sums, CHECKS, args=["--rmcheck-report=report"])

    result.assert_outcomes(passed=3, failed=2)
    report = json.loads(sums.path.joinpath("report", "report.json").read_text())
    found = {check["name"]: check for check in report["checks"]}
    assert {name: check["value"] for name, check in found.items()} == {
        "right": 1.0,
        "long": 1.0,
        "long-is-right": 0.25,
        "sum-is-long": pytest.approx((40 * 0.5 + 20 * 1.0) / 60),
        "sum-is-wrong": 0.0,
    }
    assert found["long"]["settings"]["golden"] == "human_long"
    assert "|component:long|golden:human_long|" in found["long"]["signature"]
    (wrong, *_) = found["sum-is-wrong"]["mistakes"]
    assert (wrong["picked"], wrong["better"]) == ("I do not know.", wrong["prompt"].split()[0])


def test_a_component_is_compared_with_that_of_the_baseline(sums):
    """By the same rows; a baseline without it is refused where its drop is asked for."""
    check = "  - {name: right, metric: accuracy, component: right, max_drop: 0.01}\n"
    same = checks(sums, check, args=["--rmcheck-baseline=trl:rewards:right?reward_weights=1"])
    other = checks(sums, check, args=["--rmcheck-baseline=fake:random"])

    same.assert_outcomes(passed=1)
    other.stdout.fnmatch_lines(["*baseline fake:random has no component 'right'.*"])


@pytest.mark.parametrize(
    ("model", "check", "said"),
    [
        ("trl:rewards:right,rewards:long", "component: rihgt", "no component 'rihgt'. Did you*"),
        ("trl:rewards:right", "component: right", "has no component 'right'."),
        ("trl:rewards:right", "golden: human_rigth", "no label column 'human_rigth'. Did you*"),
    ],
)
def test_what_a_check_looks_at_and_is_not_there_is_told_at_collection(sums, model, check, said):
    """At its place in the suite, before anything is scored."""
    line = f"  - {{name: one, metric: accuracy, {check}, at_least: 0.9}}\n"
    result = checks(sums, line, model=model, args=["--collect-only"])

    assert result.ret != 0
    result.stdout.fnmatch_lines([f"demo.yaml:6:*{said}*"])


def test_a_golden_of_a_check_that_lacks_labels_is_refused_as_any_golden(sums):
    """Unless the suite says what to do about them."""
    sums.path.joinpath("demo.yaml").write_text(SUITE.split("  - {")[0] + CHECKS)
    result = sums.runpytest_inprocess("--rmcheck", "--rmcheck-model=trl:rewards:right,rewards:long")

    assert result.ret != 0
    result.stdout.fnmatch_lines(["*1 of 3 responses have no 'human_long'*"])


def test_no_reward_reads_the_golden_of_a_check(sums):
    """A function that asks for it is refused, as for the suite's own."""
    sums.makepyfile(peeking="def peek(completions, human_right, **_): return [0.0] * 3")
    result = checks(sums, CHECKS, model="trl:peeking:peek?reward_weights=1")

    result.stdout.fnmatch_lines(["*column 'human_right' is what rewards are judged by*"])


def test_components_that_say_the_same_are_warned_of(sums):
    """Those that correlate above .95 inside prompts."""
    sums.makepyfile(
        twice="def a(completions, **_): return [float(len(c[0]['content'])) for c in completions]\n"
        "def b(completions, **_): return [-2 * x for x in a(completions)]"
    )
    result = checks(sums, CHECKS.splitlines(True)[3], model="trl:twice:a,twice:b")

    result.stdout.fnmatch_lines(["*components 'a' and 'b' correlate -1.00: one says little more*"])


def test_a_test_asks_for_a_component_by_name(sums):
    """Of the candidate, and of the baseline that it is compared with; a wrong name is told."""
    sums.makepyfile(
        test_parts="""
        import pytest
        pytestmark = pytest.mark.rmcheck(suite="demo.yaml")

        def test_each(accuracy, rewards):
            assert accuracy.of("right").value == 1.0
            assert accuracy.at(ties="half").of("long").value == 0.25
            assert rewards.columns["component right"].max() == 1.0
            assert accuracy.of("right").drop().value == 0.0

        def test_none(accuracy):
            accuracy.of("rihgt")
        """
    )
    result = sums.runpytest_inprocess(
        "--rmcheck",
        "test_parts.py",
        "--rmcheck-model=trl:rewards:right,rewards:long",
        "--rmcheck-baseline=trl:rewards:right?reward_weights=2",
    )

    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*have no component rihgt; they have component right, component*"])
