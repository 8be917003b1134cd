"""Exponential tilting: policies at a KL on a pool, and the regret at matched KL."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq

from rmcheck.checks.measurement import Sampling, measure
from rmcheck.errors import UndefinedMetricError, UsageError
from rmcheck.metrics.matched_kl import MatchedKlRegret
from rmcheck.metrics.metric import per_prompt_sums
from rmcheck.metrics.rewards import Rewards
from rmcheck.metrics.tilting import (
    Tilt,
    effective_sample_size,
    pooled_sd,
    tilt_sums,
    tilted_weights,
)
from rmcheck.testing import scores

one = st.integers(2, 8).flatmap(scores)
pair = st.integers(2, 8).flatmap(lambda n: st.tuples(scores(n), scores(n)))
betas = st.floats(0.05, 20)


def world(seed, prompts, responses, rho=0.7):
    """Proxy and golden rewards, jointly Gaussian inside a prompt."""
    rng = np.random.default_rng(seed)
    golden = rng.normal(size=(prompts, responses))
    return rho * golden + math.sqrt(1 - rho**2) * rng.normal(size=golden.shape), golden


def divergence(weights):
    """Σ w ln(N w) of one prompt."""
    kept = weights[weights > 0]
    return float((kept * np.log(weights.size * kept)).sum())


def mean_kl(blocks, beta):
    """Mean KL over the prompts of blocks, at a β in units of the rewards."""
    return np.mean([divergence(row) for block in blocks for row in tilted_weights(block, beta)])


def at_kl(metric, proxy, golden):
    """Value and fitted metric on a pool."""
    pool = Rewards.from_arrays(proxy, golden)
    fitted = metric.fitted(pool)
    return float(fitted.value(per_prompt_sums(fitted, pool)[0].sum(axis=0))), fitted


@given(row=one, beta=betas)
def test_weights_are_the_softmax(row, beta):
    """π_β ∝ exp(s / β): a distribution whose order is that of the rewards."""
    found = tilted_weights(row[None], beta)[0]
    expected = np.exp((row - row.max()) / beta)

    np.testing.assert_allclose(found, expected / expected.sum(), atol=1e-14)
    assert 1 - 1e-12 <= effective_sample_size(found[None])[0] <= row.size + 1e-9


@given(row=one)
def test_limits_of_beta(row):
    """Large β leaves π0 as it is; small β takes the largest reward, ties shared."""
    golden = np.arange(row.size, dtype=float)
    still, best = (
        tilt_sums(row[None], golden[None], 1e9)[0],
        tilt_sums(row[None], golden[None], 1e-3)[0],
    )
    top = row == row.max()

    np.testing.assert_allclose(still, [0, 0, 0, 0, row.size, 0], atol=1e-6)
    assert best[0] == pytest.approx(golden[top].mean() - golden.mean(), abs=1e-9)
    assert best[2] == pytest.approx(math.log(row.size) - math.log(top.sum()), abs=1e-9)
    assert best[4] == pytest.approx(top.sum(), abs=1e-9)


@given(rows=pair, beta=betas)
def test_sums_are_what_they_say(rows, beta):
    """Gains, KL, effective sample size, and derivatives by ln β, of each prompt."""
    proxy, golden = rows
    weights = tilted_weights(proxy[None], beta)[0]
    found = tilt_sums(proxy[None], golden[None], beta)[0]
    h = 1e-5
    up, down = (tilt_sums(proxy[None], golden[None], beta * math.exp(s))[0] for s in (h, -h))

    assert found[0] == pytest.approx(weights @ golden - golden.mean(), abs=1e-12)
    assert found[2] == pytest.approx(divergence(weights), abs=1e-12)
    assert found[4] == pytest.approx(1 / (weights**2).sum())
    assert found[5] == pytest.approx(weights @ proxy - proxy.mean(), abs=1e-9)
    assert found[1] == pytest.approx((up[0] - down[0]) / (2 * h), abs=1e-6)
    assert found[3] == pytest.approx((up[2] - down[2]) / (2 * h), abs=1e-6)


@given(rows=pair, beta=betas)
def test_kl_and_own_gain_fall_with_beta(rows, beta):
    """A larger β stays nearer to π0 and gains less of what it optimises."""
    proxy, golden = rows
    near = tilt_sums(proxy[None], golden[None], 1.5 * beta)[0]
    far = tilt_sums(proxy[None], golden[None], beta)[0]

    assert far[2] >= near[2] - 1e-12 >= -1e-12
    assert far[5] >= near[5] - 1e-9


@given(row=one, beta=betas, factor=st.integers(2, 9), offset=st.integers(-9, 9))
def test_reward_and_beta_scale_together(row, beta, factor, offset):
    """(s, β) and (c s + a, c β) are the same policy."""
    np.testing.assert_allclose(
        tilted_weights(factor * row[None] + offset, factor * beta),
        tilted_weights(row[None], beta),
        atol=1e-12,
    )


@given(row=st.integers(3, 6).flatmap(scores), seed=st.integers(0, 10**6), beta=st.floats(0.2, 5))
def test_no_policy_at_the_same_kl_gains_more(row, seed, beta):
    """Golden's tilt gains at least what any other weights with no more KL do."""
    best = tilt_sums(row[None], row[None], beta)[0]
    rng = np.random.default_rng(seed)
    for other in rng.dirichlet(np.full(row.size, rng.uniform(0.3, 5)), size=40):
        if divergence(other) <= best[2]:
            assert other @ row - row.mean() <= best[0] + 1e-9


def test_enormous_rewards_and_tiny_betas_do_not_overflow():
    """Rewards of 1e300 and β of 1e-300 give weights, not NaN."""
    row = np.array([[-1e300, 0.0, 1e300, 1e300]])

    assert tilted_weights(row, 1e-300).tolist() == [[0.0, 0.0, 0.5, 0.5]] or np.allclose(
        tilted_weights(row, 1e-300), [[0, 0, 0.5, 0.5]]
    )
    assert np.isfinite(tilt_sums(row, row / 1e300, 1e290)).all()
    assert math.isfinite(pooled_sd([row]))


@pytest.mark.parametrize("beta", [0.0, -1.0, math.nan])
def test_beta_must_be_above_zero(beta):
    """There is no policy at β = 0 or below."""
    with pytest.raises(UsageError, match=r"beta is .*; valid: a number above 0"):
        tilted_weights(np.zeros((1, 3)), beta)


@pytest.mark.parametrize("kl", [1e-4, 0.05, 0.5, 1.5, 2.0])
def test_beta_at_a_kl_is_the_root(kl):
    """The mean KL at the β found is the one asked for, as brentq finds it."""
    proxy, _ = world(0, 40, 16)
    tilt = Tilt.of([proxy], "proxy")
    found = tilt.beta_at_kl(kl)

    def excess(log_beta):
        return mean_kl([proxy], math.exp(log_beta) * tilt.sd) - kl

    assert excess(math.log(found)) == pytest.approx(0, abs=1e-10)
    assert math.log(found) == pytest.approx(brentq(excess, -8, 8), abs=1e-6)
    assert tilt.beta_at_kl(kl, start=1e3) == pytest.approx(found)


@pytest.mark.parametrize("kl", [1e-4, 0.05, 0.5, 1.5, 2.0])
def test_beta_is_found_in_few_looks_at_the_pool(monkeypatch, kl):
    """Newton's method on the logarithm: every look costs as much as a metric."""
    looks = []
    measured = Tilt._kl
    monkeypatch.setattr(
        Tilt, "_kl", lambda self, *args: (looks.append(args), measured(self, *args))[1]
    )

    Tilt.of([world(0, 40, 16)[0]], "proxy").beta_at_kl(kl)

    assert len(looks) <= 9


@settings(max_examples=30)
@given(
    rows=st.lists(st.integers(2, 6).flatmap(scores), min_size=1, max_size=4),
    share=st.floats(0.01, 0.99),
)
def test_every_reachable_kl_is_reached(rows, share):
    """Any KL below ln N less the ties at the maximum has its β, on ragged and tied pools too."""
    blocks = [row[None] for row in rows]
    if pooled_sd(blocks) == 0:
        return
    tilt = Tilt.of(blocks, "proxy")

    kl = share * tilt.largest_kl
    assert mean_kl(blocks, tilt.beta_at_kl(kl) * tilt.sd) == pytest.approx(kl)


def test_a_kl_out_of_reach_names_the_largest():
    """What the pool cannot reach is refused, with what it can."""
    tilt = Tilt.of([np.array([[0.0, 1.0, 1.0, 0.0]])], "proxy")

    with pytest.raises(UndefinedMetricError, match=r"KL 0\.7 is out of reach.*less than 0\.6931"):
        tilt.beta_at_kl(0.7)
    with pytest.raises(UsageError, match="kl is 0; valid"):
        tilt.beta_at_kl(0)
    with pytest.raises(UndefinedMetricError, match="the golden rewards of every prompt are equal"):
        Tilt.of([np.ones((3, 4))], "golden")


@pytest.mark.parametrize("kl", [0.1, 0.5, 1.0, 2.0])
def test_regret_of_a_gaussian_pool_is_one_minus_rho(kl):
    """Retained is ρ at every KL that enough responses carry, and gains are near √(2 κ)."""
    proxy, golden = world(2, 300, 512)
    value, metric = at_kl(MatchedKlRegret(kl), proxy, golden)
    sums, _ = per_prompt_sums(metric, Rewards.from_arrays(proxy, golden))
    facts = metric.facts(sums.sum(axis=0))

    assert value == pytest.approx(0.3, abs=0.015)
    # Levels are low where few responses carry the weight: -5 % at KL 2 of 1280, more of 512.
    assert facts["golden_gain"] == pytest.approx(math.sqrt(2 * kl), rel=0.09)
    assert facts["effective_sample_size"] == pytest.approx(metric.ess)


@pytest.mark.parametrize(
    ("responses", "kl", "bias"),
    # Relative bias of the pool's KL at β = 1/√(2 κ), by Monte-Carlo over Gaussian pools.
    [(1280, 1, -0.016), (1280, 2, -0.05), (256, 1, -0.04), (256, 2, -0.12), (32, 0.5, -0.10)],
)
def test_a_pool_understates_the_kl_of_a_beta(responses, kl, bias):
    """At a given β the pool's KL is low by a known share; at a matched KL gains are by less."""
    prompts = 512_000 // responses
    _, golden = world(3, prompts, responses)
    tilt = Tilt.of([golden], "golden")
    expected = math.sqrt(2 * kl)
    gain = tilt_sums(golden, golden, tilt.beta_at_kl(kl) * tilt.sd)[:, 0].mean()

    assert mean_kl([golden], tilt.sd / expected) / kl - 1 == pytest.approx(bias, abs=0.015)
    assert bias / 2 < gain / expected - 1 < 0.005


def test_regret_ignores_the_scale_of_the_proxy():
    """Equal β would favour a noisy RM of large scale; matched KL does not see the scale."""
    proxy, golden = world(4, 100, 64)
    value, metric = at_kl(MatchedKlRegret(0.5), proxy, golden)
    scaled, other = at_kl(MatchedKlRegret(0.5), 1000 * proxy, golden)

    assert scaled == pytest.approx(value, abs=1e-10)
    assert other.proxy_beta == pytest.approx(1000 * metric.proxy_beta)


def test_golden_itself_has_no_regret_and_noise_has_all():
    """0 for golden, about 1 for a proxy without relation to it."""
    proxy, golden = world(5, 400, 64, rho=0.0)

    assert at_kl(MatchedKlRegret(0.4), golden, golden)[0] == pytest.approx(0, abs=1e-12)
    assert at_kl(MatchedKlRegret(0.4), proxy, golden)[0] == pytest.approx(1, abs=0.03)


def test_one_step_is_solving_again_to_first_order():
    """On resamples the value differs from really solved β by a twentieth of their spread."""
    proxy, golden = world(6, 60, 48)
    golden *= np.random.default_rng(7).lognormal(0, 0.5, size=(60, 1))
    pool = Rewards.from_arrays(proxy, golden)
    metric = MatchedKlRegret(0.4).fitted(pool)
    sums, _ = per_prompt_sums(metric, pool)
    rng = np.random.default_rng(8)
    stepped, solved = [], []
    for _ in range(60):
        rows = rng.integers(0, 60, 60)
        stepped.append(float(metric.value(sums[rows].sum(axis=0))))
        solved.append(at_kl(MatchedKlRegret(0.4), proxy[rows], golden[rows])[0])
    error = np.abs(np.subtract(stepped, solved))

    assert error.max() < 0.2 * np.std(solved)
    assert np.sqrt(np.mean(error**2)) < 0.05 * np.std(solved)


def test_the_whole_of_ln_n_is_out_of_reach():
    """Only a policy that gives one response alone is so far away, and no tilt does."""
    pool = Rewards.from_arrays(*world(0, 10, 4))

    with pytest.raises(UndefinedMetricError, match=r"^matched_kl_regret: KL 1\.38629 is out of"):
        MatchedKlRegret(math.log(4)).fitted(pool)


def test_facts_are_the_gains_at_the_kl():
    """Their ratio is what is kept, and the gains are those of the tilts themselves."""
    proxy, golden = world(6, 60, 48)
    metric = MatchedKlRegret(0.4).fitted(Rewards.from_arrays(proxy, golden))
    totals = per_prompt_sums(metric, Rewards.from_arrays(proxy, golden))[0].sum(axis=0)
    facts = metric.facts(totals)

    kept = facts["proxy_gain"] / facts["golden_gain"]
    assert 1 - kept == pytest.approx(float(metric.value(totals)))
    for row, fact in ((proxy, "proxy_gain"), (golden, "golden_gain")):
        tilt = Tilt.of([row], fact)
        gain = tilt_sums(row, golden, tilt.beta_at_kl(0.4) * tilt.sd)[:, 0].mean()
        assert facts[fact] == pytest.approx(gain)


def test_slices_are_solved_on_their_own():
    """`localised` gives a slice the value that it has as a pool."""
    proxy, golden = world(9, 60, 48)
    proxy[:20] *= 3
    pool = Rewards.from_arrays(proxy, golden)
    mask = np.arange(60) < 20
    metric = MatchedKlRegret(0.4).localised(pool, mask)
    sums, _ = per_prompt_sums(metric, pool)

    assert float(metric.value(sums[mask].sum(axis=0))) == pytest.approx(
        at_kl(MatchedKlRegret(0.4), proxy[:20], golden[:20])[0]
    )


def test_bounds_cover_the_truth():
    """One-sided 95 % bounds at P = 60 hold in about 95 % of 150 Gaussian pools."""
    covered = []
    for seed in range(150):
        pool = Rewards.from_arrays(*world(seed, 60, 48))
        found = measure(MatchedKlRegret(0.3), pool, sampling=Sampling(resamples=400)).estimate
        covered.append((found.lower <= 0.3, found.upper >= 0.3))

    # Monte-Carlo error 0.018.
    assert (np.mean(covered, axis=0) >= 0.90).all()


def test_few_effective_responses_are_a_concern_and_not_many_a_note():
    """Below 20 nothing is decided; from 20 to 50 the note says that gains are low."""
    pool = Rewards.from_arrays(*world(10, 60, 128))
    sampling = Sampling(resamples=200)
    good, fair, poor = (
        measure(MatchedKlRegret(kl), pool, sampling=sampling) for kl in (0.2, 0.7, 1.5)
    )

    assert (good.note, good.estimate.concerns) == ("", ())
    assert "of 128 responses, below 50" in fair.note
    assert fair.estimate.concerns == ()
    assert poor.estimate.concerns[0].startswith("effective sample size")
    assert poor.estimate.concerns[0].endswith("fewer than 20 at KL 1.5")


def test_what_cannot_be_said_is_undefined():
    """KL out of reach, one response, and constant rewards are errors that say so."""
    proxy, golden = world(11, 10, 8)
    tied = np.zeros((10, 8))
    tied[:, 0] = 1e-3

    with pytest.raises(UndefinedMetricError, match=r"KL 2.1 is out of reach.*2\.079 nats \(ln N\)"):
        at_kl(MatchedKlRegret(2.1), proxy, golden)
    with pytest.raises(UndefinedMetricError, match="the proxy rewards of every prompt are equal"):
        at_kl(MatchedKlRegret(0.5), np.zeros((10, 8)), golden)
    with pytest.raises(UndefinedMetricError, match="the golden rewards of every prompt are equal"):
        at_kl(MatchedKlRegret(0.5), proxy, np.full((10, 8), 3.3))
    with pytest.raises(
        UndefinedMetricError, match=r"tilting this pool by proxy gives less than 0\.13"
    ):
        at_kl(MatchedKlRegret(0.5), 1 - 1000 * tied, golden)
    with pytest.raises(UndefinedMetricError, match="must first see the pool"):
        MatchedKlRegret(0.5).per_prompt(proxy, golden)
