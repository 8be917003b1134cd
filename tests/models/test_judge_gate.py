"""Judges on every way that a reward model goes: gate, fixture, bundle and parity."""

import json
import sys

import nursery
import pytest
import tiny_models
from judging_server import JudgingServer

from rmcheck.cli import main

SUITE = """\
rmcheck: 1
name: judged
resamples: 200
pool: {path: pool.jsonl}
golden: {model: "judge:server.yaml"}
checks:
  - {name: accuracy, metric: accuracy, at_least: 0.01}
  - {name: no-regression, metric: accuracy, max_drop: 0.99}
"""
PLAIN = """\
import pytest

@pytest.mark.rmcheck(suite="judged.yaml")
def test_rewards_are_log_odds(rewards):
    assert rewards.counts.tolist() == [2] * 32
"""
ASK = "prompt: |\n  {{ prompt }}\n  {{ response }}\n"


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """A suite with its pool, a judge in this process, and one behind a server."""
    rows = [
        {
            "prompt_id": f"p{i}",
            "prompt": f"what is {tiny_models.TEXTS[i % 8]} and {i}",
            "responses": list(tiny_models.TEXTS[:2]),
        }
        for i in range(32)
    ]
    (tmp_path / "pool.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "judged.yaml").write_text(SUITE)
    (tmp_path / "test_plain.py").write_text(PLAIN)
    tiny_models.causal(tmp_path / "model", seed=1)
    words = f"{ASK}read: {{yes: [f], no: [w]}}\n"
    (tmp_path / "local.yaml").write_text(f"engine: hf:model\n{words}")
    (tmp_path / "eager.yaml").write_text(f"engine: hf:model?attention=eager\n{words}")
    monkeypatch.chdir(tmp_path)
    with JudgingServer() as running:
        (tmp_path / "server.yaml").write_text(
            f"engine: http:{running.url}?version=1\n{ASK}"
            "read: {score: 'Score: (\\d+)', range: [0, 999], samples: 2, temperature: 1.0}\n"
        )
        yield tmp_path


def test_a_gate_runs_on_judges(workplace):
    """Candidate, baseline and golden are judges; the report holds each one's page and formula."""
    command = [sys.executable, "-m", "pytest", "--rmcheck", "--rmcheck-report=out"]
    command += ["--rmcheck-model=judge:local.yaml", "--rmcheck-baseline=judge:server.yaml"]

    done = nursery.run([*command, "judged.yaml", "test_plain.py"], cwd=workplace, torch=True)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 passed" in done.stdout
    report = (workplace / "out" / "report.json").read_text()
    assert "log p('f') - log p('w') of the next token" in report
    assert "mean of 2 answers" in report
    assert "The judge would rather say something else" in report


def test_a_bundle_and_a_parity_run_take_judges(workplace, capsys):
    """Scores are written, and the same judge with two attentions agrees to rounding."""
    scored = main(["score", "judged.yaml", "--model=judge:local.yaml", "--bundle=scores.parquet"])
    agreed = main(["parity", "judge:local.yaml", "judge:eager.yaml", "--pool=pool.jsonl"])

    assert (scored, agreed) == (0, 0), capsys.readouterr()
    assert (workplace / "scores.parquet").is_file()
