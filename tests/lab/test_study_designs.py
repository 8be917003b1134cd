"""The designs of a study: what agrees with what, over families made for it."""

import xml.etree.ElementTree as ET
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rmcheck.lab.study.agreement import MEASURES, agreement
from rmcheck.lab.study.annotator import annotated_ranks, comparisons
from rmcheck.lab.study.designs import budgets, foretelling, overoptimisation, pairs, prompts
from rmcheck.lab.study.designs.metrics_compared import default_metrics, metrics_compared
from rmcheck.lab.study.designs.rank_bins import rank_bins
from rmcheck.lab.study.draws import drawn
from rmcheck.lab.study.experiment import Experiment
from rmcheck.lab.study.family import RmFamily
from rmcheck.lab.study.outcomes import KeptGain, best_of_n, kl_penalty
from rmcheck.metrics.pairwise import Accuracy


def family_of(seed=0, *, prompts=60, responses=32, freedom=8, **settings):
    """Ten models of falling accuracy: one truth, and tails of `freedom` degrees."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=(prompts, responses))
    scale = np.exp(0.3 * rng.normal(size=(prompts, 1)))
    flips = np.arange(10) * 0.05
    signal = np.cos(np.pi * flips)  # the correlation at which 1 − flips of the pairs are right
    freedom = np.broadcast_to(freedom, 10)[:, None, None]
    noise = rng.standard_t(freedom, size=(10, prompts, responses))
    noise /= np.sqrt(freedom / (freedom - 2))
    scores = signal[:, None, None] * truth + np.sqrt(1 - signal**2)[:, None, None] * scale * noise
    scores *= np.exp(rng.normal(size=10))[:, None, None]
    return RmFamily.of([f"flips {share:.2f}" for share in flips], scores, **settings)


def experiment_of(family, *, n=8, sets=20, penalties=(), seed=0):
    """The study of a family."""
    halves = family.halves(seed)
    outcomes = [best_of_n(halves, n), *(kl_penalty(halves, penalty) for penalty in penalties)]
    return Experiment(*halves, outcomes, n, sets=sets, seed=seed)


# Pooled Spearman of each metric with NDR at n = N / 4 of 512, 50 prompts × 5 responses, with its
# standard deviation over 12 runs: an independent simulation of the same world.
REFERENCE = {
    "pearson": (0.897, 0.037),
    "ndr n=2": (0.889, 0.038),
    "accuracy": (0.876, 0.046),
    "xi": (0.728, 0.086),
    "accuracy-pair": (0.632, 0.142),
}


@cache
def replica():
    """Spearman of each metric with the NDR of best of 128, in a world with tails of all kinds."""
    rng = np.random.default_rng(0)
    family = family_of(0, prompts=50, responses=1024, freedom=rng.choice([4, 8, 30], size=10))
    metrics = {name: m for name, m in default_metrics().items() if name in {*REFERENCE, "ece"}}
    table = metrics_compared(experiment_of(family, n=128), metrics)
    return {row["metric"]: row["Spearman"].value for row in table.rows}


@pytest.mark.parametrize("metric", REFERENCE)
def test_the_synthetic_replica_agrees_with_its_reference(metric):
    """Within two and a half standard deviations of a run."""
    value, deviation = REFERENCE[metric]

    assert abs(replica()[metric] - value) < 2.5 * deviation


def test_what_metrics_foretell_follows_the_order_of_the_reference():
    """ECE foretells least, accuracy on five responses more than on two, ξ no more than accuracy."""
    found = replica()

    assert min(found, key=found.get) == "ece"
    assert found["accuracy"] > found["accuracy-pair"]
    assert found["xi"] <= found["accuracy"]


def test_heavier_tails_make_every_metric_foretell_less():
    """Errors of four degrees of freedom against thirty, on the same truth."""
    light, heavy = (
        agreement("Spearman", e.accuracy, e.outcomes[0], e.tested).tests.value
        for e in (
            experiment_of(family_of(3, prompts=60, responses=128, freedom=f), n=16)
            for f in (30, 2.5)
        )
    )

    assert heavy < light


def test_no_response_is_measured_and_optimised():
    """The two halves of each prompt have no response in common, and together all of them."""
    scores = np.arange(4 * 5 * 8, dtype=float).reshape(4, 5, 8)
    tested, optimised = RmFamily.of(list("abcd"), scores).halves(seed=1)

    together = np.sort(np.concatenate([tested.scores, optimised.scores], axis=2), axis=2)
    assert np.array_equal(together, scores)


def test_every_model_judges_all_others_or_one_does():
    """Ninety pairs of ten models, or nine."""
    assert len(family_of().pairs) == 90
    assert family_of(golden="flips 0.10").fixed_golden == "flips 0.10"
    assert len(family_of(golden="flips 0.10").pairs) == 9


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(-3, 3), min_size=9, max_size=9),
    st.lists(st.integers(-3, 3), min_size=9, max_size=9),
)
def test_agreements_do_not_hang_on_the_scale_of_either(x, y):
    """All but Pearson are the same after any increasing map, and all after a linear one."""
    x, y, goldens = np.array(x, float), np.array(y, float), np.repeat([0, 1, 2], 3)

    for name, measure in MEASURES.items():
        before = measure(x, y, goldens)
        maps = (lambda v: 3 * v + 1,) if name == "Pearson" else (np.exp, lambda v: 3 * v + 1)
        for change in maps:
            after = measure(change(x), change(y), goldens)
            assert after == pytest.approx(before, abs=1e-9, nan_ok=True)


def test_mrr_is_one_over_the_rank_of_the_proxy_that_the_metric_puts_first():
    """Golden 0 picks the second best of three, golden 1 the best of two."""
    x, y = np.array([3.0, 2, 1, 5, 4]), np.array([2.0, 3, 1, 9, 8])

    assert MEASURES["MRR"](x, y, np.array([0, 0, 0, 1, 1])) == pytest.approx((1 / 2 + 1) / 2)


def test_a_metric_that_is_the_outcome_agrees_fully_and_noise_does_not():
    """Spearman is 1 of the outcome with itself, and its ceiling that of two runs."""
    family = family_of().halves(0)[0]
    rng = np.random.default_rng(0)
    kept = rng.normal(size=90)
    outcome = KeptGain("x", kept, kept + 0.1 * rng.normal(size=90))

    same = agreement("Spearman", kept[None], outcome, family)
    noise = agreement("Spearman", rng.normal(size=(1, 90)), outcome, family)

    assert same.tests.value == pytest.approx(1)
    assert 0.9 < same.ceiling < 1
    assert noise.models.lower < 0 < noise.models.upper


def test_the_error_of_models_is_wider_than_that_of_pairs_taken_as_independent():
    """Ninety pairs share ten models: Fisher's interval of ninety points is too narrow."""
    experiment = experiment_of(family_of(5, prompts=30))
    found = agreement("Pearson", experiment.accuracy, experiment.outcomes[0], experiment.tested)
    fisher = 1 / np.sqrt(90 - 3)

    assert found.models.error > fisher


def test_pairs_without_a_run_do_not_count():
    """Of an optimiser that was run for some pairs only."""
    family = family_of().halves(0)[0]
    kept = np.where(family.pairs[:, 0] == 2, np.arange(90.0), np.nan)
    values = np.arange(90.0)[None]

    found = agreement("Kendall", values, KeptGain("ppo", kept), family)

    assert (found.pairs, found.tests.value, found.ceiling) == (9, pytest.approx(1), None)


def test_test_sets_have_the_prompts_and_responses_asked_for():
    """Of 7 prompts without replacement, or all with it; values of a set are those of its rows."""
    family = family_of(prompts=20)
    few, whole = (drawn(family, 4, sets=30, seed=(1,), prompts=p) for p in (7, None))

    assert few.family.responses == 4
    assert (few.weights.sum(axis=1) == 7).all()
    assert few.weights.max() == 1
    assert (whole.weights.sum(axis=1) == 20).all()
    assert [x.shape for x in whole.values(Accuracy())] == [(30, 90)]


def test_an_annotator_of_high_quality_gives_goldens_order():
    """And one of quality 0 an order that has nothing to do with it; each rank is given once."""
    golden = np.random.default_rng(0).normal(size=(400, 6))
    order = golden.argsort(axis=1).argsort(axis=1) + 1.0

    sure = annotated_ranks(golden, 1e6, np.random.default_rng(1))
    unsure = annotated_ranks(golden, 0.0, np.random.default_rng(1))

    assert np.array_equal(sure, order)
    assert np.array_equal(np.sort(unsure, axis=1), np.tile(np.arange(1.0, 7), (400, 1)))
    assert abs(np.corrcoef(unsure.ravel(), order.ravel())[0, 1]) < 0.08


def test_an_annotator_errs_as_often_as_the_reference_says():
    """Quality 1 orders .724 of the pairs of a Gaussian golden rightly, 2 .825 and 5 .922."""
    golden = np.random.default_rng(0).normal(size=(40_000, 2))
    right = [
        float((ranks.argmax(axis=1) == golden.argmax(axis=1)).mean())
        for ranks in (annotated_ranks(golden, q, np.random.default_rng(2)) for q in (1, 2, 5))
    ]

    assert right == pytest.approx([0.724, 0.825, 0.922], abs=0.01)


def test_sorting_takes_the_comparisons_that_are_known():
    """1 for two, 8/3 for three, and 14/3 for four responses, on average."""
    assert [comparisons(k) for k in (2, 3, 4)] == pytest.approx([1, 8 / 3, 14 / 3])


def test_points_of_gaussian_errors_lie_on_the_line_of_unit_scales():
    """Figure 8: nearer to ρ than to ρ²."""
    family = family_of(4, prompts=300, responses=64, freedom=30)

    note = overoptimisation.accuracy_and_overoptimisation(experiment_of(family)).notes[0]

    from_rho, from_square = (
        float(word) for word in note.replace(",", "").split() if word[0] == "0"
    )
    assert from_rho < 0.1 < from_square


def test_every_design_gives_a_table_and_charts_that_are_xml():
    """On a small family with categories and groups, and with one golden as well."""
    extra = {
        "categories": [f"topic {i % 3}" for i in range(60)],
        "groups": ["first"] * 5 + ["second"] * 5,
    }
    each, fixed = (
        experiment_of(family_of(golden=g, **extra), sets=20, penalties=(0.5,))
        for g in (None, "flips 0.00")
    )
    found = [
        pairs.accuracy_and_regret(each),
        pairs.trend(each),
        pairs.matrices(each),
        pairs.groups(each),
        pairs.against_a_judge(fixed),
        prompts.categories(each),
        rank_bins(fixed),
        *budgets.equal_samples(fixed),
        *budgets.equal_labour(fixed),
        overoptimisation.golden_along_kl(fixed),
        overoptimisation.penalties(each),
    ]

    for finding in found:
        assert finding.rows, finding.name
        for figure in finding.figures:
            ET.fromstring(figure)
    assert pairs.matrices(fixed) is None
    assert pairs.against_a_judge(each) is None


def test_golden_gains_most_by_its_own_choice_at_every_distance():
    """Figure 9, where one golden judges."""
    rows = overoptimisation.golden_along_kl(experiment_of(family_of(golden="flips 0.00"))).rows
    own = {row["n"]: row["golden gain"] for row in rows if row["proxy"] == "golden itself"}

    assert all(row["golden gain"] <= own[row["n"]] + 1e-9 for row in rows)


def test_a_second_run_of_the_optimiser_is_on_other_responses():
    """The ceiling of best-of-n is high on many prompts, and below 1."""
    outcome = best_of_n(family_of(prompts=200).halves(0), 4)

    assert 0.9 < np.corrcoef(outcome.kept, outcome.again)[0, 1] < 1


def test_a_line_foretells_models_that_it_has_not_met():
    """Where NDR is a line in a number, exactly; where the left-out group is another line, not."""
    family = family_of(prompts=20, groups=["a"] * 5 + ["b"] * 5)
    x = np.random.default_rng(0).normal(size=(len(family.pairs), 1))
    kept, known = 2 - 3 * x[:, 0], np.ones(len(x), dtype=bool)
    each = [np.arange(10) == m for m in range(10)]

    assert foretelling.left_out(x, kept, known, family, each) == pytest.approx(kept)

    first = family.pairs[:, 1] < 5
    kept[first] += 5
    halves = [np.arange(10) < 5, np.arange(10) >= 5]
    told = foretelling.left_out(x, kept, known, family, halves)
    assert told[first] == pytest.approx(kept[first] - 5)


def test_no_pair_of_a_left_out_model_is_in_its_line():
    """What was measured of a model as golden or proxy does not change what is foretold of it."""
    family = family_of(prompts=20)
    rng = np.random.default_rng(0)
    x, kept = rng.normal(size=(90, 1)), rng.normal(size=90)
    known, each = np.ones(90, dtype=bool), [np.arange(10) == m for m in range(10)]
    before = foretelling.left_out(x, kept, known, family, each)
    met = (family.pairs == 3).any(axis=1)
    after = foretelling.left_out(x, np.where(met, 100.0, kept), known, family, each)

    asked = family.pairs[:, 1] == 3
    assert np.array_equal(before[asked], after[asked])
    assert not np.allclose(before[~asked], after[~asked])


def test_the_best_number_for_left_out_models_stands_first():
    """With the ceiling of two runs, and the kind left out where there are kinds."""
    family = family_of(prompts=40, groups=["a"] * 5 + ["b"] * 5)
    names = ("accuracy", "ece", "xi")
    metrics = {name: m for name, m in default_metrics().items() if name in names}
    found = foretelling.foretelling(experiment_of(family), metrics)
    out = [row["model left out"].value for row in found.rows]

    assert out == sorted(out, reverse=True)
    assert {row["number"] for row in found.rows} >= {*names, "gamma", "all together"}
    assert all(row["kind left out"] is not None for row in found.rows)
    assert found.rows[0]["two runs (ceiling)"] > 0.8
    assert found.rows[0]["number"] in found.notes[0]
