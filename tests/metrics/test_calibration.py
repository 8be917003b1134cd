"""Expected calibration error, its noise floor and the slope of margins."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from rmcheck.checks.measurement import Sampling, measure, measure_drop
from rmcheck.errors import UndefinedMetricError
from rmcheck.metrics import calibration as module
from rmcheck.metrics.calibration import ECE, calibration, hard_labels_warning
from rmcheck.metrics.metric import per_prompt_sums
from rmcheck.metrics.pairs import pair_chunks
from rmcheck.metrics.pairwise import Accuracy
from rmcheck.metrics.rewards import Rewards
from rmcheck.testing import rewards


def sigmoid(x):
    """1 / (1 + e^−x)."""
    return 1 / (1 + math.exp(-x))


def all_pairs(pool):
    """(margin ≥ 0, golden margin) of every pair that golden decides, by looking at each."""
    found = []
    for low, high in itertools.pairwise(pool.offsets):
        rows = list(zip(pool.proxy[low:high], pool.golden[low:high], strict=True))
        for (r, g), (s, h) in itertools.combinations(rows, 2):
            if g != h:
                found.append((abs(r - s), (g - h) * (1 if r > s else -1)))
    return sorted(found)


def ece_by_hand(pool, bins):
    """ECE by sorting all pairs and cutting them where the b-th share ends."""
    pairs = all_pairs(pool)
    edges = [pairs[-(-b * len(pairs) // bins) - 1][0] for b in range(1, bins)]
    gaps = [0.0] * bins
    for margin, golden in pairs:
        agrees = 0.5 if margin == 0 else float(golden > 0)
        gaps[sum(margin > edge for edge in edges)] += agrees - sigmoid(margin)
    return sum(map(abs, gaps)) / len(pairs)


def value(metric, pool):
    """The metric on a pool."""
    fitted = metric.fitted(pool)
    return float(fitted.value(per_prompt_sums(fitted, pool)[0].sum(axis=0)))


def labelled(prompts, scale=1.0, seed=0):
    """Pairs whose labels are drawn from σ(margin), with margins then multiplied by `scale`."""
    rng = np.random.default_rng(seed)
    margin = rng.normal(scale=1.5, size=prompts)
    wins = rng.random(prompts) < 1 / (1 + np.exp(-margin))
    proxy = np.stack([margin * scale, np.zeros(prompts)], axis=1)
    return Rewards.from_arrays(proxy, np.stack([wins, ~wins], axis=1).astype(float))


@given(pool=rewards(min_responses=2), bins=st.integers(1, 12))
def test_ece_equals_looking_at_every_pair(pool, bins):
    """Bins, ties and sums are those of a plain loop over all pairs."""
    if all_pairs(pool):
        assert value(ECE(bins=bins), pool) == pytest.approx(ece_by_hand(pool, bins), abs=1e-12)


@pytest.mark.parametrize("bins", [64, 65, 300])
def test_bins_may_be_more_than_small_integers_count(bins):
    """Bins, verdicts and prompts are numbered in the smallest integers that hold them."""
    proxy, golden = np.random.default_rng(3).integers(0, 30, size=(2, 4, 15)).astype(float)
    pool = Rewards.from_arrays(proxy / 10, golden)

    assert value(ECE(bins=bins), pool) == pytest.approx(ece_by_hand(pool, bins), abs=1e-12)


@given(pool=rewards(min_responses=2))
def test_one_bin_is_the_gap_of_the_means(pool):
    """With one bin ECE is |accuracy over pairs − mean confidence|."""
    if not all_pairs(pool):
        return
    pairs = all_pairs(pool)
    accuracy = float(
        Accuracy(average="pairs").value(
            per_prompt_sums(Accuracy(average="pairs"), pool)[0].sum(axis=0)
        )
    )

    expected = abs(accuracy - sum(sigmoid(m) for m, _ in pairs) / len(pairs))

    assert value(ECE(bins=1), pool) == pytest.approx(expected, abs=1e-12)


@given(pool=rewards(min_responses=2))
def test_finer_bins_never_lower_it(pool):
    """Splitting bins in two can only raise ECE (triangle inequality)."""
    if all_pairs(pool):
        assert value(ECE(bins=4), pool) >= value(ECE(bins=2), pool) - 1e-12


@given(pool=rewards(min_responses=2))
def test_growing_scale_leaves_the_errors(pool):
    """With margins scaled without bound, ECE with one bin becomes 1 − accuracy."""
    huge = Rewards.from_arrays(
        [row * 1e6 for row in np.split(pool.proxy, pool.offsets[1:-1])],
        np.split(pool.golden, pool.offsets[1:-1]),
    )
    pairs = [pair for pair in all_pairs(pool) if pair[0] > 0]
    if len(pairs) == len(all_pairs(pool)) and pairs:
        wrong = sum(g < 0 for _, g in pairs) / len(pairs)

        assert value(ECE(bins=1), huge) == pytest.approx(wrong, abs=1e-9)


def test_constant_proxy_has_no_error():
    """Margins of 0 claim one half and count one half."""
    pool = Rewards.from_arrays([[1, 1, 1]], [[1, 2, 3]])

    assert value(ECE(), pool) == 0


def test_soft_target_of_golden_itself_has_no_error():
    """Against σ(golden margin) golden's own margins are calibrated; golden ties are kept."""
    golden = [[0.3, 1.2, 1.2, -2.0]]

    assert value(ECE(target="soft"), Rewards.from_arrays(golden, golden)) == pytest.approx(
        0, abs=1e-15
    )


def test_bins_must_be_fixed_first():
    """Sums without the pool's bin edges are an error, not another number."""
    with pytest.raises(UndefinedMetricError, match=r"call fitted\(rewards\)"):
        ECE().per_prompt(np.zeros((1, 2)), np.ones((1, 2)))


def test_golden_without_choice_is_refused():
    """Where golden ties on every pair there is nothing to agree with."""
    with pytest.raises(UndefinedMetricError, match="pairs that differ in golden"):
        ECE().fitted(Rewards.from_arrays([[1, 2]], [[3, 3]]))


def facts_of(pool, **settings):
    """What a check shows besides the value."""
    metric = ECE(**settings).fitted(pool)
    return metric.facts(per_prompt_sums(metric, pool)[0].sum(axis=0))


@pytest.mark.parametrize(("scale", "slope"), [(0.25, 4.0), (1.0, 1.0), (4.0, 0.25)])
def test_slope_is_one_over_the_temperature(scale, slope):
    """Margins c times too large have slope 1/c."""
    # Standard error about 0.015 slope, and 0.02 for taking bins and not single pairs.
    assert facts_of(labelled(20_000, scale))["slope"] == pytest.approx(slope, rel=0.05)


def test_a_calibrated_proxy_has_its_noise_floor():
    """Labels drawn from σ(margin) leave an ECE near the floor; a wrong scale leaves an excess."""
    found = [calibration(labelled(5_000, seed=seed)) for seed in range(10)]
    wrong = calibration(labelled(5_000, 4.0))

    # Ten pools: the mean of the excess has a standard deviation of about 0.001.
    assert np.mean([one.ece - one.noise_floor for one in found]) == pytest.approx(0, abs=0.004)
    assert found[0].noise_floor == pytest.approx(0.016, abs=0.003)
    assert wrong.ece - wrong.noise_floor > 0.1


def test_slope_minimises_the_loss_of_single_pairs():
    """The slope is near the minimum of Σ log(1 + e^(−a m y)), as scipy finds it."""
    pool = labelled(300, 2.0)
    margin, y = np.array(all_pairs(pool)).T
    expected = minimize_scalar(
        lambda a: np.log1p(np.exp(-a * margin * np.sign(y))).sum(), options={"xtol": 1e-12}
    ).x

    assert facts_of(pool, bins=100)["slope"] == pytest.approx(expected, rel=0.02)


def test_a_slope_without_end_is_no_fact():
    """Where golden agrees with every pair, or with none, no factor on the margins is the best."""
    for golden in ([1, 2, 3], [3, 2, 1]):
        assert "slope" not in facts_of(Rewards.from_arrays([[1, 2, 3]], [golden]))


def test_facts_are_those_of_the_diagram():
    """A check shows the sum with its noise, and the floor, without going back to the pairs."""
    pool = labelled(5_000, 2.0)
    facts, expected = facts_of(pool), calibration(pool)

    assert facts["noise_floor"] == expected.noise_floor
    assert facts["with_noise"] == expected.ece


def test_reliability_is_given_bin_by_bin():
    """Pairs, confidence and agreement of each bin make the reliability diagram."""
    found = calibration(labelled(1_000), bins=5)

    assert found.pairs.tolist() == [200] * 5
    assert (np.diff(found.confidence) > 0).all()
    weights = found.pairs / found.pairs.sum()
    assert (weights * np.abs(found.agreement - found.confidence)).sum() == pytest.approx(found.ece)


def test_one_bin_without_its_noise_agrees_with_a_number_worked_out_by_hand():
    """Ten prompts of one pair with a margin of ln 4, so that each claims .8; five are right.

    The gap is −.3. Each pair's part of it is (.2 + .3) / 10 or (−.8 + .3) / 10, so its standard
    error is √(10 / 9 · 10 · .0025) = 1/6. The amount that noise does not explain is
    √(.09 − 1/36) = .24944, at which a folded normal has the mean
    1/6 · √(2/π) · e^−1.12 + .24944 (1 − 2 Φ(−1.49666)) = .04339 + .21590: noise adds .00985.
    """
    golden = [[1.0, 0.0]] * 5 + [[0.0, 1.0]] * 5
    pool = Rewards.from_arrays([[math.log(4), 0.0]] * 10, golden)

    assert value(ECE(bins=1), pool) == pytest.approx(0.3)
    assert measure(ECE(bins=1), pool).estimate.value == pytest.approx(0.3 - 0.00985, abs=1e-5)


def test_pairs_of_one_cluster_share_their_noise():
    """Every prompt four times under one cluster: the error, and so the estimate, stays."""
    single = labelled(60, 2.0)
    rows = [row.reshape(60, 2) for row in (single.proxy, single.golden)]
    fourfold = Rewards.from_arrays(
        *(np.repeat(row, 4, axis=0) for row in rows), clusters=np.repeat(np.arange(60), 4)
    )
    independent = Rewards.from_arrays(*(np.repeat(row, 4, axis=0) for row in rows))
    one, four, others = (
        measure(ECE(bins=4), pool).estimate for pool in (single, fourfold, independent)
    )

    assert four.value == pytest.approx(one.value, abs=1e-9)
    assert (four.lower, four.upper) == pytest.approx((one.lower, one.upper), abs=1e-9)
    assert others.value > one.value


# Factor on the margins |m|, m ~ N(0, 1.5²), and the ECE of labels drawn from σ(m): the integral of
# |σ(m) − σ(factor · m)| over ten bins of equal mass, by scipy.integrate.quad.
TRUE_ECE = {1.0: 0.0, 2.0: 0.1018, 0.5: 0.0962}


@pytest.mark.parametrize("pairs", [30, 100, 500])
@pytest.mark.parametrize("scale", TRUE_ECE)
def test_both_bounds_hold_and_noise_is_taken_out(scale, pairs):
    """In 88 % of 60 pools, 95 less 2.5 standard errors; near half of the noise or more is gone."""
    sampling = Sampling(resamples=300)
    pools = [labelled(pairs, scale, seed=seed) for seed in range(60)]
    found = [measure(ECE(), pool, sampling=sampling) for pool in pools]
    values, noisy = (
        np.mean(numbers)
        for numbers in (
            [one.estimate.value for one in found],
            [one.facts["with_noise"] for one in found],
        )
    )

    assert np.mean([one.estimate.lower <= TRUE_ECE[scale] for one in found]) >= 0.88
    assert np.mean([one.estimate.upper >= TRUE_ECE[scale] for one in found]) >= 0.88
    assert abs(values - TRUE_ECE[scale]) <= max(0.6 * (noisy - TRUE_ECE[scale]), 0.012)


def test_a_sure_proxy_without_an_error_may_have_missed_some():
    """Thirty right pairs that claim .9997: one in ten could be wrong, and the bound says so."""
    pool = Rewards.from_arrays(np.tile([8.0, 0.0], (30, 1)), np.tile([1.0, 0.0], (30, 1)))
    found = measure(ECE(), pool).estimate

    assert found.value == pytest.approx(0.0003, abs=1e-4)
    assert found.upper >= 0.085


def test_a_calibrated_proxy_meets_a_tenth_on_three_hundred_pairs():
    """Most pools of that size are enough for a bound of .1."""
    found = [measure(ECE(), labelled(300, seed=seed)).estimate.upper for seed in range(10)]

    assert np.mean(np.array(found) <= 0.1) >= 0.6


def test_a_drop_in_calibration_is_seen_where_the_baseline_is_calibrated():
    """Twice the margins on the same 300 pairs: noise, which raises the baseline more, hides none.

    Of 40 pools at least 92 % have the true drop inside both bounds.
    """
    truth, held = TRUE_ECE[2.0], []
    for seed in range(40):
        pools = labelled(300, 2.0, seed), labelled(300, 1.0, seed)
        found = measure_drop(ECE(), *pools, sampling=Sampling(resamples=300)).estimate
        held.append((found.lower <= truth, found.upper >= truth))

    assert (np.mean(held, axis=0) >= 0.92).all()


def test_a_history_knows_that_noise_was_once_part_of_it():
    """The version of the definition is in the signature, so that old numbers are not compared."""
    assert ECE().signature == "ece|bins:10|target:hard|definition:2"


def test_real_valued_golden_warns():
    """Hard labels cut from a golden RM are no probabilities; votes and ratings are fine."""
    rng = np.random.default_rng(0)
    proxy, real = rng.normal(size=(2, 10, 5))
    warned = Rewards.from_arrays(proxy, real)

    assert "real-valued (50 distinct in 50)" in hard_labels_warning(warned)
    assert "real-valued" in ECE().fitted(warned).note
    assert ECE(target="soft").fitted(warned).note == ""
    assert hard_labels_warning(Rewards.from_arrays(proxy, np.round(real))) is None


@pytest.mark.parametrize("limit", [1, 3, 10, 66, 1000])
def test_chosen_pairs_stand_for_all(limit):
    """At most `limit` pairs are read, weighted up to all; the choice ignores their order."""
    rng = np.random.default_rng(1)
    proxy, golden = rng.normal(size=(2, 3, 12))
    permuted = rng.permutation(12)
    chunks = list(pair_chunks(proxy, golden, limit))
    again = list(pair_chunks(proxy[:, permuted], golden[:, permuted], limit))

    assert sum(c.margin.shape[0] for c in chunks) <= limit
    assert sum(c.weight * c.margin.shape[0] for c in chunks) == pytest.approx(66)
    for chunk, other in zip(chunks, again, strict=True):
        np.testing.assert_array_equal(chunk.margin, other.margin)


def test_leaving_pairs_out_barely_moves_the_value(monkeypatch):
    """Above the limit an even choice of pairs gives nearly the ECE of all, and a note says so."""
    rng = np.random.default_rng(2)
    golden = rng.normal(size=(40, 100))
    pool = Rewards.from_arrays(golden + rng.normal(size=golden.shape), np.round(golden))
    whole = value(ECE(), pool)
    monkeypatch.setattr(module, "MAX_PAIRS", 40_000)
    fitted = ECE().fitted(pool)

    assert fitted.note == "an even choice of about 1000 pairs per prompt was read"
    assert value(ECE(), pool) == pytest.approx(whole, abs=0.005)


def test_edges_weigh_a_pair_by_the_pairs_it_stands_for(monkeypatch):
    """Where long prompts are read in part, a bin has its share of all pairs, not of those read."""
    monkeypatch.setattr(module, "MAX_EDGE_PAIRS", 1)  # so that a prompt has 64 pairs at most
    rng = np.random.default_rng(0)
    rows = [0.05 * rng.permutation(30) for _ in range(4)] + [
        rng.permutation(3).astype(float) for _ in range(40)
    ]
    pool = Rewards.from_arrays(rows, [rng.permutation(row.size).astype(float) for row in rows])
    edges = ECE(bins=2).fitted(pool).edges

    margins = [np.abs(np.subtract.outer(r, r))[np.triu_indices(r.size, 1)] for r in rows]
    everything = np.concatenate(margins)
    assert np.mean(everything <= edges[0]) == pytest.approx(0.5, abs=0.03)
