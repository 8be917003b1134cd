"""Checks are chosen and run again like any test, and no verdict depends on it."""

import json
import re

import pytest


@pytest.mark.parametrize(
    ("arguments", "passed"),
    [
        (("-m", "accuracy"), 5),
        (("-m", "bon_drop_ratio"), 1),
        (("-k", "by-category"), 2),
        (("demo.yaml::best-of-8",), 1),
        (("demo.yaml::by-category[category=code]",), 1),
    ],
)
def test_checks_are_chosen_like_any_test(gate, arguments, passed):
    """By marker of the metric, by keyword and by node id."""
    gate(*arguments).assert_outcomes(passed=passed)


def test_a_verdict_does_not_depend_on_which_checks_are_chosen(bench):
    """Holm is over the suite, so `-k` cannot turn an inconclusive check into a failed one."""

    def p_holm(*arguments):
        bench.runpytest_subprocess(
            "--rmcheck",
            "--rmcheck-model=fake:length_biased",
            "--rmcheck-baseline=fake:perfect",
            "--rmcheck-report=out",
            *arguments,
        )
        report = json.loads((bench.path / "out" / "report.json").read_text())
        return {c["name"]: c["p_holm"] for c in report["checks"]}["best-of-8"]

    assert p_holm("-k", "best") == p_holm()


@pytest.mark.parametrize("how", [(), ("-n", "2")], ids=["plain", "xdist"])
def test_last_failed_runs_only_what_failed_slices_included(bench, how):
    """`--lf` runs all failed checks again, those on a slice too, and nothing else."""
    arguments = ("--rmcheck", "--rmcheck-model=fake:length_biased", *how)
    make_slices_fail(bench)
    first = bench.runpytest_subprocess(*arguments)

    again = bench.runpytest_subprocess(*arguments, "--lf")

    first.assert_outcomes(failed=3, passed=1)
    again.assert_outcomes(failed=3)


def test_a_repaired_check_leaves_the_failed_slices_to_the_next_last_failed_run(bench):
    """`--lf` stays red until what failed has passed."""
    arguments = ("--rmcheck", "--rmcheck-model=fake:length_biased")
    make_slices_fail(bench)
    bench.runpytest_subprocess(*arguments)
    suite = bench.path / "demo.yaml"
    suite.write_text(suite.read_text().replace("best, metric: accuracy, at_least: 0.99", GOOD))

    again = bench.runpytest_subprocess(*arguments, "--lf")

    again.assert_outcomes(failed=2, passed=1)
    assert again.ret == 1


def test_failed_first_begins_with_the_failed_slices(bench):
    """`--ff` runs what failed before all else, checks on a slice too."""
    arguments = ("--rmcheck", "--rmcheck-model=fake:length_biased", "-v")
    make_slices_fail(bench)
    bench.runpytest_subprocess(*arguments)

    lines = bench.runpytest_subprocess(*arguments, "--ff").stdout.lines
    order = [line.split()[1] for line in lines if re.match("demo.yaml::.*%]", line)]

    assert order == ["FAILED", "FAILED", "FAILED", "PASSED"]


GOOD = "best, metric: accuracy, at_least: 0.5"


def make_slices_fail(bench):
    """A suite of a passing check, a failing one, and two failing slices."""
    (bench.path / "demo.yaml").write_text(
        "rmcheck: 1\nresamples: 1000\npool: {path: pool.jsonl}\nchecks:\n"
        "  - {name: good, metric: accuracy, at_least: 0.5}\n"
        "  - {name: best, metric: accuracy, at_least: 0.99}\n"
        "  - {name: by-category, metric: accuracy, over: category, at_least: 0.99}\n"
    )
