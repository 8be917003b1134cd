"""Tables of a laboratory: NDR of RL, regret at matched KL, and what remedies save, by hand."""

from pathlib import Path

import numpy as np
import pytest

from rmcheck.lab.outcomes.course import Course
from rmcheck.lab.outcomes.mitigation import mitigations
from rmcheck.lab.outcomes.table import (
    MATCHED,
    STUDIED,
    pool_outcomes,
    rl_outcomes,
    study_rows,
    write_rows,
)
from rmcheck.lab.rl.reward import combined
from rmcheck.lab.rl.runs import RlRun
from rmcheck.lab.rl.settings import Ensemble, FromPool, Rl

PROMPTS = 40
PPO = Rl("ppo", "ppo", (1,), steps=2, every=1)
BASE = np.random.default_rng(0).normal(size=PROMPTS)
SPREAD = 1 + 0.1 * np.random.default_rng(1).normal(size=PROMPTS)


def course(reward, kl, golden, settings=PPO, diverged="", seed=1, **others):
    """A run in which golden gains so much at each look, a little differently on each prompt."""
    rewards = {
        name: np.array([BASE + gain * SPREAD for gain in gains])
        for name, gains in {"golden": golden, "a": [0] * len(kl), **others}.items()
    }
    run = RlRun(settings, seed, reward, Path("runs"))
    zeros = np.zeros(len(kl))
    steps = tuple(range(len(kl)))
    return Course(run, steps, np.array(kl, float), zeros, zeros, rewards, diverged)


def by_place(courses):
    """`step` and `kl` to the outcome of proxy a against golden."""
    found = rl_outcomes(courses, ["golden", "a"])
    return {each.at: each for each in found if (each.proxy, each.golden) == ("a", "golden")}


def test_ndr_is_goldens_gain_over_that_of_its_own_run():
    """At the end, a keeps 1 of 2; at KL 4, which both reach, 2 of 2, for golden had been there."""
    own = course("golden", [0, 4, 9], [0, 2, 2], a=[0, 0, 0])
    proxy = course("a", [0, 2, 4], [0, 3, 2], a=[0, 1, 2])
    end = by_place([own, proxy])["step"]

    assert (end.ndr, end.regret) == (pytest.approx(1.0), pytest.approx(0.0))
    assert end.lower <= end.ndr <= end.upper
    shared = by_place([own, course("a", [0, 8, 16], [0, 4, 1])])["kl"]
    assert shared.kl == 9
    assert shared.ndr == pytest.approx((4 - 3 / 8) / 2)


def test_best_at_a_kl_is_the_most_that_goldens_run_had_up_to_it():
    """A golden run that fell later is not held against it: eq. 2 has a maximum."""
    own = course("golden", [0, 2, 6], [0, 3, 1])
    found = by_place([own, course("a", [0, 2, 6], [0, 1, 1.5])])["kl"]

    assert found.best_gain == pytest.approx(3 * SPREAD.mean())
    assert found.ndr == pytest.approx(0.5)


def test_a_diverged_run_is_in_no_outcome():
    """Nor is a run whose golden partner diverged."""
    own = course("golden", [0, 1], [0, 1])

    assert not by_place([own, course("a", [0, 1], [0, 1], diverged="step 1: KL nan")])
    assert not by_place([course("golden", [0, 1], [0, 1], diverged="x"), course("a", [0], [0])])


def test_ndr_is_left_out_where_golden_itself_gains_nothing():
    """The note says why; no number stands there."""
    own = course("golden", [0, 1], [0, 0])
    found = by_place([own, course("a", [0, 1], [0, 1])])["step"]

    assert np.isnan(found.ndr)
    assert "golden gain near zero" in found.note


def test_an_ensemble_is_judged_by_the_fixed_golden_alone():
    """Its members would judge themselves."""
    runs = [course(name, [0, 1], [0, 1], a=[0, 1]) for name in ("golden", "a", "both")]
    found = {(o.proxy, o.golden) for o in rl_outcomes(runs, ["golden", "a"])}

    assert found == {("golden", "a"), ("a", "golden"), ("both", "golden")}


def test_best_of_n_from_the_pool_is_exact():
    """Two responses, one the better: a proxy that agrees keeps all, a reversed one loses all."""
    golden = np.random.default_rng(2).normal(size=(PROMPTS, 2))
    rewards = {"golden": golden, "same": golden * 2, "reversed": -golden}
    found = pool_outcomes([FromPool("bon", "best_of_n", (2.0,))], rewards, ["golden"])
    ndr = {each.proxy: each.ndr for each in found}

    assert ndr == {"same": pytest.approx(1), "reversed": pytest.approx(-1)}


def test_what_a_remedy_saves_is_the_fall_of_regret():
    """Stopping at golden's peak, a KL penalty and an ensemble, each against the plain run."""
    penalised = Rl("ppo-kl", "ppo", (1,), steps=2, every=1, kl_penalty=0.1)
    runs = [
        course("golden", [0, 3, 6], [0, 3, 4], a=[0, 0, 0]),
        course("a", [0, 3, 6], [0, 2, 1], a=[0, 1, 2]),
        course("both", [0, 3, 6], [0, 2, 3], a=[0, 1, 2]),
        course("a", [0, 1, 2], [0, 1, 2], settings=penalised, a=[0, 1, 2]),
    ]
    found = mitigations(runs, [Ensemble("both", ("a", "b"), "mean")])
    saved = {each.remedy: each.saved for each in found if each.optimizer == "ppo"}

    assert saved["ensemble both (mean of 2)"] == pytest.approx((3 - 1) / 4)
    assert saved["KL penalty 0.1"] == pytest.approx((2 - 1) / 4)
    assert saved["stop where golden is highest (needs golden)"] == pytest.approx((2 - 1) / 4)
    assert saved["stop at KL 4"] == pytest.approx((2 - 1) / 4)
    assert all(each.lower <= each.saved + 1e-9 <= each.upper + 2e-9 for each in found)


def test_what_a_remedy_saves_is_told_with_its_spread_over_seeds():
    """A seed of which one of the runs is missing is compared with nothing."""
    penalised = Rl("ppo-kl", "ppo", (1, 2), steps=2, every=1, kl_penalty=0.1)
    runs = [course("golden", [0, 3], [0, 4], a=[0, 0], seed=seed) for seed in (1, 2, 3)]
    runs += [course("a", [0, 3], [0, 1], a=[0, 1], seed=seed) for seed in (1, 2, 3)]
    runs += [course("a", [0, 1], [0, 2], settings=penalised, a=[0, 1])]
    runs += [course("a", [0, 1], [0, 3], settings=penalised, a=[0, 1], seed=2)]
    found = {each.remedy: each for each in mitigations(runs, []) if each.optimizer == "ppo"}
    both = found["KL penalty 0.1"]

    assert both.runs == 2
    assert both.saved == pytest.approx((0.25 + 0.5) / 2)
    assert both.seed_sd == pytest.approx(np.std([0.25, 0.5], ddof=1))


def test_ensembles_combine_as_their_names_say():
    """Mean, worst, and mean less the penalty times the population variance."""
    rows = np.array([[0.0, 1.0], [2.0, 1.0]])

    assert combined(rows, Ensemble("x", ("a", "b"), "mean")).tolist() == [1, 1]
    assert combined(rows, Ensemble("x", ("a", "b"), "worst")).tolist() == [0, 1]
    assert combined(rows, Ensemble("x", ("a", "b"), "uwo", 0.5)).tolist() == [0.5, 1]


def test_a_diverged_run_is_named_to_a_study_once_a_pair():
    """A row without numbers, for the pairs in which it was proxy and those it was golden of."""
    runs = [
        course("golden", [0, 1], [0, 1], a=[0, 1]),
        course("a", [0, 1], [0, 1], diverged="step 1: KL nan"),
        course("b", [0, 1], [0, 1], diverged="step 0: KL nan"),
    ]
    models = ["golden", "a", "b"]
    rows = study_rows(list(rl_outcomes(runs, models)), runs, models)
    pairs = [(row["rm"], row["golden"]) for row in rows]

    assert sorted(pairs) == sorted((p, g) for p in models for g in models if p != g)
    assert all(np.isnan(row["ndr"]) and row["note"].startswith("diverged at step") for row in rows)
    assert all(tuple(row) == (*STUDIED, *MATCHED) for row in rows)


def test_what_a_study_takes_of_a_laboratory_is_a_study(tmp_path):
    """Its pool has the rewards of every model as columns, so nothing is scored again."""
    from rmcheck.lab.outcomes.study_input import write_study
    from rmcheck.lab.study.study import scored_study
    from rmcheck.lab.study.study_file import load_study
    from rmcheck.pool.pool import Message, Prompt

    rng = np.random.default_rng(3)
    golden = rng.normal(size=(PROMPTS, 8))
    rewards = {"golden": golden}
    rewards |= {name: golden + rng.normal(size=golden.shape) for name in ("a", "responses", "c")}
    prompts = [
        Prompt(f"p{i}", (Message("user", f"Prompt {i}?"),), tuple(f"{i} {k}" for k in range(8)), {})
        for i in range(PROMPTS)
    ]
    runs = [
        course(name, [0, 1], [0, 1], **{n: [0, 1] for n in rewards if n != "golden"})
        for name in rewards
    ]
    models = list(rewards)
    rows = study_rows(list(rl_outcomes(runs, models)), runs, models)
    write_rows(tmp_path / "rl.csv", rows)
    write_study(tmp_path, prompts, rewards, {"a": "x, golden"}, True, ["failed_runs"])
    study = scored_study(load_study(tmp_path / "study.yaml"), tmp_path / "store")

    assert study.experiment.tested.names == ("golden", "a", "responses", "c")
    assert any("RL runs of rl.csv: ppo" in fact for fact in study.facts)
