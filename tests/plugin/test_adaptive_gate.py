"""`adaptive: true`: the same verdicts from a part of the pool."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import pool_lines, runs
from rmcheck.checks.measurement import Measurement
from rmcheck.checks.verdict import Criterion, decide
from rmcheck.pool.pool import Message, Pool, Prompt
from rmcheck.run.decide import plan_looks
from rmcheck.run.loaded import LoadedSuite
from rmcheck.stats.bootstrap import BCa, SortedDraws
from rmcheck.stats.estimate import Estimate
from rmcheck.suite.loader import parse_suite

PROMPTS, RESPONSES = 400, 6
SUITE = """\
rmcheck: 1
name: demo
adaptive: true
resamples: 4000
pool: {path: pool.jsonl, slices: [category]}
checks:
  - {name: accuracy, metric: accuracy, at_least: 0.60}
  - {name: best-of-6, metric: bon_drop_ratio, n: 6, at_most: 0.05}
  - {name: no-regression, metric: accuracy, max_drop: 0.01}
"""
CLEAR = {"accuracy": "pass", "best-of-6": "fail", "no-regression": "fail"}
# A check that the length-biased model meets so narrowly that no look decides.
NARROW = "  - {name: narrow, metric: accuracy, at_least: 0.745}\n"
# Scores worth keeping, as a checkpoint's are; each call leaves a line.
RULES = """\
from pathlib import Path

def length(prompts, responses):
    with Path("calls.txt").open("a") as log:
        log.write(f"{len(responses)}\\n")
    return [float(len(r)) for r in responses]

def spaces(prompts, responses):
    return [float(r.count(" ")) for r in responses]

def threes(prompts, responses):
    return [float(-r.count("3")) for r in responses]
"""


@pytest.fixture
def large(pytester):
    """A folder with `pool.jsonl` of 400 prompts and an adaptive `demo.yaml`."""
    lines = pool_lines(prompts=PROMPTS, responses=RESPONSES)
    pytester.path.joinpath("pool.jsonl").write_text("\n".join(lines) + "\n")
    pytester.path.joinpath("demo.yaml").write_text(SUITE)
    return pytester


def report_of(large, *how, model="fake:length_biased", options=()):
    """The report of a gate, and what was printed."""
    result = runs(large, *how)("--rmcheck-report=out", *options, model=model)
    report = json.loads((large.path / "out" / "report.json").read_text())
    assert not report["errors"]  # else it lacks checks or suites, and says why
    return report, result


def verdicts(report):
    """Name of each check to its verdict."""
    return {check["name"]: check["verdict"] for check in report["checks"]}


def rewrite(large, *changes):
    """Change the suite."""
    file = large.path / "demo.yaml"
    text = file.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    file.write_text(text)


WHOLE = ("adaptive: true\n", "")


def test_clear_checks_are_decided_on_a_part_of_the_pool(large):
    """The verdicts of the full run; the report and the terminal say what was spared."""
    report, result = report_of(large)
    spared = report["suites"][0]["adaptive"]
    rewrite(large, WHOLE)
    full, _ = report_of(large)

    assert verdicts(report) == verdicts(full) == CLEAR
    assert spared["prompts"] < PROMPTS / 2
    assert spared["responses"] == RESPONSES * spared["prompts"]
    assert (spared["of_prompts"], spared["of_responses"]) == (PROMPTS, RESPONSES * PROMPTS)
    assert sum(look["decided"] for look in spared["looks"]) == len(CLEAR)
    assert report["suites"][0]["models"][0]["scoring"]["scored"] == spared["responses"]
    result.stdout.fnmatch_lines(
        [
            f"*demo: adaptive: {spared['prompts']} of 400 prompts scored (*%), "
            f"{spared['responses']:,} of 2,400 responses; look {len(spared['looks'])} of 5, with "
            "bounds at 99.* that hold 95% over all looks"
        ]
    )


def test_each_check_is_reported_on_the_prompts_that_decided_it(large):
    """Its n is that of its look, which its signature names; bounds exclude the requirement."""
    report, _ = report_of(large)
    looks = [look["prompts"] for look in report["suites"][0]["adaptive"]["looks"]]

    for check in report["checks"]:
        assert check["n"] in looks
        assert f"|looks:5|prompts:{check['n']}|" in check["signature"]
        assert not check["lower"] <= check["bound"] <= check["upper"]
        assert check["confidence"] == 0.95


def test_without_the_key_nothing_is_said_of_looks(large):
    """Neither in the report nor on the terminal nor in a signature."""
    rewrite(large, WHOLE)
    report, result = report_of(large)

    assert "adaptive" not in report["suites"][0]
    assert "adaptive" not in result.stdout.str()
    assert not any("looks" in check["signature"] for check in report["checks"])


def test_an_open_check_takes_the_whole_pool_and_bounds_a_little_wider(large):
    """The value of the full run; inconclusive at the last look is inconclusive."""
    rewrite(large, ("checks:\n", "checks:\n" + NARROW))
    report, _ = report_of(large)
    rewrite(large, WHOLE)
    full, _ = report_of(large)
    one, other = report["checks"][0], full["checks"][0]

    assert verdicts(report) == verdicts(full) == {"narrow": "inconclusive", **CLEAR}
    assert report["suites"][0]["adaptive"]["prompts"] == PROMPTS
    assert (one["value"], one["n"]) == (other["value"], other["n"])
    assert 1.0 < (one["upper"] - one["lower"]) / (other["upper"] - other["lower"]) < 1.15


def test_what_is_decided_early_stays_decided(large):
    """A check that stays open does not move one that has passed."""
    alone, _ = report_of(large)
    rewrite(large, ("checks:\n", "checks:\n" + NARROW))
    together, _ = report_of(large)
    passed = [
        next(check for check in report["checks"] if check["name"] == "accuracy")
        for report in (alone, together)
    ]

    assert together["suites"][0]["adaptive"]["prompts"] == PROMPTS
    assert passed[0]["n"] == passed[1]["n"] < PROMPTS
    assert passed[0]["lower"] == passed[1]["lower"]


def test_workers_decide_the_same(large):
    """Plain and under xdist, numbers and looks alike; no text is scored twice."""
    alone, _ = report_of(large, "-p", "no:cacheprovider")
    apart, _ = report_of(large, "-n", "2")

    assert alone["checks"] == apart["checks"]
    assert alone["suites"][0]["adaptive"] == apart["suites"][0]["adaptive"]
    for first, second in zip(
        alone["suites"][0]["models"], apart["suites"][0]["models"], strict=True
    ):
        assert first["scoring"]["scored"] == second["scoring"]["scored"]


def test_a_later_full_run_scores_only_the_rest(large):
    """The store keeps what was scored."""
    large.path.joinpath("adaptive_rules.py").write_text(RULES)
    model = "python:adaptive_rules:length?version=1"
    report, _ = report_of(large, model=model)
    spared = report["suites"][0]["adaptive"]
    calls = large.path / "calls.txt"
    calls.write_text("")
    rewrite(large, WHOLE)
    report_of(large, model=model)

    scored = sum(map(int, calls.read_text().split()))
    rest = spared["of_responses"] - spared["responses"]
    assert rest <= scored <= rest + 32  # a model proves itself on a few texts first


def test_golden_models_baselines_and_members_are_scored_on_the_same_prompts(large):
    """Each of four models on what was looked at, and on nothing else."""
    large.path.joinpath("adaptive_rules.py").write_text(RULES)
    large.path.joinpath("two.yaml").write_text(
        "members:\n  - python:adaptive_rules:length?version=1\n"
        "  - python:adaptive_rules:threes?version=1\n"
    )
    golden = 'golden: {model: "python:adaptive_rules:spaces?version=1"}\nchecks:\n'
    rewrite(large, ("checks:\n", golden), ("at_most: 0.05", "at_most: 0.5"))
    report, _ = report_of(
        large, options=["--rmcheck-trust-suites"], model="ensemble:two.yaml?scale=prompt"
    )
    suite = report["suites"][0]
    scored = [m["scoring"]["requested"] for m in suite["models"] if m["scoring"]]

    assert suite["adaptive"]["prompts"] < PROMPTS
    assert scored == [suite["adaptive"]["responses"]] * 4


def test_a_verdict_does_not_depend_on_what_the_store_knows(large):
    """With every score at hand the same prompts decide."""
    large.path.joinpath("adaptive_rules.py").write_text(RULES)
    model = "python:adaptive_rules:length?version=1"
    first, _ = report_of(large, model=model)
    rewrite(large, WHOLE)
    report_of(large, model=model)
    large.path.joinpath("demo.yaml").write_text(SUITE)
    again, _ = report_of(large, model=model)

    assert again["checks"] == first["checks"]
    assert again["suites"][0]["adaptive"] == first["suites"][0]["adaptive"]


def test_a_small_pool_is_looked_at_once(bench):
    """Of 90 prompts in clusters of three only the last look has 30: the full run's numbers."""
    rows = [json.loads(line) for line in pool_lines()]
    for i, row in enumerate(rows):
        row["source"] = f"s{i // 3}"
    bench.path.joinpath("pool.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    suite = bench.path / "demo.yaml"
    suite.write_text(
        suite.read_text().replace("{path: pool.jsonl", "{cluster: source, path: pool.jsonl")
    )
    full, _ = report_of(bench)
    suite.write_text(suite.read_text() + "adaptive: true\n")
    report, result = report_of(bench)

    assert report["checks"] == full["checks"]
    result.stdout.fnmatch_lines(["*90 of 90 prompts scored (100%)*too few prompts for more*"])


def test_a_slice_with_few_prompts_keeps_the_suite_open(large):
    """The worst of the slices is decided only when each of them has `min_prompts`."""
    rows = [json.loads(line) for line in pool_lines(prompts=PROMPTS, responses=RESPONSES)]
    for i, row in enumerate(rows):
        row["category"] = "rare" if i < 40 else "common"
    large.path.joinpath("pool.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    worst = (
        "checks:\n  - {name: worst, metric: accuracy, over: category, worst: true, at_least: 0.5}\n"
    )
    rewrite(large, ("checks:\n", worst))
    report, _ = report_of(large)
    spared = report["suites"][0]["adaptive"]

    assert verdicts(report)["worst"] == "pass"
    assert spared["prompts"] >= 0.7 * PROMPTS
    assert spared["looks"][-1]["decided"] == 1


def test_a_model_that_fails_is_an_error_of_every_check(large):
    """After the first look there is no second."""
    result = runs(large)(model="fake:nan")

    result.assert_outcomes(errors=len(CLEAR))
    result.stdout.fnmatch_lines(["*response * is nan*"])


def test_tests_that_ask_for_rewards_get_the_whole_pool(large):
    """Their bounds are those of one look, so what they see must not be chosen by looking."""
    large.makepyfile(
        test_whole_pool_fixture="""
        import pytest

        @pytest.mark.rmcheck(suite="demo.yaml")
        def test_all(rewards, accuracy):
            assert len(rewards) == accuracy.n == 400
        """
    )
    result = runs(large)("test_whole_pool_fixture.py", "demo.yaml", model="fake:length_biased")

    result.assert_outcomes(passed=2, failed=2)


def test_several_suites_are_decided_together(large):
    """Each stops by itself, whole suites beside them are scored as ever."""
    text = large.path.joinpath("demo.yaml").read_text()
    large.path.joinpath("open.yaml").write_text(
        text.replace("name: demo", "name: open").replace("checks:\n", "checks:\n" + NARROW)
    )
    large.path.joinpath("whole.yaml").write_text(
        text.replace("name: demo", "name: whole").replace(*WHOLE)
    )
    report, _ = report_of(large)
    shares = {s["name"]: s.get("adaptive", {}).get("prompts") for s in report["suites"]}

    assert len(report["checks"]) == 3 * len(CLEAR) + 1
    assert shares["demo"] < PROMPTS / 2
    assert (shares["open"], shares["whole"]) == (PROMPTS, None)


# -- verdicts -----------------------------------------------------------------------------


def test_holm_counts_checks_that_cannot_be_decided_yet():
    """A check that is too small now may fail later, so it costs the others their share now."""
    draws = np.random.default_rng(0).normal(0.5, 0.1, 10_000)
    distribution = BCa(SortedDraws(np.sort(draws)), 0.0, 0.0, 500)
    measurement = Measurement(Estimate(0.5, 0.34, 0.66, 500), distribution)
    required = Criterion("at_least", 0.7)

    (alone,) = decide([required], [measurement])
    (among_three,) = decide([required], [measurement], checks=3)

    assert alone.outcome == "fail"
    assert among_three.p_holm == pytest.approx(3 * alone.p_holm)
    assert among_three.outcome == "inconclusive"


# -- looks --------------------------------------------------------------------------------


def suite_of(clusters, *, min_prompts=2):
    """A suite of prompts that belong to these clusters."""
    text = (
        f"rmcheck: 1\nadaptive: true\nmin_prompts: {min_prompts}\npool: {{path: p.jsonl}}\n"
        "checks: [{name: a, metric: accuracy, at_least: 0.5}]\n"
    )
    prompts = tuple(
        Prompt(f"p{i}", (Message("user", f"{i}"),), ("a", "b"), {"golden": (0.0, 1.0)}, cluster=c)
        for i, c in enumerate(clusters)
    )
    return LoadedSuite(parse_suite(text, Path("s.yaml")), Pool(Path("p.jsonl"), "native", prompts))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 40), min_size=2, max_size=120), st.integers(0, 2**32))
def test_looks_take_whole_clusters_each_once_and_in_the_end_all(clusters, seed):
    """Every prompt is new at one look; parts grow, keep file order, and share no cluster."""
    loaded = suite_of([f"c{c}" for c in clusters])
    looks = plan_looks(loaded, seed)
    seen: list[str] = []
    for look in looks:
        new = [p.prompt_id for p in look.new.pool.prompts]
        before = {p.cluster for p in loaded.pool.prompts if p.prompt_id in seen}
        part = [p.prompt_id for p in look.part.pool.prompts]

        assert not before & {p.cluster for p in look.new.pool.prompts}
        seen += new
        assert part == [p.prompt_id for p in loaded.pool.prompts if p.prompt_id in set(seen)]
        share = look.looks.shares[look.number]
        assert share == pytest.approx(look.part.units / loaded.units)

    assert len(seen) == len(clusters)
    assert looks[-1].part is loaded
    assert looks[-1].is_last


def test_the_order_is_the_seed_s_and_no_other():
    """The same suite is looked at in the same order every time; another seed gives another one."""
    loaded = suite_of([f"c{i}" for i in range(200)])

    def first(seed):
        return [p.prompt_id for p in plan_looks(loaded, seed)[0].new.pool.prompts]

    assert first(None) == first(None)
    assert first(1) == first(1) != first(2)


def test_looks_too_small_to_decide_are_left_out():
    """Of 100 prompts only 40, 70 and 100 are at least 30."""
    looks = plan_looks(suite_of([f"c{i}" for i in range(100)], min_prompts=30))

    assert looks[0].looks.shares == (0.4, 0.7, 1.0)
