"""The nested annotation design: what is labelled, and what the labels say."""

import json

import numpy as np
import pytest
from worlds import world

from rmcheck.checks.measurement import Sampling, measure
from rmcheck.errors import UndefinedMetricError, UsageError
from rmcheck.lab.sampling.annotation import LabelDesign, annotation, parsed_numbers
from rmcheck.metrics.best_of_n import BonDropRatio
from rmcheck.metrics.regret.nested import NestedDrop, choose, expected_maximum
from rmcheck.metrics.rewards import Rewards
from rmcheck.pool.pool import Message, Pool, Prompt
from rmcheck.pool.reading import read_pool

AT = (4, 16, 64, 256)


def labelled(kind, prompts, seed, *, at=AT, other_rm=False):
    """Rewards of the rows that a nested design has labelled."""
    proxy, golden = world(kind, prompts, max(at), seed)
    generator = np.random.default_rng(seed)
    chosen = [choose(row, at=at, random=5, generator=generator) for row in proxy]
    if other_rm:
        proxy = golden + np.random.default_rng(seed + 1).standard_normal(golden.shape)
    return Rewards.from_arrays(
        [row[c.responses] for row, c in zip(proxy, chosen, strict=True)],
        [row[c.responses] for row, c in zip(golden, chosen, strict=True)],
        columns={
            "random": [c.random for c in chosen],
            "chosen_at": [c.chosen_at for c in chosen],
        },
    )


# Origin: 1/√π and 3/(2√π) in closed form; the others from tables of expected normal order
# statistics (Harter 1961) and, beyond them, from numerical integration elsewhere.
@pytest.mark.parametrize(
    ("n", "expected"),
    [(2, 0.56419), (3, 0.84628), (5, 1.16296), (64, 2.34373), (1280, 3.31165), (60_000, 4.27143)],
)
def test_expected_maximum_of_normal_numbers(n, expected):
    """m_n is that of the tables."""
    assert expected_maximum(n) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("kind", ["gaussian", "scales", "heavy", "hacked"])
def test_ten_labels_a_prompt_tell_the_drop_at_256(kind):
    """In every world it comes within 0.05 of the drop ratio that all 256 labels give."""
    truth = measure(
        BonDropRatio(n=256), Rewards.from_arrays(*world(kind, 1_500, 256, seed=77))
    ).estimate.value

    found = [
        measure(
            NestedDrop(256), labelled(kind, 200, seed), sampling=Sampling(resamples=200)
        ).estimate
        for seed in range(6)
    ]

    assert abs(np.mean([e.value for e in found]) - truth) < 0.05
    assert not any(e.concerns for e in found)


def test_each_n_of_the_design_reads_its_own_choice():
    """The value at n = 16 is that of the responses chosen from the first 16."""
    pool = labelled("gaussian", 300, seed=5)

    found = measure(NestedDrop(16), pool, sampling=Sampling(resamples=200))

    gains = []
    for block in pool.blocks():
        chosen = np.where(block.columns["chosen_at"] >= 16, block.columns["chosen_at"], np.inf)
        picked = np.take_along_axis(block.golden, chosen.argmin(axis=1)[:, None], axis=1)[:, 0]
        random = block.columns["random"] > 0
        gains.extend(picked - (block.golden * random).sum(axis=1) / random.sum(axis=1))
    assert found.facts["proxy_gain"] == pytest.approx(np.mean(gains))


def test_an_n_that_was_not_designed_is_undefined():
    """Beyond the design's largest n there is no choice to read; its n are named."""
    with pytest.raises(UndefinedMetricError, match="no choice at n=512; it has them at"):
        measure(NestedDrop(512), labelled("gaussian", 40, seed=0))


def test_labels_drawn_for_another_rm_are_not_decided_on():
    """Another RM scores the chosen responses in another order, which shows."""
    pool = labelled("gaussian", 80, seed=0, other_rm=True)

    concerns = measure(NestedDrop(64), pool).estimate.concerns

    assert any("the labels were drawn for another RM" in concern for concern in concerns)


def test_a_heavy_tailed_golden_is_not_decided_on():
    """m_n standard deviations are not what golden's best of n gains when its tails are heavy."""
    rng = np.random.default_rng(0)
    pool = labelled("gaussian", 200, seed=0)
    heavy = Rewards.from_arrays(
        np.split(pool.proxy, pool.offsets[1:-1]),
        [rng.standard_t(2, n) for n in pool.counts],
        columns={k: np.split(v, pool.offsets[1:-1]) for k, v in pool.columns.items()},
    )

    concerns = measure(NestedDrop(64), heavy).estimate.concerns

    assert any("far from Gaussian" in concern for concern in concerns)


def test_what_is_labelled_holds_the_choice_of_every_prefix():
    """The choice at n is the proxy's best of the first n of one random order."""
    proxy = np.arange(64.0)
    chosen = choose(proxy, at=(4, 16, 64), random=5, generator=np.random.default_rng(1))

    at = dict(zip(chosen.chosen_at.tolist(), chosen.responses.tolist(), strict=True))
    assert chosen.random.sum() == 5
    assert at[64] == 63
    assert len(set(chosen.responses.tolist())) == chosen.responses.size <= 5 + 3


def test_a_prompt_with_too_few_responses_cannot_be_designed():
    """The largest n is the least number of responses."""
    with pytest.raises(UsageError, match="needs 64 responses a prompt; this one has 10"):
        choose(np.zeros(10), at=(4, 64), random=5, generator=np.random.default_rng(0))


def pool_of(tmp_path, *counts):
    """A pool without golden rewards, with these numbers of responses."""
    prompts = tuple(
        Prompt(
            f"p{i}",
            (Message("user", f"question {i}"),),
            tuple(f"answer {j}" for j in range(n)),
            labels={},
            slices={"category": "chat"},
        )
        for i, n in enumerate(counts)
    )
    return Pool(tmp_path / "pool.jsonl", "native", prompts)


def test_rows_to_label_are_read_back_as_a_pool(tmp_path):
    """What is written is a native pool whose `golden` is to be filled in."""
    pool = pool_of(tmp_path, 64, 64, 3)
    rows = annotation(pool, np.arange(131.0), LabelDesign(5, (4, 64), nested=True))
    rows.write(tmp_path / "label.jsonl")

    found = read_pool(tmp_path / "label.jsonl")

    assert rows.left_out == 1
    assert found.label_columns == ("golden", "random", "chosen_at")
    assert found.slice_columns == ("category",)
    assert rows.to_label == sum(len(p.responses) for p in found.prompts)
    assert [max(p.labels["chosen_at"]) for p in found.prompts] == [64, 64]


def test_labels_that_are_known_are_kept(tmp_path):
    """A golden reward that the pool has already needs no label."""
    prompt = Prompt(
        "p", (Message("user", "q"),), tuple("abcd"), labels={"golden": (1.0, 2.0, 3.0, None)}
    )
    pool = Pool(tmp_path / "pool.jsonl", "native", (prompt,))

    rows = annotation(pool, np.arange(4.0), LabelDesign(3, (4,), nested=True))

    assert rows.to_label == 1


def test_labels_are_never_overwritten(tmp_path):
    """A second run with the same file name is refused."""
    rows = annotation(pool_of(tmp_path, 8), np.arange(8.0), LabelDesign(5, (8,), nested=True))
    rows.write(tmp_path / "label.jsonl")

    with pytest.raises(UsageError, match=r"exists, maybe with labels in it"):
        rows.write(tmp_path / "label.jsonl")

    assert json.loads((tmp_path / "label.jsonl").read_text(encoding="utf-8"))["prompt_id"] == "p0"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"at": ()}, "at least one n"),
        ({"at": (1,)}, "n is 1"),
        ({"at": (4,), "labels": 1}, "random is 1"),
        ({"at": (4,), "prompts": 0}, "prompts is 0"),
    ],
)
def test_a_design_that_makes_no_sense_is_refused(settings, message):
    """Each number of a design is checked, and the message names it."""
    with pytest.raises(UsageError, match=message):
        LabelDesign(**{"labels": 5, "nested": True, **settings})


def test_more_prompts_than_the_pool_has_are_refused(tmp_path):
    """The message says how many prompts have enough responses."""
    with pytest.raises(UsageError, match="1 of 2 prompts have the 64 responses"):
        annotation(
            pool_of(tmp_path, 64, 3), np.zeros(67), LabelDesign(5, (64,), nested=True, prompts=2)
        )


def test_numbers_of_the_command_line():
    """`64,4,4` is 4 and 64; anything else is refused."""
    assert parsed_numbers("64, 4,4") == (4, 64)
    with pytest.raises(UsageError, match="'x' is no whole number"):
        parsed_numbers("4,x")
