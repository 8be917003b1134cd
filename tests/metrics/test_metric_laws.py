"""Every registered metric goes through the same battery of laws."""

from dataclasses import dataclass
from importlib import import_module

import numpy as np
import pytest

from rmcheck.errors import UndefinedMetricError, UsageError
from rmcheck.metrics.metric import per_prompt_sums
from rmcheck.metrics.pairwise import ORDER_ONLY
from rmcheck.metrics.ratio import PromptMeanMetric, ratio
from rmcheck.metrics.registration import METRICS as METRICS_BY_NAME
from rmcheck.metrics.registration import register
from rmcheck.metrics.registry import SHIPPED, make_metric, metric_class, metric_names
from rmcheck.metrics.rewards import Rewards
from rmcheck.testing import LAWS, check_metric_laws
from rmcheck.testing.laws import evaluate

# Settings with which metrics are tried; one that is not in this table is tried as it is by default.
SETTINGS = {
    "accuracy": [{}, {"ties": "wrong"}, {"average": "pairs"}],
    "mrr": [{}, {"normalized": True}],
    "ndcg": [{}, {"normalized": True}],
    "xi": [{}, {"normalized": True}],
    "ece": [{}, {"target": "soft", "bins": 3}, {"bins": 1}],
    "ndr": [{}, {"n": 3}],
    "bon_drop_ratio": [{}, {"n": 3}],
    "bo_n": [{}, {"n": 3}],
    "disagreement_ratio": [{}, {"n": 3}],
    "harm_aware_accuracy": [{}, {"ties": "wrong"}, {"average": "pairs"}],
    "one_vs_many_accuracy": [{}, {"ties": "wrong"}, {"normalized": True}],
    "false_positive_rate": [{}, {"threshold": 1.5, "golden_threshold": 1.5}],
    "false_negative_rate": [{}, {"threshold": 1.5, "golden_threshold": 1.5}],
    "rank_bin_accuracy": [
        {"bins": 3, "chosen": 1, "rejected": 3},
        {"bins": 2, "chosen": 2, "rejected": 2, "ties": "wrong"},
    ],
    "tail_excess": [{}, {"n": 4}],
    "rank_flips": [{}, {"tolerance": 3.0}],
    "score_drift": [{}, {"percentile": 40.0}],
    "verdict_flips": [{}, {"repeats": 3}],
    "gamma": [{}, {"n": 4}],
    "drop_from_peak": [{}, {"n": 3}],
    "matched_kl_regret": [{"kl": 0.1}, {"kl": 0.4}],
    "predicted_regret": [
        {"n": 2},
        {"n": 3, "predictor": "measured"},
        {"n": 16, "predictor": "gaussian"},
        {"n": 16, "predictor": "ordinal"},
        {"n": 4},
    ],
}
# Laws that a metric is not about. An excess is a difference of two qualities, and golden itself, at
# 0, is not the lowest: a proxy that errs less in the tail is below it; and at three of the law's
# few responses it is the same for a reversed proxy, which at n = 4 it is not. A predicted regret
# that is measured on one pool is pooled on another, and only the latter depends on the scale of
# prompts; what small generated pools can pool is in tests/regret/test_pooled.py. A tolerance far
# below one leaves the scale of the law's whole numbers without effect; the larger one is tried with
# it, and so are thresholds above the smallest of them.
EXEMPT = {
    "false_positive_rate|threshold:0.5": ("undeclared_invariances",),
    "false_negative_rate|threshold:0.5": ("undeclared_invariances",),
    "rank_flips|tolerance:0.001": ("undeclared_invariances",),
    "tail_excess|n:None": ("undeclared_invariances",),
    "tail_excess": ("perfect_proxy",),
    "predicted_regret|n:4|kl:None|predictor:auto": ("undeclared_invariances", "perfect_proxy"),
}
TRIED = {name: SETTINGS.get(name, [{}]) for name in metric_names()}
METRICS = [make_metric(name, **settings) for name, tried in TRIED.items() for settings in tried]


def test_every_metric_with_settings_of_its_own_exists():
    """No settings are left over from a metric that is gone."""
    assert set(SETTINGS) <= set(metric_names())


def test_each_metric_is_registered_by_the_module_that_is_imported_for_it():
    """A metric that its module registers and the table has not would be known to some runs only."""
    for module, names in SHIPPED.items():
        import_module(module)
        assert {n for n, cls in METRICS_BY_NAME.items() if cls.__module__ == module} == set(names)


def _exempt(metric):
    """Names of the laws that are not for this metric with these settings."""
    return {
        law for name, laws in EXEMPT.items() if metric.signature.startswith(name) for law in laws
    }


@pytest.mark.parametrize("metric", METRICS, ids=lambda m: m.signature)
def test_metric_obeys_the_laws(metric):
    """Invariances, direction, range, sums and gradient are as the metric declares them."""
    laws = [law for law in LAWS if law not in _exempt(metric)]

    check_metric_laws(metric, laws=laws, max_examples=12)


@pytest.mark.parametrize("name", sorted(TRIED))
def test_docstring_gives_direction_and_where_it_is_undefined(name):
    """A reader learns from the docstring which end is good, when there is no value, and whence."""
    doc = metric_class(name).__doc__
    word = metric_class(name).direction.capitalize()

    assert f"{word} is better" in " ".join(doc.split())
    assert "ndefined" in doc
    assert "Reference:" in doc


@dataclass(frozen=True)
class Broken(PromptMeanMetric):
    """Mean of the proxy's rank agreement, with a fault that a subclass gives it."""

    name = "broken"
    range = (-1.0, 1.0)
    invariances = ORDER_ONLY

    def prompt_values(self, proxy, golden):
        """Share of prompts whose proxy and golden maxima coincide."""
        return (proxy.argmax(axis=1) == golden.argmax(axis=1)).astype(float)


class LastResponse(Broken):
    """Looks at a position, not at a response."""

    def prompt_values(self, proxy, golden):
        """1 where the last response is the best."""
        return (golden.argmax(axis=1) == proxy.shape[1] - 1).astype(float)


class UpsideDown(Broken):
    """Declares the wrong direction."""

    direction = "lower"


class OutOfRange(Broken):
    """Exceeds its range."""

    def prompt_values(self, proxy, golden):
        """Always 2."""
        return np.full(proxy.shape[0], 2.0)


class Scaled(Broken):
    """Declares an invariance to the scale of golden that it does not have."""

    def prompt_values(self, proxy, golden):
        """Bounded golden spread."""
        return np.tanh(np.ptp(golden, axis=1))


class Shy(Broken):
    """Does not declare an invariance that it has."""

    invariances = ORDER_ONLY - {"golden_shift"}


class Counting(Broken):
    """A value that grows with the pool."""

    def value(self, sums):
        """The total, instead of the mean."""
        return np.tanh(sums[..., 0])


class Beyond(Broken):
    """Divides by a sum that is not among those it says its value is in."""

    def per_prompt(self, proxy, golden):
        """One sum more."""
        return np.column_stack([super().per_prompt(proxy, golden), np.full(len(proxy), 2.0)])

    def value(self, sums):
        """The first total over the last."""
        return ratio(sums[..., 0], sums[..., -1])


class WrongGradient(Broken):
    """A gradient of the wrong sign."""

    def prompt_values(self, proxy, golden):
        """Varies between prompts."""
        return (proxy == golden).mean(axis=1) / 2 + 0.1

    def gradient(self, sums):
        """Minus the derivative."""
        return -super().gradient(sums)


class Writing(Broken):
    """Changes what it is given."""

    def prompt_values(self, proxy, golden):
        """Writes into the rewards."""
        proxy += 1
        return np.zeros(proxy.shape[0])


@pytest.mark.parametrize(
    ("metric", "law"),
    [
        (LastResponse(), "order_of_responses"),
        (UpsideDown(), "perfect_proxy"),
        (OutOfRange(), "value_in_range"),
        (Scaled(), "declared_invariances"),
        (Shy(), "undeclared_invariances"),
        (Counting(), "duplicated_pool"),
        (Counting(), "scale_of_sums"),
        (Beyond(), "value_of_first_sums"),
        (WrongGradient(), "gradient_is_derivative"),
        (Writing(), "rewards_unchanged"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Broken) else value,
)
def test_a_broken_metric_is_caught(metric, law):
    """Each law fails for a metric with the fault that it is about."""
    with pytest.raises(AssertionError):
        check_metric_laws(metric, laws=[law], max_examples=100)


def test_a_failed_law_shows_the_rewards():
    """The failure names the law and the smallest rewards that break it."""
    with pytest.raises(AssertionError) as caught:
        check_metric_laws(LastResponse(), laws=["order_of_responses"])
    notes = "\n".join(caught.value.__notes__)

    assert "breaks the law: Permuting the responses" in notes
    assert "proxy [" in notes


def test_unknown_law_is_refused():
    """A misspelt law is an error that lists the laws."""
    with pytest.raises(UsageError, match=r"no law 'rangee'.*value_in_range"):
        check_metric_laws(METRICS[0], laws=["rangee"])


def test_a_name_is_that_of_one_metric():
    """A second metric of a name is refused, and the first stays; the same one may come again."""
    accuracy = metric_class("accuracy")

    with pytest.raises(UsageError, match="two metrics are named 'accuracy'"):
        register(type("Twin", (accuracy,), {}))

    assert register(accuracy) is accuracy
    assert metric_class("accuracy") is accuracy


def test_every_law_has_a_sentence():
    """Each law says what it demands."""
    assert [name for name, law in LAWS.items() if not law.__doc__] == []


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("acuracy", {}, "unknown metric 'acuracy'. Did you mean 'accuracy'?"),
        ("accuracy", {"tie": "half"}, "no setting 'tie'. Did you mean 'ties'?"),
        ("accuracy", {"ties": "halve"}, "ties is 'halve'. Did you mean 'half'?"),
        ("accuracy", {"average": "rows"}, "Valid: prompts, pairs."),
        ("ece", {"bins": 0}, "bins is 0; valid: a whole number, 1 or more"),
        ("ece", {"bins": 2.5}, "bins is 2.5; valid"),
        ("ece", {"edges": (0.5,)}, "no setting 'edges'"),
        ("ece", {"target": "softt"}, "Did you mean 'soft'?"),
        ("xi", {"normalized": "yes"}, "normalized is 'yes'; valid: true, false"),
        ("mrr", {"normalized": 1}, "normalized is 1; valid: true, false"),
        ("ndr", {"n": 1}, "n is 1; valid: a whole number, 2 or more"),
        ("bon_drop_ratio", {"n": True}, "n is True; valid: a whole number"),
        ("bon_drop_ratio", {"n": 4, "min_golden_gain": -1}, "min_golden_gain is -1; valid"),
        ("bon_drop_ratio", {"n": 4, "min_golden_gain": float("nan")}, "min_golden_gain is nan"),
        ("bon_drop_ratio", {"n": 4, "min_golden_gain": "1"}, "min_golden_gain is '1'; valid"),
        ("bon_drop_ratio", {"n": 4, "min_golden_gain": True}, "min_golden_gain is True; valid"),
        ("gamma", {"n": 2}, "n is 2; valid: a whole number, 3 or more"),
        ("drop_from_peak", {"n": 1}, "n is 1; valid: a whole number, 2 or more"),
        ("matched_kl_regret", {}, "needs the setting kl"),
        ("matched_kl_regret", {"kl": 0}, "kl is 0; valid: a finite number above 0"),
        ("matched_kl_regret", {"kl": float("inf")}, "kl is inf; valid"),
        ("rank_flips", {"tolerance": -1}, "tolerance is -1; valid: a finite number, 0 or more"),
        ("score_drift", {"percentile": 0}, "percentile is 0; valid: a number above 0, at most"),
        ("score_drift", {"percentile": 101}, "percentile is 101; valid: a number above 0"),
        ("predicted_regret", {}, "needs n or kl, one of them; neither is given"),
        ("predicted_regret", {"n": "256"}, "n is '256'; valid"),
    ],
)
def test_a_wrong_name_or_setting_says_what_instead(name, settings, message):
    """An error of the settings shows the value and the valid ones."""
    with pytest.raises(UsageError) as caught:
        make_metric(name, **settings)

    assert message in str(caught.value)


def test_signature_holds_every_setting():
    """The signature is the number's birth certificate."""
    assert make_metric("accuracy", ties="wrong").signature == "accuracy|ties:wrong|average:prompts"


@pytest.mark.parametrize("metric", METRICS, ids=lambda m: m.signature)
def test_a_pool_with_too_few_responses_is_refused(metric):
    """Where no prompt has enough responses there is an error that says how many it needs."""
    few = [[1.0][: metric.min_responses - 1], [2.0][: metric.min_responses - 1]]
    short = Rewards.from_arrays(few, few, columns=dict.fromkeys(metric.columns, few))

    with pytest.raises(UndefinedMetricError, match="responses a prompt"):
        per_prompt_sums(metric.fitted(short), short)


def test_ragged_pools_are_refused_with_the_remedy():
    """A metric that depends on N says how to use it on prompts of different N."""
    ragged = Rewards.from_arrays([[1.0, 2.0], [1.0, 2.0, 3.0]], [[1.0, 2.0], [1.0, 2.0, 3.0]])

    with pytest.raises(UndefinedMetricError, match="2 to 3 a prompt; set normalized: true, or"):
        per_prompt_sums(make_metric("mrr"), ragged)


def test_prompts_that_the_model_leaves_undefined_are_a_concern():
    """More than one prompt in twenty; those that golden leaves undefined are none."""
    golden = np.zeros((20, 3))
    golden[1:, 0] = 1
    proxy = golden.copy()
    proxy[2] = 0
    metric = make_metric("kendall")
    sums, _ = per_prompt_sums(metric, Rewards.from_arrays(proxy, golden))

    assert metric.compared(sums).tolist() == [False] + [True] * 19
    assert metric.concerns(sums) == (
        "undefined on 1 of 19 prompts (more than 5%), where all rewards of the model are equal",
    )
    assert metric.concerns(np.vstack([sums, sums[3:]])) == ()


def test_sums_that_are_not_finite_are_refused():
    """A metric that makes a NaN is an error that names the prompt."""
    broken = OutOfRange()
    object.__setattr__(broken, "per_prompt", lambda proxy, golden: np.full((2, 3), np.nan))
    pool = Rewards.from_arrays([[1, 2], [1, 2]], [[1, 2], [1, 2]], prompt_ids=["a", "b"])

    with pytest.raises(UndefinedMetricError, match="broken of prompt 'a' has the sums"):
        per_prompt_sums(broken, pool)


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.signature)
def test_only_an_endless_range_is_cut_to_what_is_attainable(metric):
    """A finite end of the range can be reached by some pool, and so is attainable as it is."""
    for end, attained in zip(metric.range, metric.attainable, strict=True):
        assert attained == end or np.isinf(end)


@pytest.mark.parametrize(
    "metric",
    [
        *(make_metric(name) for name in ("accuracy", "pearson", "spearman", "kendall")),
        *(make_metric(name, n=4) for name in ("ndr", "bon_drop_ratio", "bo_n")),
        make_metric("matched_kl_regret", kl=0.4),
        make_metric("ndcg", normalized=True),
    ],
    ids=lambda metric: metric.name,
)
def test_golden_and_its_reversal_are_the_best_and_the_worst_of_a_symmetric_golden(metric):
    """Between them lies all that is attainable: what one prompt not seen could add or take."""
    golden = np.tile(np.arange(-7.0, 8.0), (6, 1))
    values = [evaluate(metric, Rewards.from_arrays(sign * golden, golden)) for sign in (1, -1)]

    ends = metric.attainable if metric.direction == "lower" else metric.attainable[::-1]
    assert values == pytest.approx(ends, abs=1e-9)


@pytest.mark.parametrize(
    "name", ["mrr", "ndcg", "one_vs_many_accuracy", "reward_variance", "gamma", "drop_from_peak"]
)
def test_golden_or_a_constant_has_the_end_of_the_range(name):
    """The best end is golden's; the variance of a constant is as low as can be."""
    golden = np.tile(np.arange(5.0), (6, 1)) + (np.arange(6.0)[:, None])
    metric = make_metric(name)
    if name == "reward_variance":
        constant = np.repeat(np.arange(6.0)[:, None], 5, axis=1)
        assert evaluate(metric, Rewards.from_arrays(constant, golden)) == metric.range[0]
    else:
        end = metric.range[metric.direction == "higher"]
        assert evaluate(metric, Rewards.from_arrays(golden, golden)) == pytest.approx(end)


@pytest.mark.parametrize(
    ("name", "settings", "tells"),
    [
        *(("accuracy", {}, True), ("kendall", {}, True), ("bon_drop_ratio", {"n": 4}, True)),
        *(("xi", {}, False), ("reward_variance", {}, False), ("golden_reliability", {}, False)),
    ],
)
def test_a_metric_says_whether_a_reversed_model_fails_it(name, settings, tells):
    """Those that are blind to a reversed proxy, or look at no golden, do not tell its direction."""
    assert make_metric(name, **settings).tells_direction == tells
