"""Serving parity as checks of a suite: `rank_flips` and `score_drift` through the gate."""

import json

import pytest

from rmcheck.cli import main

RULES = """
import zlib

def noise(text):
    return zlib.crc32(text.encode()) / 2**32

def gated(prompts, responses):
    return [4 * noise(r) - 2 for r in responses]

def rounded(prompts, responses):
    return [x + 1e-5 for x in gated(prompts, responses)]

def half(prompts, responses):
    return [x + 0.1 * (noise("n" + r) - 0.5) for x, r in zip(gated(prompts, responses), responses)]

def broken(prompts, responses):
    raise RuntimeError("the server is gone")
"""
SUITE = """\
rmcheck: 1
name: demo
resamples: 1000
directionless: true
pool: {path: pool.jsonl, slices: [category]}
serving: {model: "python:serving_rules:rounded?version=1"}
checks:
  - {name: flips, metric: rank_flips, at_most: 0.0}
  - {name: drift, metric: score_drift, at_most: 0.001}
  - {name: by-category, metric: score_drift, over: category, at_most: 0.001}
  - {name: worst-category, metric: rank_flips, over: category, worst: true, at_most: 0.0}
"""
GATED = "python:serving_rules:gated?version=1"
HALF = "--rmcheck-serving=python:serving_rules:half?version=1"


@pytest.fixture
def engines(bench):
    """The suite, and the engines beside it."""
    bench.makepyfile(serving_rules=RULES)
    bench.makeini("[pytest]\naddopts = --rmcheck-trust-suites\n")
    bench.syspathinsert()
    (bench.path / "demo.yaml").write_text(SUITE)
    return bench


def changed(engines, old, new):
    """The suite with another text in it."""
    assert old in SUITE
    (engines.path / "demo.yaml").write_text(SUITE.replace(old, new))


def test_an_engine_that_rounds_passes(gate, engines):
    """Every check is decided on its exact number, and the table has no interval for it."""
    result = gate("--rmcheck-report=out", model=GATED, baseline=None)
    report = json.loads((engines.path / "out" / "report.json").read_text())

    assert result.ret == 0
    assert result.parseoutcomes() == {"passed": 5}
    result.stdout.re_match_lines([r"demo::drift +90 +1e-05 +exact +<= 0.001 +pass"])
    assert [m["role"] for m in report["suites"][0]["models"]] == ["candidate", "serving"]
    assert all("|serving:" in check["signature"] for check in report["checks"])


def test_the_command_line_wins_and_a_failure_shows_the_worst_texts(gate, engines):
    """The engine of the option is compared; what differs most is shown, as the command shows it."""
    result = gate(HALF, model=GATED, baseline=None)
    output = result.stdout.str()

    assert result.ret == 1
    assert result.parseoutcomes() == {"failed": 5}
    assert "texts that differ most" in output
    assert "exact on these rows" in output
    result.stdout.re_match_lines([r"rmcheck: candidate serving_rules:gated.*serving_rules:half.*"])
    result.stdout.re_match_lines([r"    [+-]0\.0\d+.*→.*p\d+ response \d: 'word"])
    assert "worst pick" not in output
    assert "--rmcheck-serving=" in output.split("demo.yaml::flips", 1)[1]


def test_a_failure_names_the_engine_of_the_suite(gate, engines):
    """The report of a failed check says with which engine the candidate was compared."""
    changed(engines, "rounded", "half")

    output = gate(model=GATED, baseline=None).stdout.str()

    assert "    candidate  serving_rules:gated\n    serving    serving_rules:half\n" in output


def test_engines_of_one_name_are_told_apart_by_their_settings(gate, engines):
    """One checkpoint with two settings has one name; then both are shown as they were given."""
    other = GATED.replace("version=1", "version=2")

    result = gate(f"--rmcheck-serving={other}", model=GATED, baseline=None)

    result.stdout.fnmatch_lines([f"rmcheck: candidate {GATED} (*), serving {other} (*)"])


def test_each_engine_is_scored_once_for_all_suites(gate, engines):
    """A second suite with the same engine finds its scores; a second run scores nothing."""
    (engines.path / "other.yaml").write_text(SUITE.replace("demo", "other"))

    gate("--rmcheck-report=out", model=GATED, baseline=None)
    first = json.loads((engines.path / "out" / "report.json").read_text())
    gate("--rmcheck-report=out", model=GATED, baseline=None)
    second = json.loads((engines.path / "out" / "report.json").read_text())

    scored = [
        {m["role"]: m["scoring"]["scored"] for m in report["suites"][0]["models"]}
        for report in (first, second)
    ]
    assert scored == [{"candidate": 900, "serving": 900}, {"candidate": 0, "serving": 0}]


def test_a_suite_that_does_not_ask_is_not_sent(gate, engines):
    """An engine is asked only for suites that compare with it, whatever the command line says."""
    text = SUITE.replace('serving: {model: "python:serving_rules:rounded?version=1"}\n', "")
    head = text.partition("checks:")[0]
    check = "checks:\n  - {name: accuracy, metric: accuracy, at_least: 0.001}\n"
    (engines.path / "demo.yaml").write_text(head + check)

    result = gate("--rmcheck-serving=python:serving_rules:broken", model=GATED, baseline=None)

    assert result.ret == 0


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            'serving: {model: "python:serving_rules:rounded?version=1"}\n',
            "",
            "*demo.yaml: flips, drift, by-category, worst-category compare with a serving engine,*",
        ),
        (
            "serving_rules:rounded",
            "serving_rules:gated",
            "*demo.yaml:6:*are one model*parity compares two engines*",
        ),
        ("serving_rules:rounded", "nowhere:rounded", "*demo.yaml:6:*there is no module 'nowhere'*"),
        ("{model:", "{modle:", "*unknown key 'modle' in serving. Did you mean 'model'?*"),
        ("resamples: 1000", "adaptive: true", "*rank_flips is about every row*suite of its own*"),
        (
            "rank_flips, at_most: 0.0}",
            "rank_flips, max_drop: 0.0}",
            "*rank_flips compares two engines of one checkpoint*write at_most*",
        ),
    ],
)
def test_what_cannot_be_compared_is_told_at_collection(gate, engines, old, new, said):
    """No engine, the same model twice, an unknown one, not all rows, another checkpoint."""
    changed(engines, old, new)

    result = gate(model=GATED)

    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines([said])
    assert not (engines.path / ".rmcheck").exists()


def test_the_same_model_twice_on_the_command_line_is_a_usage_error(gate, engines):
    """As in `rmcheck parity`: equal fingerprints, exit code 4."""
    result = gate(f"--rmcheck-serving={GATED}", model=GATED, baseline=None)

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*are one model (fingerprint *); parity compares two engines"])


def test_an_engine_that_fails_is_an_error_of_the_checks(gate, engines):
    """Its own words are shown; nothing is decided."""
    result = gate("--rmcheck-serving=python:serving_rules:broken", model=GATED, baseline=None)

    assert result.ret == 1
    assert result.parseoutcomes() == {"errors": 5}
    assert "the server is gone" in result.stdout.str()


def test_a_test_file_asks_for_the_numbers(gate, engines):
    """The fixtures `rank_flips` and `score_drift` are the metrics of the suite."""
    engines.makepyfile(
        """
        import pytest

        @pytest.mark.rmcheck(suite="demo.yaml")
        def test_served_as_gated(rank_flips, score_drift):
            assert rank_flips.at(tolerance=0.0).upper == 0
            assert 0 < score_drift.where(category="code").upper < 1e-4
        """
    )

    result = gate("-k", "served_as_gated", model=GATED, baseline=None)

    result.assert_outcomes(passed=1, deselected=5)


def test_the_report_enters_a_history_and_power_says_what_is_exact(
    gate, engines, monkeypatch, capsys
):
    """An exact number is kept like any other, and no number of prompts is computed for it."""
    gate("--rmcheck-report=out", model=GATED, baseline=None)
    monkeypatch.chdir(engines.path)
    capsys.readouterr()

    added = main(["history", "add", "out/report.json", "--to=history"])
    shown = main(["history", "show", "history", next((engines.path / "history").iterdir()).stem])
    history = capsys.readouterr().out
    powered = main(["power", "demo.yaml", f"--model={GATED}"])
    power = capsys.readouterr().out

    assert (added, shown) == (0, 0)
    assert "drift" in history
    assert powered == 2
    assert power.count("is a statement about the rows of its pool") == 5


def test_only_checks_that_compare_engines_have_the_engine_in_their_signature(gate, engines):
    """So that a history of the others goes on when a serving engine is named."""
    text = SUITE + "  - {name: accuracy, metric: accuracy, at_least: 0.001}\n"
    (engines.path / "demo.yaml").write_text(text)

    gate("--rmcheck-report=out", model=GATED, baseline=None)
    report = json.loads((engines.path / "out" / "report.json").read_text())

    told = {check["name"]: "|serving:" in check["signature"] for check in report["checks"]}
    assert told == {check: check != "accuracy" for check in told}
    assert "accuracy" in told


def test_an_adaptive_suite_may_name_an_engine_that_no_check_needs(gate, engines):
    """Its other checks are decided in looks; the engine is there for test files."""
    head = SUITE.partition("checks:")[0].replace("resamples: 1000", "adaptive: true")
    check = "checks:\n  - {name: accuracy, metric: accuracy, at_least: 0.001}\n"
    (engines.path / "demo.yaml").write_text(head + check)

    assert gate(model=GATED, baseline=None).ret == 0
