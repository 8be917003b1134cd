"""Gates over implicit rewards, weighted heads and process reward models, from files to verdicts."""

import json
import sys

import nursery
import process_models
import pytest
import tiny_models

SUITE = """\
rmcheck: 1
name: kinds
resamples: 200
pool: {path: pool.jsonl}
checks:
  - {name: accuracy, metric: accuracy, at_least: 0.01}
  - {name: no-regression, metric: accuracy, max_drop: 0.99}
"""


@pytest.fixture
def gated(tmp_path):
    """Runs the suite on these responses with two models; what pytest said and its report."""

    def gate(responses, model, baseline):
        rows = [
            {
                "prompt_id": f"p{i}",
                "prompt": f"what is {tiny_models.TEXTS[i % 8]} and {i}",
                "responses": list(responses[:4]),
                "golden": [0.0, 1.0, 2.0, 3.0],
            }
            for i in range(32)
        ]
        (tmp_path / "pool.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        (tmp_path / "kinds.yaml").write_text(SUITE)
        command = [sys.executable, "-m", "pytest", "--rmcheck", "--rmcheck-report=out"]
        command += [f"--rmcheck-model={model}", f"--rmcheck-baseline={baseline}", "kinds.yaml"]
        done = nursery.run(command, cwd=tmp_path, torch=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout, (tmp_path / "out" / "report.json").read_text()

    return gate


def test_a_gate_runs_on_implicit_rewards_and_weighted_heads(gated, tmp_path):
    """Both are scored, proven and judged; the report holds formula, heads and page of each."""
    tiny_models.causal(tmp_path / "policy", seed=1)
    tiny_models.causal(tmp_path / "reference", seed=2)
    labels = {0: "helpfulness", 1: "safety"}
    config = tiny_models.decoder_config("llama", num_labels=2, id2label=labels)
    tiny_models.save(config, tmp_path / "heads")

    said, report = gated(
        tiny_models.TEXTS,
        "implicit:policy,reference?beta=0.2",
        "hf:heads?head=helpfulness:0.7,safety:0.3",
    )

    assert "2 passed" in said
    assert "0.2 * (log policy - log reference), sum over response tokens" in report
    assert "0.7 * 'helpfulness' + 0.3 * 'safety'" in report
    assert "response_tokens" in report


def test_a_gate_runs_on_both_kinds_of_process_reward_model(gated, tmp_path):
    """Both are scored, proven and judged; the report holds the formula and the page of each.

    The baseline's separator is in no response, which the reader of the verdicts learns.
    """
    process_models.labelled(tmp_path / "labelled")
    tiny_models.causal(tmp_path / "causal")

    said, report = gated(
        process_models.RESPONSES,
        r"process:labelled?aggregate=product&step=\n&tag=\n",
        "process:causal?aggregate=mean&step=;&tag=|",
    )

    assert "2 passed" in said
    assert "log-odds, product over steps" in report
    assert "token '+' against '-'" in report
    assert "a prompt is computed once for all of its responses" in report
    assert "every response has one step: is step=; what separates steps?" in report
