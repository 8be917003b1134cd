"""The file of a family: what it means, and what is said about a wrong one."""

from dataclasses import replace

import pytest

GOOD = """\
lab: 1
preferences: {path: pairs.jsonl, golden: golden, pairs: 4}
flips: {overlap: disjoint, seed: 7}
training: {base: base, learning_rate: 1e-3, batch: 8, lora: 4}
reward_models:
  - {name: clean, flip: 0, seed: 1}
  - {name: noisy, flip: 0.3, seed: 1, shard: 2/3, batch: 16}
"""


def test_each_reward_model_takes_what_all_have_and_may_say_otherwise(read, tmp_path):
    """Paths are relative to the file; the paper's values are the defaults."""
    family = read(GOOD).family
    clean, noisy = family.recipes

    assert (clean.base, clean.learning_rate, clean.lora) == (tmp_path / "base", 1e-3, 4)
    assert (clean.warmup, clean.regularization, clean.max_length) == (0.1, 0.01, 2048)
    assert noisy == replace(clean, name="noisy", flip=0.3, shard=(2, 3), batch=16)
    assert (family.path, family.pairs, family.overlap) == (tmp_path / "pairs.jsonl", 4, "disjoint")


def test_flips_are_disjoint_where_they_fit_and_independent_elsewhere(read):
    """The paper's arrangement needs rates that sum to at most 1."""
    fits = GOOD.replace("flips: {overlap: disjoint, seed: 7}\n", "")
    many = fits + "  - {name: wild, flip: 0.8, seed: 2}\n"

    assert read(fits).family.overlap == "disjoint"
    assert read(many).family.overlap == "independent"


@pytest.mark.parametrize(
    ("wrong", "right", "line", "said"),
    [
        ("flips:", "flipps:", 3, "unknown key 'flipps'. Did you mean 'flips'?"),
        ("learning_rate:", "learning_rat:", 4, "'learning_rat' in training. Did you mean"),
        ("flip: 0.3", "flip: 30", 7, "must be at least 0 and at most 1, not 30. Did you mean 0.3?"),
        ("flip: 0.3, seed: 1", "flip: 0.3", 7, "'noisy' has no 'seed'"),
        ("shard: 2/3", "shard: 4/3", 7, "shard '4/3' of 'noisy' is no part such as 1/3"),
        ("name: noisy", "name: clean", 7, "a second 'clean' in reward_models"),
        ("base: base", "base: elsewhere", 6, "'clean': no config.json in the folder"),
        ("base: base, ", "", 6, "'clean' has no 'base', and 'training' has none"),
        ("overlap: disjoint", "overlap: joint", 3, "unknown word 'joint'"),
        ("lab: 1", "lab: 2", 1, "unknown format 'lab: 2'"),
        ("flip: 0.3, seed: 1, shard: 2/3, batch: 16", "seed: 1", 6, "are the same reward model"),
        ("flip: 0, seed", "flip: 0.8, seed", 3, "the rates sum to 1.1"),
    ],
)
def test_a_wrong_value_is_named_where_it_stands(problems, wrong, right, line, said):
    """Line, value, and what instead."""
    assert wrong in GOOD
    found = problems(GOOD.replace(wrong, right))

    assert any(at == line and said in message for at, message in found), found


def test_all_faults_are_named_at_once(problems):
    """One reading names a misspelt key, a wrong number and a missing seed."""
    text = GOOD.replace("pairs: 4", "pair: 4").replace("batch: 8", "batch: many")
    text = text.replace("flip: 0, seed: 1", "flip: 0")

    assert [line for line, _ in problems(text)] == [2, 4, 6]


@pytest.mark.parametrize("text", ["", "[1]", "lab: 1\n", "rmcheck: 1\n"])
def test_a_file_that_is_no_laboratory_is_refused(problems, text):
    """The message says how one begins, or what is missing."""
    found = problems(text)

    assert found
