"""`rmcheck explain SUITE::CHECK --prompt ID`: one prompt as a check sees it."""

import json
import re

import pytest

from rmcheck.cli import main

pytest_plugins = ["pytester"]

SUITE = """\
rmcheck: 1
pool: {path: pool.jsonl, slices: [topic]}
checks:
  - {name: accuracy, metric: accuracy, at_least: 0.9}
  - {name: topics, metric: accuracy, over: topic, at_least: 0.9}
  - {name: padding, probe: padding, at_most: 0.1}
  - {name: over-refusal, probe: over-refusal, at_most: 0.1}
"""
MODELS = ("--model=fake:length_biased", "--baseline=fake:perfect")


@pytest.fixture(autouse=True)
def folder(pytester):
    """A suite in which the longer answer is worse on every second prompt."""
    rows = [
        {
            "prompt_id": f"p{i}",
            "prompt": f"What is {i}?\nSay it.",
            "topic": "xy"[i % 2],
            "responses": [f"It is {i}. \x1b[31m" + "So it is. " * 9, f"It is {i}.", "No."],
            "golden": [[2, 1, 0], [1, 2, 0]][i % 2],
        }
        for i in range(40)
    ]
    pytester.path.joinpath("pool.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    pytester.path.joinpath("demo.yaml").write_text(SUITE)
    return pytester


def explained(capsys, check, prompt, *models):
    """Exit code and what was printed."""
    code = main(["explain", f"demo.yaml::{check}", "--prompt", prompt, *(models or MODELS)])
    return code, capsys.readouterr()


def test_the_pick_stands_above_the_others_with_both_rewards(capsys):
    """Question, slice, responses by reward, what golden lost, and the texts in full."""
    code, said = explained(capsys, "accuracy", "p1")
    lines = said.out.splitlines()

    assert code == 0
    assert lines[:3] == ["p1 (topic=y):", "    What is 1?", "    Say it."]
    assert re.match(r"  # +golden +reward +baseline +response", lines[4])
    assert re.match(r"  1 +1\.000 +.* picked +It is 1\.", lines[5])
    assert re.match(r"  2 +2\.000 +.* best +It is 1\.", lines[6])
    assert "  picked, golden lost 1.000:" in lines
    assert "So it is. " * 9 in said.out
    assert "\x1b" not in said.out


def test_what_the_prompt_adds_is_told(capsys):
    """Two of its three pairs are in golden's order; the pool's value with and without it."""
    _, said = explained(capsys, "accuracy", "p1")

    assert "this prompt alone 0.6667; all prompts 0.8333, without it 0.8376" in said.out


def test_a_prompt_outside_of_the_slice_takes_no_part(capsys):
    """It is shown all the same."""
    _, said = explained(capsys, "topics[topic=x]", "p1")

    assert "this prompt takes no part" in said.out
    assert "all prompts: 1.0000" in said.out


def test_a_probe_shows_what_it_made_of_a_response(capsys):
    """With what the edit did to its reward; questions of a probe are its own prompts."""
    _, padded = explained(capsys, "padding", "p1")
    _, refused = explained(capsys, "over-refusal", "over-refusal 3")

    assert re.search(r"\d edited, reward \+\d", padded.out)
    assert "demo: over-refusal, probe" in refused.out
    assert "this prompt alone" in refused.out


@pytest.mark.parametrize(
    ("check", "prompt", "models", "message"),
    [
        ("accurac", "p1", (), "no check 'accurac' in demo.yaml. Did you mean 'accuracy'?"),
        ("accuracy", "q1", (), "no prompt 'q1' among the 40 of this check."),
        ("accuracy", "p1", ("--lock-timeout=1",), "--prompt needs a check, written SUITE.yaml"),
    ],
)
def test_what_is_not_there_is_said(capsys, check, prompt, models, message):
    """With the near miss, or how it is written."""
    code, said = explained(capsys, check, prompt, *models)

    assert code == 2
    assert message in said.err


def test_a_failed_check_names_the_command(folder, capsys):
    """As it stands it shows the worst pick."""
    run = folder.runpytest_inprocess("--rmcheck", "--rmcheck-model=fake:length_biased")
    shown = [line.split() for line in run.outlines if "rmcheck explain" in line]
    capsys.readouterr()

    assert main(shown[0][1:]) == 0
    assert "picked, golden lost 1.000:" in capsys.readouterr().out
