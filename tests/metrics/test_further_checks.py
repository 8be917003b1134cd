"""One against many, harm-aware and rank-bin accuracy, and length bias."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmcheck.checks.measurement import Sampling, measure
from rmcheck.errors import UndefinedMetricError, UsageError
from rmcheck.metrics.harm_aware import HarmAwareAccuracy
from rmcheck.metrics.length_bias import LengthBias
from rmcheck.metrics.metric import per_prompt_sums
from rmcheck.metrics.one_vs_many import OneVsManyAccuracy
from rmcheck.metrics.pairwise import Accuracy, pair_counts, pair_counts_among
from rmcheck.metrics.rank_bins import RankBinAccuracy, rank_bins
from rmcheck.metrics.registry import make_metric
from rmcheck.metrics.rewards import Rewards
from rmcheck.testing import distinct_scores, scores

TIES = {"half": 0.5, "wrong": 0.0}
same_size = st.integers(2, 8).flatmap(lambda n: st.tuples(scores(n), scores(n)))


def value(metric, proxy, golden, **columns):
    """The metric on a pool; NaN where it is undefined."""
    pool = Rewards.from_arrays(proxy, golden, columns=columns)
    return float(metric.value(per_prompt_sums(metric, pool)[0].sum(axis=0)))


def pairs(golden):
    """(better, worse) of every pair that differs in golden."""
    both = itertools.permutations(range(len(golden)), 2)
    return [(a, b) for a, b in both if golden[a] > golden[b]]


def right(proxy, a, b, ties):
    """Credit of a pair of which a is the better one."""
    return TIES[ties] if proxy[a] == proxy[b] else float(proxy[a] > proxy[b])


def mean(found):
    """The mean, NaN of nothing."""
    return np.mean(found) if found else math.nan


@given(rows=same_size, data=st.data())
def test_pairs_among_some_are_the_pairs_of_these_alone(rows, data):
    """Counting among some responses is counting in a pool without the others."""
    proxy, golden = rows
    among = np.array(data.draw(st.lists(st.booleans(), min_size=len(proxy), max_size=len(proxy))))
    if not among.any():
        return

    found = pair_counts_among(proxy[None], golden[None], among[None])
    alone = pair_counts(proxy[None, among], golden[None, among])

    for name in ("total", "concordant", "discordant", "proxy_tied", "golden_tied", "both_tied"):
        assert np.all(getattr(found, name) == getattr(alone, name)), name


@given(rows=same_size)
def test_one_vs_many_is_the_chance_to_choose_a_best(rows):
    """The share of golden's best among the proxy's maxima; strictly, 1 only if it has no other."""
    proxy, golden = rows
    first = [i for i in range(len(proxy)) if proxy[i] == max(proxy)]
    best = [i for i in first if golden[i] == max(golden)]
    share, strict = len(best) / len(first), float(len(best) == len(first))
    chance = np.mean(golden == golden.max())

    if np.ptp(golden) == 0:
        assert np.isnan(value(OneVsManyAccuracy(), [proxy], [golden]))
        return
    assert value(OneVsManyAccuracy(), [proxy], [golden]) == pytest.approx(share)
    assert value(OneVsManyAccuracy(ties="wrong"), [proxy], [golden]) == strict
    found = value(OneVsManyAccuracy(normalized=True), [proxy], [golden])
    assert found == pytest.approx((share - chance) / (1 - chance))


@pytest.mark.parametrize(
    ("proxy", "golden", "share", "strict"),
    [
        ([3, 2, 1, 0], [1, 0, 0, 0], 1, 1),
        ([3, 3, 1, 0], [1, 0, 0, 0], 1 / 2, 0),  # RewardBench 2: 1 / number of maxima
        ([3, 3, 3, 3], [1, 0, 0, 0], 1 / 4, 0),
        ([2, 3, 1, 0], [1, 0, 0, 0], 0, 0),
        ([3, 3, 1, 0], [1, 1, 0, 0], 1, 1),  # both of golden's best: any counts
        ([3, 3, 3, 0], [1, 1, 0, 0], 2 / 3, 0),
    ],
)
def test_one_vs_many_examples(proxy, golden, share, strict):
    """A tie at the top counts its share, as in RewardBench 2, or nothing."""
    assert value(OneVsManyAccuracy(), [proxy], [golden]) == pytest.approx(share)
    assert value(OneVsManyAccuracy(ties="wrong"), [proxy], [golden]) == strict


def test_one_vs_many_of_two_is_accuracy():
    """With two responses a prompt both ask the same."""
    rng = np.random.default_rng(0)
    proxy, golden = rng.integers(0, 3, size=(2, 40, 2))

    assert value(OneVsManyAccuracy(), proxy, golden) == value(Accuracy(), proxy, golden)


@pytest.mark.parametrize("ties", TIES)
@given(rows=same_size)
def test_harm_aware_accuracy_forgives_what_is_below_the_mean(ties, rows):
    """A pair is right, or its worse response has less than the prompt's mean proxy reward."""
    proxy, golden = rows
    found = [
        1.0 if proxy[b] * len(proxy) < sum(proxy) else right(proxy, a, b, ties)
        for a, b in pairs(golden)
    ]

    expected = mean(found)
    metric = HarmAwareAccuracy(ties=ties)

    assert value(metric, [proxy], [golden]) == pytest.approx(expected, abs=1e-12, nan_ok=True)
    plain = value(Accuracy(ties=ties), [proxy], [golden])
    assert np.isnan(plain) or expected >= plain - 1e-12


def test_harm_aware_accuracy_examples():
    """A mistake at the bottom is forgiven, the same mistake at the top is not."""
    golden = [3.0, 2.0, 1.0, 0.0]

    assert value(HarmAwareAccuracy(), [[9, 8, 0, 1]], [golden]) == 1
    assert value(Accuracy(), [[9, 8, 0, 1]], [golden]) == pytest.approx(5 / 6)
    assert value(HarmAwareAccuracy(), [[8, 9, 1, 0]], [golden]) == pytest.approx(5 / 6)
    # No reward is below its own mean, whatever 0.1 + 0.1 + 0.1 rounds to.
    assert value(HarmAwareAccuracy(), [[0.1] * 3, [0.7] * 3], [golden[:3]] * 2) == 0.5


@given(golden=st.integers(1, 12).flatmap(distinct_scores), bins=st.integers(1, 6))
def test_rank_bins_are_of_equal_size(golden, bins):
    """Without ties each bin has N / bins responses, up or down, the best in bin 1."""
    found = rank_bins(golden[None], bins)[0]
    sizes = np.bincount(found, minlength=bins + 1)[1:]

    assert set(sizes) <= {len(golden) // bins, -(-len(golden) // bins)}
    assert (np.diff(found[np.argsort(-golden)]) >= 0).all()


def test_tied_responses_share_a_bin():
    """The bin of a tie is that of its average rank."""
    found = rank_bins(np.array([[5.0, 4.0, 4.0, 4.0, 3.0, 0.0], [1.0] * 6]), 3)

    assert found.tolist() == [[1, 2, 2, 2, 3, 3], [2] * 6]


@pytest.mark.parametrize("ties", TIES)
@given(rows=st.integers(6, 9).flatmap(lambda n: st.tuples(scores(n), scores(n))), data=st.data())
def test_rank_bin_accuracy_is_accuracy_on_pairs_of_the_two_bins(ties, rows, data):
    """The better response of a pair is from bin `chosen`, the worse from bin `rejected`."""
    proxy, golden = rows
    bins = data.draw(st.integers(1, 3))
    chosen = data.draw(st.integers(1, bins))
    rejected = data.draw(st.integers(chosen, bins))
    bin_of = rank_bins(golden[None], bins)[0]
    wanted = [(a, b) for a, b in pairs(golden) if (bin_of[a], bin_of[b]) == (chosen, rejected)]

    expected = mean([right(proxy, a, b, ties) for a, b in wanted])
    metric = RankBinAccuracy(ties=ties, bins=bins, chosen=chosen, rejected=rejected)

    assert value(metric, [proxy], [golden]) == pytest.approx(expected, abs=1e-12, nan_ok=True)


@given(rows=same_size)
def test_one_bin_is_plain_accuracy(rows):
    """All pairs are inside a single bin."""
    proxy, golden = rows

    found = value(RankBinAccuracy(bins=1, chosen=1, rejected=1), [proxy], [golden])

    assert found == pytest.approx(value(Accuracy(), [proxy], [golden]), nan_ok=True)


def test_far_bins_are_easier_than_near_ones():
    """A proxy of ρ = 0.7 orders the best against the worst third better than neighbours."""
    rng = np.random.default_rng(0)
    golden = rng.normal(size=(300, 12))
    proxy = golden + rng.normal(size=golden.shape)

    far, near, inside = (
        value(RankBinAccuracy(bins=3, chosen=c, rejected=r), proxy, golden)
        for c, r in ((1, 3), (1, 2), (2, 2))
    )

    assert far > near + 0.05 > inside + 0.1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"bins": 0, "chosen": 1, "rejected": 1}, "bins is 0; valid: a whole number, 1 or more"),
        ({"bins": 3, "chosen": 0, "rejected": 1}, "chosen is 0; valid: a whole number, 1 or more"),
        ({"bins": 3, "chosen": 1, "rejected": 4}, "rejected is 4; valid: 1 (best) to 3, the bins."),
        ({"bins": 3, "chosen": 4, "rejected": 4}, "chosen is 4; valid: 1 (best) to 3, the bins."),
        ({"bins": 3, "chosen": 3, "rejected": 1}, "chosen is 3, a worse bin than rejected, 1; val"),
        ({"bins": 3, "chosen": 1}, "needs the setting rejected"),
        ({"bins": 3, "chosen": 1, "rejected": 2, "ties": "hlf"}, "Did you mean 'half'?"),
    ],
)
def test_bins_that_make_no_pair_are_refused(settings, message):
    """The error shows the bin and the valid ones."""
    with pytest.raises(UsageError) as caught:
        make_metric("rank_bin_accuracy", **settings)

    assert message in str(caught.value)


def test_other_settings_are_checked():
    """A misspelt treatment of ties names the near miss."""
    with pytest.raises(UsageError, match=r"ties is 'shar'\. Did you mean 'share'"):
        make_metric("one_vs_many_accuracy", ties="shar")
    with pytest.raises(UsageError, match="ties is 'share'"):
        make_metric("harm_aware_accuracy", ties="share")


def residual(values, golden):
    """What is left of the rows, centred, after golden."""
    centred = [x - x.mean(axis=1, keepdims=True) for x in (values, golden)]
    v, g = (x.ravel() for x in centred)
    return v - (v @ g) / (g @ g) * g


@given(seed=st.integers(0, 10**6))
def test_length_bias_is_the_correlation_of_residuals(seed):
    """Regress proxy and length on golden inside prompts; the residuals correlate by its size."""
    rng = np.random.default_rng(seed)
    proxy, golden, length = rng.normal(size=(3, 4, 5))
    a, b = residual(proxy, golden), residual(length, golden)

    expected = (a @ b) / math.sqrt((a @ a) * (b @ b))
    pool = Rewards.from_arrays(proxy, golden, columns={"length": length})
    metric = LengthBias()
    sums = per_prompt_sums(metric, pool)[0].sum(axis=0)

    assert metric.value(sums) == pytest.approx(abs(expected), abs=1e-12)
    assert metric.facts(sums) == {"partial_correlation": pytest.approx(expected, abs=1e-12)}


@pytest.mark.parametrize("sign", [1, -1])
def test_length_bias_is_size_without_direction(sign):
    """Liking long and liking short answers are one fault; golden's own use of length is none."""
    rng = np.random.default_rng(0)
    golden, noise, length = rng.normal(size=(3, 2000, 5))
    length = 200 + 50 * (length + golden)

    # Standard error about 0.011; 0.2 / √(1 + 0.2²) = 0.196 of what is left of the proxy.
    biased = golden + noise + sign * 0.2 * (length - 200) / 50
    found = measure(LengthBias(), Rewards.from_arrays(biased, golden, columns={"length": length}))
    fair = measure(
        LengthBias(), Rewards.from_arrays(golden + noise, golden, columns={"length": length})
    )

    assert found.estimate.value == pytest.approx(0.196, abs=0.03)
    assert math.copysign(1, found.facts["partial_correlation"]) == sign
    assert found.estimate.lower < 0.196 < found.estimate.upper
    assert fair.estimate.upper < 0.05


def test_length_bias_without_golden_is_the_plain_correlation():
    """Golden that never differs explains nothing."""
    rng = np.random.default_rng(0)
    proxy, length = rng.normal(size=(2, 3, 6))
    centred = [x - x.mean(axis=1, keepdims=True) for x in (proxy, length)]
    a, b = (x.ravel() for x in centred)

    found = value(LengthBias(), proxy, np.zeros((3, 6)), length=length)

    assert found == pytest.approx(abs(a @ b) / math.sqrt((a @ a) * (b @ b)))


def test_length_bias_is_undefined_where_nothing_is_left():
    """Golden itself, a constant proxy, and lengths that golden explains have no partial one."""
    golden = np.random.default_rng(0).normal(size=(40, 5))
    length = np.random.default_rng(1).normal(size=(40, 5))
    sampling = Sampling(resamples=100)

    for proxy, lengths in ((golden, length), (0 * golden, length), (length, 100 * golden)):
        pool = Rewards.from_arrays(proxy, golden, columns={"length": lengths})
        with pytest.raises(UndefinedMetricError, match="length_bias is undefined"):
            measure(LengthBias(), pool, sampling=sampling)


def test_length_bias_asks_for_the_lengths():
    """Without the column there is an error that names it."""
    with pytest.raises(UndefinedMetricError, match="needs the column 'length'"):
        value(LengthBias(), [[1, 2]], [[1, 2]])
    with pytest.raises(UndefinedMetricError, match="needs the column 'length': use block_sums"):
        LengthBias().per_prompt(np.ones((1, 2)), np.ones((1, 2)))


def test_a_prompt_needs_a_response_a_bin_or_two():
    """Pairs of two bins need one response in each; pairs inside one bin need two there."""
    assert RankBinAccuracy(bins=3, chosen=1, rejected=2).min_responses == 3
    assert RankBinAccuracy(bins=3, chosen=2, rejected=2).min_responses == 6
