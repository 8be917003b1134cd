"""Logs of RL runs as checks of a suite: no pool, no model, and a place in every report."""

import json
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from rmcheck.cli import main

CHECK = "  - {{name: {name}, training: {{log: {log}, transfer: {{at_least: 0.5}}}}}}\n"


def write_log(path, golden, size=60, noise=0.03, seed=0):
    """A run whose proxy climbs by .6, and whose golden follows the given course."""
    rng = np.random.default_rng(seed)
    t = np.linspace(0, 1, size)
    batch, first, second = 0.03 * rng.normal(size=(3, size))
    truth = golden(t) + batch + noise / 0.03 * second
    rows = zip(range(size), 0.2 + 0.6 * t + batch + first, truth, strict=True)
    lines = ["step,proxy_reward,true_reward", *(f"{s},{p},{g}" for s, p, g in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.fixture
def logs(pytester):
    """A folder with a log of a run that follows and one of a run that does not."""
    write_log(pytester.path / "follows.csv", lambda t: 0.2 + 0.6 * t)
    write_log(pytester.path / "stopped.csv", lambda t: 0.3 + 0 * t, seed=1)
    return pytester


def write_suite(folder, *checks, head="rmcheck: 1\nname: rl\n"):
    """A suite of these checks of logs: name and log."""
    text = head + "checks:\n" + "".join(CHECK.format(name=n, log=f"{log}.csv") for n, log in checks)
    folder.path.joinpath("rl.yaml").write_text(text, encoding="utf-8")


def test_a_suite_of_logs_needs_no_model(logs):
    """It passes without `--rmcheck-model`, scores nothing, and stands in the table."""
    write_suite(logs, ("run-42", "follows"))

    result = logs.runpytest("--rmcheck")

    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        [
            "rmcheck: no model; all checks are of logs of RL runs",
            "*rl::run-42*60*>= 0.5*pass*",
            "1 check: 1 pass.",
            "*1 file taken as a suite: rl.yaml*",
            "*Follows: proxy gained*",
        ]
    )
    assert not (logs.path / ".rmcheck").exists()


def test_a_log_may_be_in_the_home_folder(logs, monkeypatch, tmp_path):
    """`~/follows.csv` in a suite is what it is in a shell."""
    (logs.path / "follows.csv").rename(tmp_path / "follows.csv")
    monkeypatch.setenv("HOME", str(tmp_path))
    write_suite(logs, ("run-42", "~/follows"))

    logs.runpytest("--rmcheck").assert_outcomes(passed=1)


def test_a_run_that_golden_did_not_follow_fails(logs):
    """The failure says from which step, the transfer with its bounds, and how to repeat it."""
    write_suite(logs, ("run-42", "follows"), ("run-43", "stopped"))

    result = logs.runpytest("--rmcheck", "--rmcheck-report=out", "--junitxml=junit.xml")

    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        ["Stopped from step *golden per proxy*", "*required  0.500*", "*pytest rl.yaml::run-43*"]
    )
    report = json.loads((logs.path / "out" / "report.json").read_text())
    assert not report["passed"]
    passed, failed = report["checks"]
    assert (passed["verdict"], failed["verdict"]) == ("pass", "fail")
    assert failed["metric"] == "transfer"
    assert failed["facts"]["onset_lower"] <= failed["facts"]["onset"]
    cases = ET.parse(logs.path / "junit.xml").getroot().iter("testcase")
    values = [
        {p.get("name"): p.get("value") for p in case.iter("property")}["rmcheck.verdict"]
        for case in cases
    ]
    assert values == ["pass", "fail"]


def test_with_two_workers_the_verdicts_are_the_same(logs):
    """A suite of logs runs under pytest-xdist."""
    write_suite(logs, ("run-42", "follows"), ("run-43", "stopped"))

    result = logs.runpytest_subprocess("--rmcheck", "-n2")

    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["2 checks: 1 pass, 1 fail."])


@pytest.mark.parametrize(("tolerates", "failed"), [("fail", 1), ("warn", 0)])
def test_an_undecided_run_is_inconclusive(logs, tolerates, failed):
    """It keeps the gate closed, unless the suite lets what straddles the bound through."""
    write_log(logs.path / "noisy.csv", lambda t: 0.2 + 0.32 * t, noise=0.15)
    write_suite(logs, ("run", "noisy"), head=f"rmcheck: 1\nname: rl\ninconclusive: {tolerates}\n")

    result = logs.runpytest("--rmcheck")

    result.assert_outcomes(passed=1 - failed, failed=failed)
    result.stdout.fnmatch_lines(["*run*inconclusive*"])


def test_a_run_in_which_nothing_moves_is_never_let_through(logs):
    """`inconclusive: warn` is for an interval on both sides, not for a log that says nothing."""
    rng = np.random.default_rng(1)
    rows = [f"{s},{p},{g}" for s, (p, g) in enumerate(0.5 + 0.05 * rng.normal(size=(60, 2)))]
    (logs.path / "still.csv").write_text("step,proxy,golden\n" + "\n".join(rows) + "\n")
    write_suite(logs, ("run", "still"), head="rmcheck: 1\nname: rl\ninconclusive: warn\n")

    logs.runpytest("--rmcheck").assert_outcomes(failed=1)


def test_a_log_that_is_wrong_is_an_error(logs):
    """A missing file and a missing column are told, and nothing passes."""
    (logs.path / "bad.csv").write_text("step,proxy\n1,2\n")
    write_suite(logs, ("gone", "none"), ("bad", "bad"))

    result = logs.runpytest("--rmcheck")

    result.assert_outcomes(errors=2)
    result.stdout.fnmatch_lines(["*none.csv: cannot be read*", "*bad.csv: no column for golden*"])


def test_logs_stand_beside_other_checks(bench):
    """A suite may have both; then the model is needed, and scored once."""
    write_log(bench.path / "follows.csv", lambda t: 0.2 + 0.6 * t)
    text = bench.path.joinpath("demo.yaml").read_text().replace("checks:\n", "checks:\n" + CHECK)
    text = text.replace("{{", "{").replace("}}", "}").replace("{name}", "run-42")
    text = "\n".join(line for line in text.splitlines() if "max_drop" not in line)
    bench.path.joinpath("demo.yaml").write_text(text.replace("{log}", "follows.csv") + "\n")

    with_model = bench.runpytest("--rmcheck", "--rmcheck-model=fake:perfect")
    without = bench.runpytest("--rmcheck")

    with_model.stdout.fnmatch_lines(["*demo::run-42*pass*", "*demo::accuracy*pass*"])
    assert with_model.ret == 0
    assert without.ret == pytest.ExitCode.USAGE_ERROR
    without.stderr.fnmatch_lines(["ERROR: --rmcheck needs a reward model."])


def test_without_suites_the_model_is_missed(pytester):
    """A folder in which nothing is found does not count as one of logs."""
    result = pytester.runpytest("--rmcheck")

    assert result.ret == pytest.ExitCode.USAGE_ERROR


def test_validate_reads_the_logs(logs, capsys, monkeypatch):
    """`rmcheck validate` says how many points each log has, and what is wrong with one."""
    monkeypatch.chdir(logs.path)
    write_suite(logs, ("run-42", "follows"))
    assert main(["validate", "rl.yaml"]) == 0
    assert "run-42: 60 points of an RL run in" in capsys.readouterr().out

    write_suite(logs, ("run-42", "none"))
    assert main(["validate", "rl.yaml"]) == 2
    assert "none.csv: cannot be read" in capsys.readouterr().err


def test_commands_that_score_say_that_there_is_nothing(logs, capsys, monkeypatch):
    """`rmcheck score` on a suite of logs is told so, without a traceback."""
    monkeypatch.chdir(logs.path)
    write_suite(logs, ("run-42", "follows"))

    assert main(["score", "rl.yaml", "--model=fake:perfect"]) == 2
    assert "all checks are of logs of RL runs" in capsys.readouterr().err
