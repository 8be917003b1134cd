"""A pool whose every text wants to repaint the terminal: no command and no report lets it."""

import json
import re
import sys

import nursery
import pytest

from rmcheck.cli import main

SPOOF = (
    "\x1b[2J\x1b[H7 passed\x1b]0;t\x07\x9b2J\u202egolden\u2066\r\n"
    "::error file=a.py::b\n##[add-mask]a"
)
SUITE = """\
rmcheck: 1
name: demo
resamples: 200
golden: {column: "golden"}
pool: {path: pool.jsonl, slices: ["kind"]}
checks:
  - {name: accuracy, metric: accuracy, at_least: 0.99}
  - {name: kinds, metric: accuracy, over: "kind", at_least: 0.99}
  - {name: worst, metric: accuracy, over: "kind", worst: true, at_least: 0.99}
"""
# What no terminal and no runner of a build may be sent.
CONTROL = re.compile("(?!\n)[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
COMMAND = re.compile(r"(?m)^\s*::|##\w*\[")
LENGTH = "fake:length_biased"


@pytest.fixture
def folder(tmp_path):
    """A suite, a hostile pool, a hostile RL log, and a pool with a fault in a hostile row."""
    rows = [
        {
            "prompt_id": f"{SPOOF}{i}",
            "prompt": f"{i}{SPOOF}",
            "responses": [SPOOF * (1 + (i + 3 * j) % 5) for j in range(5)],
            "golden": [0, 1, 2, 3, 4],
            "kind": f"{SPOOF}{i % 2}",
        }
        for i in range(60)
    ]
    (tmp_path / "pool.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "demo.yaml").write_text(SUITE)
    wrong = {**rows[0], SPOOF: SPOOF, "responses": SPOOF, "golden": SPOOF}
    (tmp_path / "wrong.jsonl").write_text(json.dumps(wrong) + "\n")
    (tmp_path / "wrong.yaml").write_text(SUITE.replace("pool.jsonl", "wrong.jsonl"))
    columns = SUITE.replace('column: "golden"', f"column: {json.dumps(SPOOF)}")
    (tmp_path / "columns.yaml").write_text(columns)
    log = [{"step": i, "kl": i, SPOOF: i, "golden": SPOOF} for i in range(12)]
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in log))
    return tmp_path


def output(folder, *arguments):
    """Everything that a run of pytest prints."""
    done = nursery.run([sys.executable, "-m", "pytest", *arguments], cwd=folder)
    text = done.stdout + done.stderr
    assert "Traceback" not in text
    assert "INTERNALERROR" not in text
    return text


def said(folder, command, capsys, monkeypatch):
    """Everything that a command of rmcheck prints."""
    monkeypatch.chdir(folder)
    main(command)
    shown = capsys.readouterr()
    return shown.out + shown.err


# Every command that shows something of a pool, a suite, a log or a report.
COMMANDS = [
    ("validate", "demo.yaml"),
    ("validate", "wrong.yaml"),
    ("validate", "columns.yaml"),
    ("score", "demo.yaml", f"--model={LENGTH}", "--bundle=bundle.parquet"),
    ("score", "demo.yaml", f"--model=hf:{SPOOF}"),
    ("curve", "demo.yaml", f"--model={LENGTH}"),
    ("power", "demo.yaml", f"--model={LENGTH}"),
    ("parity", LENGTH, "fake:constant", "--suite=demo.yaml"),
    ("parity", LENGTH, "fake:constant", "--pool=pool.jsonl"),
    ("sample", "pool.jsonl", "--policy=fake:echo", "--responses=2", "--out=out.jsonl"),
    ("sample", "wrong.jsonl", "--policy=fake:echo", "--responses=2", "--out=out.jsonl"),
    ("training", "log.jsonl"),
    ("training", "log.jsonl", f"--proxy={SPOOF}"),
    ("history", "add", "pool.jsonl", "--to=history"),
]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: " ".join(c[:2]))
def test_no_command_prints_what_a_pool_wants_printed(folder, command, capsys, monkeypatch):
    """Only printable lines come out, and none is a command to the runner of a build."""
    text = said(folder, command, capsys, monkeypatch)

    assert text
    assert not CONTROL.findall(text)
    assert not COMMAND.findall(text)


def test_the_gate_prints_and_reports_only_inert_text(folder):
    """Names of checks, failure texts, notes, the table, JUnit and report.json, also of workers."""
    given = ["demo.yaml", "--rmcheck", f"--rmcheck-model={LENGTH}", "-rA", "--rmcheck-report=out"]
    text = output(folder, *given, "-v", "-n", "2", "--junitxml=junit.xml")
    report = (folder / "out" / "report.json").read_text()

    assert "picked: " in text
    for written in (text, report, (folder / "junit.xml").read_text()):
        assert not CONTROL.findall(written)
        assert not COMMAND.findall(written)
    texts = {
        mistake["prompt_id"] for c in json.loads(report)["checks"] for mistake in c["mistakes"]
    }
    assert texts <= {f"{SPOOF}{i}" for i in range(60)}


def test_the_name_of_a_suite_file_is_inert_too(folder):
    """Node ids of pytest begin with it."""
    (folder / "demo.yaml").rename(folder / f"{SPOOF[:11]}.yaml")

    (folder / "wrong.yaml").unlink()
    (folder / "columns.yaml").unlink()

    text = output(folder, ".", "--rmcheck", f"--rmcheck-model={LENGTH}", "-v")

    assert r"\x1b[2J\x1b[H7 pa.yaml::accuracy FAILED" in text
    assert not CONTROL.findall(text)


def test_a_wrong_hostile_suite_is_inert_too(folder):
    """Errors of collection quote file, column and row."""
    suites = ["wrong.yaml", "columns.yaml"]
    text = output(folder, *suites, "--rmcheck", f"--rmcheck-model={LENGTH}")

    assert all(suite in text for suite in suites)
    assert not CONTROL.findall(text)
    assert not COMMAND.findall(text)
