"""What a message advises can be done with the command that gave it."""

import json
from pathlib import Path

import pytest

from rmcheck.cli import main

MODELS = Path(__file__).resolve().parents[1] / "suites" / "quickstart" / "models"
SHORT = f"hf:{MODELS / 'good'}?max_length=24"
OTHER = f"hf:{MODELS / 'baseline'}?max_length=24"
COMMANDS = {
    "sample": ["sample", "pool.jsonl", "--design=nested", "--n=2", "--random=2", "--out=new.jsonl"],
    "parity": ["parity", SHORT, OTHER, "--pool=pool.jsonl", "--max-difference=99", "--max-flips=9"],
}
COMMANDS["sample"].append(f"--model={SHORT}")


@pytest.mark.parametrize("command", COMMANDS)
def test_long_conversations_are_cut_with_the_option_that_the_message_names(
    command, tmp_path, monkeypatch, capsys
):
    """Refused first, with the option; with it the command does what was asked for."""
    monkeypatch.chdir(tmp_path)
    row = {"prompt": "Where do the ferries go? " * 9, "responses": ["North.", "South, I think."]}
    rows = [row | {"prompt": f"{row['prompt']} {i}"} for i in range(4)]
    (tmp_path / "pool.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    assert main(COMMANDS[command]) == 2
    said = capsys.readouterr().err
    assert "8 of 8 conversations are longer than the 24 tokens" in said
    assert "--too-long=left" in said

    assert main([*COMMANDS[command], "--too-long=left"]) == 0
    assert "cut on the left" in capsys.readouterr().out
