"""Runs that are told to stop, that wait for another run, or whose model dies on the way."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from rmcheck.cli import main
from rmcheck.models.registry import open_model
from rmcheck.store import lock as locks
from rmcheck.store.lock import Waiting, held_lock
from rmcheck.store.scores import ScoreStore

SUITE = """\
rmcheck: 1
name: demo
resamples: 200
pool: {path: pool.jsonl}
checks:
  - {name: accuracy, metric: accuracy, at_least: 0.001}
  - {name: spearman, metric: spearman, at_least: -0.99}
"""
RULES = """
import time
from pathlib import Path

def slow(prompts, responses):
    time.sleep(0.3)
    return [float(len(r)) for r in responses]

def ends(prompts, responses):
    if min(map(len, responses)) < 90 and Path("broken").exists():
        raise RuntimeError("the engine is gone")
    return [float(len(r)) for r in responses]

def nan(prompts, responses):
    return [float("nan") if len(r) < 90 else float(len(r)) for r in responses]

def memory(prompts, responses):
    if min(map(len, responses)) < 90:
        raise MemoryError("no room")
    return [float(len(r)) for r in responses]
"""
COMMANDS = {
    "command": [
        "-c",
        "import sys; from rmcheck.cli import main; sys.exit(main())",
        "score",
        "demo.yaml",
        "--model=python:rules:slow?version=1",
    ],
    "gate": [
        "-m",
        "pytest",
        "--rmcheck",
        "--rmcheck-model=python:rules:slow?version=1",
        "--rmcheck-report=out",
        "-q",
    ],
}


@pytest.fixture
def world(bench):
    """A pool that is scored in many batches."""
    rows = [
        {
            "prompt_id": f"p{i}",
            "prompt": f"What is {i}?",
            "responses": [f"{i} {j} " + "word " * (8 * i + j) for j in range(4)],
            "golden": [0.0, 1.0, 2.0, 3.0],
        }
        for i in range(1, 60)
    ]
    (bench.path / "pool.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (bench.path / "demo.yaml").write_text(SUITE)
    bench.makepyfile(rules=RULES)
    bench.syspathinsert()
    return bench


def parts(bench):
    """Parquet parts of the store."""
    return list((bench.path / ".rmcheck").rglob("part-*.parquet"))


def open_scores(bench, spec):
    """The stored scores of a model."""
    return ScoreStore(bench.path / ".rmcheck").open(open_model(spec).fingerprint)


@pytest.mark.parametrize(
    ("kind", "number", "code", "said"),
    [
        ("command", signal.SIGINT, 130, "rmcheck: interrupted; what was scored is kept"),
        ("command", signal.SIGTERM, 143, "rmcheck: stopped by SIGTERM; what was scored is kept"),
        ("gate", signal.SIGTERM, 143, "stopped by SIGTERM; what was scored is kept"),
    ],
)
def test_a_run_that_is_told_to_stop_keeps_what_is_scored(world, kind, number, code, said):
    """One line instead of a traceback, the exit code of the signal, and a report that never says
    passed; the next run scores the rest.
    """  # noqa: D205
    process = subprocess.Popen(
        [sys.executable, *COMMANDS[kind]],
        cwd=world.path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # What a shell starts in the background ignores Ctrl-C, and so would its children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    while not parts(world) and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(number)
    output, _ = process.communicate()
    kept = len(open_scores(world, "python:rules:slow?version=1"))

    assert process.returncode == code
    assert said in output
    assert "Traceback" not in output
    assert 0 < kept < 236
    if kind == "gate":
        assert json.loads((world.path / "out" / "report.json").read_text())["passed"] is False


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 2), (signal.SIGTERM, 143)])
def test_workers_stop_with_their_run(world, number, code):
    """A signal to the controller alone ends scoring in the workers, and no process is left."""
    process = subprocess.Popen(
        [sys.executable, *COMMANDS["gate"], "-n", "2"],
        cwd=world.path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    while not parts(world) and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(number)
    # The workers hold the pipe too: it is read to its end when the last of them is gone.
    output, _ = process.communicate()
    kept = len(open_scores(world, "python:rules:slow?version=1"))

    assert process.returncode == code
    assert 0 < kept < 236
    assert "Traceback" not in output
    assert json.loads((world.path / "out" / "report.json").read_text())["passed"] is False


def test_an_engine_that_dies_on_the_way_leaves_its_scores(world, gate):
    """The error says how many scores are kept; the next run scores the rest and decides."""
    (world.path / "broken").touch()
    model = "python:rules:ends?version=1"

    dead = gate(model=model, baseline=None)
    (world.path / "broken").unlink()
    alive = gate("--rmcheck-report=out", model=model, baseline=None)
    report = json.loads((world.path / "out" / "report.json").read_text())
    scoring = report["suites"][0]["models"][0]["scoring"]

    assert dead.parseoutcomes() == {"errors": 2}
    dead.stdout.fnmatch_lines(["*the engine is gone*"])
    dead.stdout.fnmatch_lines(
        [f"{scoring['from_store']} of 236 scores are kept; a further run scores only the rest."]
    )
    assert alive.ret == 0
    assert scoring["from_store"] > 100
    assert scoring["scored"] == 236 - scoring["from_store"]


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ("nan", "*is nan; * rewards in this batch are not finite*"),
        ("memory", "*even alone*no room*"),
    ],
)
def test_a_fault_of_one_text_is_told_with_what_is_kept(world, gate, rule, said):
    """NaN, and a text that fits in no memory: the text is named, the scores before it counted."""
    result = gate(model=f"python:rules:{rule}?version=1", baseline=None)

    assert result.parseoutcomes() == {"errors": 2}
    result.stdout.fnmatch_lines([said, "* of 236 scores are kept; a further run scores only the*"])
    assert "Traceback" not in result.stdout.str()


@pytest.fixture
def held(world, monkeypatch):
    """Another run holds the lock of the model; words come soon."""
    monkeypatch.setattr(locks, "FIRST_WORDS", 0.1)
    folder = open_scores(world, "python:rules:slow?version=1").folder
    folder.mkdir(parents=True)
    with held_lock(folder, Waiting(run="their run")):
        yield


def test_waiting_for_another_run_is_told_and_limited(world, gate, held):
    """The terminal says who is waited for; after the limit it is an error of the checks."""
    result = gate("--rmcheck-lock-timeout=0.4", model="python:rules:slow?version=1", baseline=None)

    assert result.parseoutcomes() == {"errors": 2}
    result.stdout.re_match_lines([rf"rmcheck: another process \(process {os.getpid()} on .*"])
    result.stdout.fnmatch_lines(["*lock timeout of 0.4 s has passed*"])


def test_workers_tell_once_that_another_run_is_waited_for(world):
    """Two workers wait, and the terminal has one line of it, on standard error."""
    scores = open_scores(world, "python:rules:slow?version=1")
    scores.folder.mkdir(parents=True)
    options = ("--rmcheck", "--rmcheck-model=python:rules:slow?version=1", "-n", "2")

    with held_lock(scores.folder, Waiting(run="their run")):
        result = world.runpytest_subprocess(*options, "--rmcheck-lock-timeout=4")

    assert result.parseoutcomes() == {"errors": 2}
    assert result.stderr.str().count(f"rmcheck: another process (process {os.getpid()} on ") == 1


def test_commands_have_the_limit_too(world, held, monkeypatch, capsys):
    """`--lock-timeout`, exit code 2."""
    monkeypatch.chdir(world.path)

    status = main(
        ["score", "demo.yaml", "--model=python:rules:slow?version=1", "--lock-timeout=0.3"]
    )
    shown = capsys.readouterr().err

    assert status == 2
    assert "rmcheck: another process (process" in shown
    assert "lock timeout of 0.3 s has passed" in shown


@pytest.mark.parametrize("given", ["soon", "-1"])
def test_a_limit_that_is_no_time_is_a_usage_error(world, gate, given):
    """Exit code 4, before anything is scored."""
    result = gate(f"--rmcheck-lock-timeout={given}", baseline=None)

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*valid: seconds, 0 or more*"])
