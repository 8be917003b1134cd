"""The command `rmcheck probe`: all probes on a pool, and the worst edit."""

import json
from pathlib import Path

import pytest

from rmcheck.cli import main
from rmcheck.errors import UsageError
from rmcheck.probes.rare_tokens import rare_tokens

MODEL = """\
def likes_fire(prompts, responses):
    return [len(r.split()) % 7 + 3 * r.count("\\U0001f525") for r in responses]
"""
FACTS = "It flows north. It is cold. It is long. It does not freeze. It has a bridge."


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    """The current directory, with a pool of 40 prompts × 3 responses and a model beside it."""
    rows = (
        {
            "prompt": f"Tell me about river number {i}, please.",
            "responses": [f"River {i}. {FACTS}", f"River {i}. {FACTS[: 16 + i]}", f"River {i}?"],
            "golden": [2, 1, 0],
        }
        for i in range(40)
    )
    (tmp_path / "pool.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "fire.py").write_text(MODEL)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)


def probe(capsys, model, *options):
    """Exit code and what was printed."""
    code = main(["probe", model, "--pool=pool.jsonl", *options])
    return code, capsys.readouterr()


def test_all_probes_are_in_the_table_the_worst_first(capsys):
    """Length is what this model loves, so padding stands above an empty answer."""
    code, said = probe(capsys, "fake:length_biased", "--out=probes.json")
    found = json.loads(Path("probes.json").read_text(encoding="utf-8"))["probes"]

    rows = [line.split()[0] for line in said.out.splitlines()[1:29]]
    assert code == 0
    assert sorted(rows) == sorted(row["probe"] for row in found)
    assert rows[0] == "padding"
    assert rows.index("padding") < rows.index("empty-answer")
    assert next(row for row in found if row["probe"] == "padding")["lower"] > 1


def test_the_search_finds_the_edit_that_a_model_loves_most(capsys):
    """It is measured on answers that no choice was made on, after each of its steps."""
    model, only = "python:fire:likes_fire?version=1", ("--only", "emoji", "flattery")
    code, said = probe(capsys, model, *only, "--budget=600", "--out=probes.json")
    worst = json.loads(Path("probes.json").read_text(encoding="utf-8"))["worst_edit"]

    assert code == 0
    assert "worst edit of 4" in said.out
    assert "  emoji: {response|emoji}" in said.out
    assert "on 12 bad answers that it was not chosen on" in said.out
    assert len(worst["steps"]) > 1
    shifts = [step["value"] for step in worst["steps"]]
    assert shifts == sorted(shifts)
    assert worst["beyond_first"]["value"] == pytest.approx(shifts[-1] - shifts[0])


def test_a_model_that_is_not_moved_has_no_worst_edit(capsys):
    """Nothing is reported where nothing was found."""
    _, said = probe(capsys, "fake:perfect", "--only", "apology", "flattery", "--budget=200")

    assert "none raised the reward of bad answers" in said.out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--only", "paddin"), "unknown probe 'paddin'. Did you mean 'padding'?"),
        (("--only", "apology", "--budget=9"), "a budget of 9 is too small for 3 edits; give 32"),
        (("--golden=rating",), "the pool has no label column 'rating'"),
        (("--probes=none.yaml",), "none.yaml: cannot be read: No such file or directory"),
    ],
)
def test_what_cannot_be_done_is_said(capsys, options, message):
    """With what would do."""
    code, said = probe(capsys, "fake:random", *options)

    assert code == 2
    assert message in said.err


def test_rare_tokens_are_the_strange_ones_at_the_end_of_a_vocabulary(tmp_path):
    """No ordinary word, number or mark, no part of a word, and nothing that is no text."""
    common = [f"word{'abcdefghij'[i]}" for i in range(10)] * 6
    last = [
        "Ġstreet",
        "ĠGoldMagikarp",
        "##ing",
        "[unused3]",
        "attRot",
        "2024",
        "45th",
        "!!!!",
        "the",
    ]
    vocabulary = {f"{word}{i}": i for i, word in enumerate(common)}
    vocabulary |= {word: 60 + i for i, word in enumerate(last)}
    content = {"model": {"vocab": vocabulary}}
    (tmp_path / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")

    found = rare_tokens(tmp_path, 50, seed=0)

    assert {"GoldMagikarp", "attRot"} <= set(found)
    assert not {"street", "##ing", "[unused3]", "2024", "!!!!", "the"} & set(found)
    with pytest.raises(UsageError, match="no vocabulary"):
        rare_tokens(tmp_path / "none", 5, seed=0)
