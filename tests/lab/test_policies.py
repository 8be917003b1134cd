"""Real runs on the example's world: over-optimisation, resuming, divergence, the whole command."""

import csv
import errno
import io
import json
import os
import shutil
from dataclasses import replace

import numpy as np
import pytest

from rmcheck.errors import UsageError
from rmcheck.lab.file import read_laboratory
from rmcheck.lab.rl.looks import look_folder, look_steps
from rmcheck.lab.rl.reward import Reward, Scale
from rmcheck.lab.rl.runs import RlRun, train_runs
from rmcheck.lab.rl.settings import PolicySource, Rl
from rmcheck.lab.study.rl_table import NEEDED

PPO = Rl(
    "ppo",
    "ppo",
    (1,),
    steps=4,
    every=2,
    learning_rate=2e-3,
    critic_learning_rate=4e-3,
    batch=32,
    epochs=2,
)


@pytest.fixture(scope="module")
def town(tmp_path_factory, laboratory, world, policy_folder):
    """Prompts of the example's world, and its policy."""
    from rmcheck.pool.reading import read_prompts

    folder = tmp_path_factory.mktemp("waiters")
    shutil.copy(world.__file__, folder)
    for name, count in (("prompts", 64), ("tests", 24)):
        world.write_rows(folder / f"{name}.jsonl", count=count, responses=1, seed=count)
    source = PolicySource(
        policy_folder, folder / "prompts.jsonl", folder / "tests.jsonl", 15, evaluations=2
    )
    read = [read_prompts(path).prompts for path in (source.prompts, source.test_prompts)]
    return folder, source, *read


def train(town, out, settings, reward="golden_rewards", seed=1):
    """One run against a function of the world; its last look's summary, and how it ended."""
    from rmcheck.models.registry import open_model

    folder, source, prompts, tests = town
    model = open_model(f"python:waiters:{reward}?version=1", base=folder)
    run = RlRun(settings, seed, reward, out)
    opened = lambda _: Reward([model], [Scale(1.0, 1.0)], None)  # noqa: E731
    list(train_runs([run], source, prompts, tests, opened, {reward: model.identity}))
    return summary(out, look_steps(out)[-1]), run.status


def summary(out, step):
    """What a look says."""
    return json.loads((look_folder(out, step) / "summary.json").read_text())


def golden_at(out, step, world):
    """Mean golden reward of a look's responses."""
    text = (look_folder(out, step) / "responses.jsonl").read_text()
    rows = map(json.loads, text.splitlines())
    return np.mean(
        [[world.golden(r["prompt"][0]["content"], t) for t in r["responses"]] for r in rows]
    )


def test_a_full_disk_leaves_no_half_of_what_a_run_is(tmp_path, monkeypatch):
    """The next run would trip over it."""

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    run = RlRun(PPO, 1, "rm", tmp_path / "run")
    source = PolicySource(tmp_path, tmp_path, tmp_path, 15, evaluations=2)
    opened = lambda _: io.StringIO()  # noqa: E731
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        list(train_runs([run], source, [], [], opened, {"rm": "x"}))

    assert not list(tmp_path.rglob("*.json"))


def test_the_proxy_rises_and_golden_falls_in_a_world_made_for_it(town, tmp_path, world):
    """PPO against a waiter who is paid for courtesy: polite words instead of service."""
    settings = replace(PPO, steps=14, every=7, batch=64, learning_rate=1e-2)
    last, status = train(town, tmp_path, settings, "flattered_rewards")

    assert status["status"] == "finished"
    assert last["proxy"] > summary(tmp_path, 0)["proxy"] + 0.5
    assert golden_at(tmp_path, 14, world) < golden_at(tmp_path, 0, world) - 0.2
    assert summary(tmp_path, 0)["kl"] == pytest.approx(0, abs=1e-6)
    assert last["kl"] > summary(tmp_path, 7)["kl"] > 0.1
    assert {"tokens", "policy_loss", "value_loss", "training_reward"} <= last.keys()
    assert (look_folder(tmp_path, 14) / "policy" / "model.safetensors").is_file()


@pytest.mark.parametrize("kind", ["ppo", "grpo"])
def test_a_killed_run_comes_out_as_if_nothing_had_happened(kind, town, tmp_path, monkeypatch):
    """Killed behind its first look, it goes on from there, to the same numbers."""
    from rmcheck.lab.rl import looks

    settings = replace(PPO, kind=kind)
    whole, _ = train(town, tmp_path / "whole", settings)
    own = looks.RlTraining.look

    def killed(self, model, step, facts):
        if step == 4:
            raise KeyboardInterrupt
        own(self, model, step, facts)

    with monkeypatch.context() as patch:
        patch.setattr(looks.RlTraining, "look", killed)
        with pytest.raises(KeyboardInterrupt):
            train(town, tmp_path / "parts", settings)
    assert look_steps(tmp_path / "parts") == [0, 2]
    first = (look_folder(tmp_path / "parts", 2) / "summary.json").stat().st_mtime_ns
    last, status = train(town, tmp_path / "parts", settings)

    assert status["status"] == "finished"
    assert (look_folder(tmp_path / "parts", 2) / "summary.json").stat().st_mtime_ns == first
    assert last["kl"] == pytest.approx(whole["kl"], rel=1e-3)
    assert last["proxy"] == pytest.approx(whole["proxy"], rel=1e-3)


@pytest.mark.parametrize(
    ("changed", "said"),
    [({"max_kl": 0.001}, "above 0.001"), ({"learning_rate": 1e30, "clip": 0.9}, "step")],
)
def test_a_run_that_diverges_stops_and_says_so(changed, said, town, tmp_path):
    """The reason is kept, and the run is not begun again."""
    settings = replace(PPO, **changed)
    _, status = train(town, tmp_path, settings)
    again = train(town, tmp_path, settings)[1]

    assert status["status"] == "diverged"
    assert said in status["reason"]
    assert again == status


def test_every_run_begins_with_the_same_responses(town, tmp_path, monkeypatch):
    """The initial policy answers the test prompts once for all runs."""
    from rmcheck.lab.rl import looks
    from rmcheck.models.registry import open_model

    folder, source, prompts, tests = town
    model = open_model("python:waiters:golden_rewards?version=1", base=folder)
    asked = []
    own = looks.sampled
    monkeypatch.setattr(looks, "sampled", lambda *a, **k: asked.append(1) or own(*a, **k))
    runs = [RlRun(replace(PPO, steps=1), seed, "golden", tmp_path / str(seed)) for seed in (1, 2)]
    opened = lambda _: Reward([model], [Scale(1.0, 1.0)], None)  # noqa: E731
    list(train_runs(runs, source, prompts, tests, opened, {"golden": "x"}))
    first = [(look_folder(run.folder, 0) / "responses.jsonl").read_text() for run in runs]

    assert first[0] == first[1]
    assert len(asked) == 3  # at step 0 for both, and at the end of each


def test_a_run_with_other_settings_is_refused(town, tmp_path):
    """Two tries in one folder would be one course."""
    train(town, tmp_path, replace(PPO, steps=1))

    with pytest.raises(UsageError, match="holds a run with another steps"):
        train(town, tmp_path, replace(PPO, steps=2))


def test_the_command_writes_every_table(town, tmp_path, policy_folder, world, capsys):
    """A family of two, RLOO and best-of-n: each proxy against each golden, from one file."""
    from rmcheck.cli import main

    folder = town[0]
    world.write_rows(folder / "pairs.jsonl", count=30, responses=4, seed=5)
    text = f"""\
lab: 1
preferences: {{path: pairs.jsonl}}
training: {{base: {policy_folder}, learning_rate: 2e-3, batch: 32, max_length: 64}}
reward_models: [{{name: a, seed: 1}}, {{name: b, seed: 2, flip: 0.3}}]
golden: {{model: "python:waiters:golden_rewards?version=1"}}
policy:
  {{model: {policy_folder}, prompts: prompts.jsonl, test_prompts: tests.jsonl, max_tokens: 15,
    responses: 8, evaluations: 2}}
optimizers:
  - {{name: bon, kind: best_of_n, n: [4]}}
  - {{name: rloo, kind: rloo, seeds: [1], steps: 2, batch: 32, learning_rate: 4e-3}}
"""
    (folder / "whole.yaml").write_text(text)
    out = tmp_path / "out"
    command = ["lab", "policies", str(folder / "whole.yaml"), "--out", str(out)]

    assert main([*command, "--trust-suites"]) == 0
    said = capsys.readouterr().out
    assert "rloo, seed 1, against b: finished" in said
    rows = list(csv.DictReader((out / "outcomes.csv").read_text().splitlines()))
    pairs = {(row["optimizer"], row["proxy"], row["golden"], row["at"]) for row in rows}
    names = [(p, g) for p in ("golden", "a", "b") for g in ("golden", "a", "b") if p != g]
    expected = {("bon", *pair, "n") for pair in names}
    expected |= {("rloo", *pair, at) for pair in names for at in ("step", "kl")}
    assert pairs == expected
    tables = {name: (out / f"{name}.csv").read_text().splitlines() for name in ("rl", "curves")}
    studied = list(csv.DictReader(tables["rl"]))
    assert len(studied) == len(names)
    assert set(NEEDED) <= studied[0].keys()
    assert {row["step"] for row in csv.DictReader(tables["curves"])} == {"0", "2"}
    assert main([*command, "--trust-suites"]) == 0
    assert "a: was there" in capsys.readouterr().out
    assert main(command) == 2
    assert "--trust-suites" in capsys.readouterr().err


def test_golden_among_the_proxies_is_refused(town, tmp_path, one_of_each, monkeypatch):
    """A reward model that is golden itself has no regret to measure."""
    from rmcheck.lab import experiment
    from rmcheck.models.registry import open_model

    golden = open_model("python:waiters:golden_rewards?version=1", base=town[0])
    monkeypatch.setattr(experiment, "open_model", lambda *_, **__: golden)
    monkeypatch.setattr(
        experiment, "train_family", lambda *_: [type("T", (), {"name": "a", "folder": "x"})]
    )

    with pytest.raises(UsageError, match="golden is the reward model 'a'"):
        experiment.run_laboratory(read_laboratory(one_of_each()), tmp_path / "out")


def test_a_reward_model_that_is_golden_in_all_but_name_is_refused():
    """A copy of golden in other units: its regret would be 0 by name."""
    from rmcheck.lab.experiment import _refuse_alike

    golden = np.random.default_rng(0).normal(size=(5, 4))
    pools = {"golden": golden, "other": golden[::-1], "copy": 2 * golden + 1}
    scales = {name: Scale.of(rewards, name) for name, rewards in pools.items()}

    with pytest.raises(UsageError, match="'golden' and 'copy' give the same rewards"):
        _refuse_alike(pools, scales)


@pytest.mark.parametrize(("key", "code"), [("fail", 1), ("leave_out", 0)])
def test_a_diverged_run_fails_the_command_unless_the_file_leaves_it_out(
    key, code, town, tmp_path, one_of_each, monkeypatch, capsys
):
    """It is named either way."""
    from rmcheck.cli import main
    from rmcheck.lab import experiment
    from rmcheck.lab.outcomes.course import Course

    run = RlRun(PPO, 1, "a", tmp_path)
    course = Course(run, (0,), *[np.zeros(1)] * 3, {}, "step 0: KL nan")
    found = experiment.Findings((), (course,), ())
    monkeypatch.setattr(experiment, "run_laboratory", lambda *_: found)
    path = one_of_each(f"diverged: {key}")

    assert main(["lab", "policies", str(path), "--out", str(tmp_path / "out")]) == code
    assert "ppo, seed 1, against a diverged at step 0: KL nan" in capsys.readouterr().out
