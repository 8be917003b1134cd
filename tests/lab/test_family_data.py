"""What each reward model of a family is taught: the family's pairs, or some of its own."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from rmcheck.errors import ModelError, UsageError
from rmcheck.lab.family.recipe import Family, Recipe
from rmcheck.lab.family.training import train_family

CLEAN = Recipe("clean", Path("base"), seed=1)


@pytest.fixture
def lessons(tmp_path, world, monkeypatch):
    """Trains recipes by a trainer that only writes down what it was given."""
    from rmcheck.lab.family import trainer

    taught = {}

    def noted(recipe, pairs, work, out, step):
        taught[recipe.name] = pairs
        out.mkdir()
        (out / "model.safetensors").write_bytes(recipe.name[:5].encode())
        return {}

    monkeypatch.setattr(trainer, "train_reward_model", noted)
    world.write_rows(tmp_path / "own.jsonl", count=20, responses=4, seed=1)
    world.write_rows(tmp_path / "curt.jsonl", count=30, responses=4, seed=2, curt=True)

    def taught_by(*recipes):
        family = Family(tmp_path / "own.jsonl", recipes, "disjoint", 0, None, "golden", None, 0, {})
        train_family(family, tmp_path / "out")
        return taught

    return taught_by


def preferred(pairs):
    """Which of two texts of a prompt is taught to be better."""
    return {
        (p.prompt[0]["content"], frozenset((p.chosen[0]["content"], p.rejected[0]["content"]))): (
            p.chosen[0]["content"]
        )
        for p in pairs
    }


def test_a_label_of_its_own_is_a_bias(lessons, world):
    """Where golden and a liking for polite words disagree, each reward model learns its own."""
    found = lessons(CLEAN, replace(CLEAN, name="polite", golden="polite"))
    clean, polite = (preferred(found[name]) for name in ("clean", "polite"))
    differ = [pair for pair in clean.keys() & polite.keys() if clean[pair] != polite[pair]]

    assert differ
    for prompt, texts in differ:
        liked = polite[prompt, texts]
        (other,) = texts - {liked}
        assert world.golden(prompt, liked) < world.golden(prompt, other)
        assert world.labels(prompt, liked)["polite"] > world.labels(prompt, other)["polite"]


def test_preferences_of_its_own_are_a_lineage(lessons, tmp_path):
    """Its flips are drawn on its own pairs, and the folder says where they are from."""
    curt = replace(CLEAN, name="curt", preferences=tmp_path / "curt.jsonl", flip=0.5)
    found = lessons(CLEAN, curt)
    facts = json.loads((tmp_path / "out" / "reward_models" / "curt" / "lab.json").read_text())

    assert preferred(found["curt"]).keys().isdisjoint(preferred(found["clean"]))
    assert facts["flipped"] == round(len(found["curt"]) / 2)
    assert facts["data"]["path"] == str(tmp_path / "curt.jsonl")


def test_a_label_that_the_data_lack_is_named(lessons):
    """With the labels that there are."""
    with pytest.raises(UsageError, match="no label column 'polit'; columns: golden, polite, long"):
        lessons(replace(CLEAN, golden="polit"))


def test_two_reward_models_that_came_out_the_same_are_refused(lessons):
    """They would count twice."""
    with pytest.raises(ModelError, match="'clean' have the same weights"):
        lessons(CLEAN, replace(CLEAN, name="clean-again", seed=2))
