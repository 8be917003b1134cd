"""Reward models trained by TRL: the loss, what a flip does, resuming, and that `hf:` opens them."""

import json
import shutil

import numpy as np
import pytest

from rmcheck.errors import UsageError
from rmcheck.lab.file import read_laboratory
from rmcheck.metrics.pairwise import Accuracy

FILE = """\
lab: 1
preferences: {{path: {pairs}}}
flips: {{overlap: independent}}
training: {{base: {base}, learning_rate: 4e-3, batch: 32, epochs: 3, max_length: 64}}
reward_models:
  - {{name: clean, seed: 1}}
  - {{name: wrong, seed: 1, flip: 1.0, {more}}}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory, world, policy_folder, laboratory):
    """Preference data of the example's world, and a file that trains two reward models on it."""
    path = tmp_path_factory.mktemp("family")
    world.write_rows(path / "pairs.jsonl", count=110, responses=4, seed=3)
    text = FILE.format(pairs="pairs.jsonl", base=policy_folder, more="lora: 4")
    (path / "lab.yaml").write_text(text)
    return path


@pytest.fixture(scope="module")
def family(folder):
    """The two reward models as they are read."""
    return read_laboratory(folder / "lab.yaml").family


@pytest.fixture(scope="module")
def trained(folder, family):
    """The two reward models, trained."""
    from rmcheck.lab.family.training import train_family

    return train_family(family, folder / "out")


def accuracy(folder, world):
    """Share of fresh pairs that a reward model orders as golden does, scored by the gate's path."""
    from rmcheck.models.registry import open_model
    from rmcheck.models.sample import Sample
    from rmcheck.pool.pool import Message

    rows = list(world.rows(40, 4, seed=9))
    model = open_model(f"hf:{folder}").load()
    samples = [
        Sample(row["prompt_id"], i, (Message("user", row["prompt"]),), text)
        for row in rows
        for i, text in enumerate(row["responses"])
    ]
    encoded = model.encode(samples)
    model.prove(encoded[:8])
    proxy = model.score(encoded).reshape(40, 4)
    golden = np.array([row["golden"] for row in rows])
    sums = Accuracy().per_prompt(proxy, golden)
    return float(Accuracy().value(sums.sum(axis=0)))


def test_the_loss_is_the_papers(laboratory):
    """Eq. 4 by hand: −log σ(2) + 0.1 (1.5² + 0.5²), and its mean with a pair that ties at 0."""
    import torch

    from rmcheck.lab.family.trainer import preference_loss

    found = preference_loss(torch.tensor([1.5, 0.0]), torch.tensor([-0.5, 0.0]), 0.1)

    expected = (np.log1p(np.exp(-2.0)) + 0.1 * 2.5 + np.log(2)) / 2
    assert float(found) == pytest.approx(expected, rel=1e-6)


def test_a_reward_model_opens_in_the_gate_and_a_flipped_one_is_reversed(trained, world):
    """The clean one orders fresh pairs as golden does; with all labels flipped, the other way."""
    clean, wrong = (accuracy(each.folder, world) for each in trained)

    assert clean > 0.65
    assert wrong < 0.35
    assert (trained[0].flipped, trained[1].flipped) == (0, trained[1].pairs)


def test_what_is_finished_is_never_trained_again(trained, family, folder, monkeypatch):
    """A second call reads what is there, and trains nothing."""
    from rmcheck.lab.family import trainer
    from rmcheck.lab.family.training import train_family

    monkeypatch.setattr(trainer, "train_reward_model", None)
    again = train_family(family, folder / "out")

    assert [each.new for each in again] == [False, False]
    assert [each.accuracy for each in again] == [each.accuracy for each in trained]


def test_a_folder_that_was_made_otherwise_is_refused(trained, family, folder, tmp_path):
    """The file has changed since: the old reward model would pass for the new one."""
    from dataclasses import replace

    from rmcheck.lab.family.training import train_family

    shutil.copytree(folder / "out", tmp_path / "out")
    changed = replace(family, recipes=(replace(family.recipes[0], learning_rate=1e-4),))

    with pytest.raises(UsageError, match="clean holds a reward model with another recipe"):
        train_family(changed, tmp_path / "out")


def test_a_run_that_was_killed_resumes_from_its_checkpoint(family, folder, trained, tmp_path):
    """Stopped in the middle, it trains the rest alone, and comes out as if nothing had happened."""
    from dataclasses import replace

    from rmcheck.lab.family.training import train_family

    one = replace(family, recipes=family.recipes[:1])
    steps = []

    def stop_at(limit):
        def step(count):
            steps.append(count)
            if len(steps) == limit:
                raise KeyboardInterrupt

        return step

    from rmcheck.lab.family import training

    total = training.planned_steps(one.recipes[0], trained[0].pairs)
    with pytest.raises(KeyboardInterrupt):
        train_family(one, tmp_path, step=stop_at(total // 2))
    assert not training.model_folder(tmp_path, "clean").exists()
    train_family(one, tmp_path, step=steps.append)

    assert total <= len(steps) <= total + 6  # less than a tenth is done twice
    facts = [
        json.loads((f / training.FACTS).read_text())
        for f in (training.model_folder(tmp_path, "clean"), trained[0].folder)
    ]
    assert facts[0]["last"]["loss"] == pytest.approx(facts[1]["last"]["loss"], rel=1e-3)


def test_pairs_longer_than_the_model_takes_are_refused(family, tmp_path):
    """TRL would leave them out without a word."""
    from dataclasses import replace

    from rmcheck.lab.family.training import train_family

    short = replace(family, recipes=(replace(family.recipes[0], max_length=14),))

    with pytest.raises(UsageError, match="longer than max_length 14 tokens"):
        train_family(short, tmp_path)
