"""The laws that every metric obeys, to be checked over generated rewards.

    from rmcheck.testing import check_metric_laws

    def test_my_metric_obeys_the_laws():
        check_metric_laws(MyMetric(alpha=0.1))

Each law takes the metric, rewards that it accepts, and a source of random numbers, and raises an
AssertionError where the law does not hold; Hypothesis then shows the smallest such rewards.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields

import numpy as np
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from rmcheck.errors import UndefinedMetricError, UsageError
from rmcheck.metrics.metric import Metric, per_prompt_sums
from rmcheck.metrics.registry import make_metric, metric_names
from rmcheck.metrics.rewards import Floats, Rewards
from rmcheck.testing.changes import CHANGES, PromptRewards, from_rows, rows_of
from rmcheck.testing.strategies import rewards_for

Law = Callable[[Metric, Rewards, np.random.Generator], None]

TOLERANCE = 1e-9
# Random pools tried before an invariance that is not declared is held to be real.
UNDECLARED_TRIES = 50


def check_metric_laws(
    metric: Metric, *, laws: Iterable[str] | None = None, max_examples: int = 50
) -> None:
    """Check that a metric obeys the laws of all metrics.

    Args:
        metric: The metric with its settings.
        laws: Names in `LAWS`; all of them by default.
        max_examples: Generated pools for each law.

    Raises:
        AssertionError: A law does not hold; the smallest rewards found are in its notes.
        UsageError: There is no such law.
    """
    names = list(LAWS if laws is None else laws)
    for name in names:
        if name not in LAWS:
            raise UsageError(f"no law {name!r}; laws: {', '.join(LAWS)}")
    # Every generated pool meets all laws: making pools costs more than measuring them.
    _check_generated(metric, [LAWS[name] for name in names if name not in ONCE], max_examples)
    pool = Rewards.from_arrays([], [])
    for name in names:
        if name in ONCE:
            LAWS[name](metric, pool, np.random.default_rng(0))


def _check_generated(metric: Metric, laws: Iterable[Law], max_examples: int) -> None:
    # Derandomised, so that a law that fails today fails tomorrow.
    @settings(
        max_examples=max_examples,
        database=None,
        deadline=None,
        derandomize=True,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    @given(rewards=rewards_for(metric), seed=st.integers(0, 2**32 - 1))
    def hold(rewards: Rewards, seed: int) -> None:
        for law in laws:
            try:
                law(metric, rewards, np.random.default_rng(seed))
            except AssertionError as error:
                rows = [str(row) for row in rows_of(rewards)]
                doc = (law.__doc__ or law.__name__).strip()
                error.add_note("\n".join([f"{metric.signature} breaks the law: {doc}", *rows]))
                raise

    hold()


def evaluate(metric: Metric, rewards: Rewards) -> float:
    """The metric's value on these rewards; NaN where it is undefined."""
    try:
        fitted = metric.fitted(rewards)
        sums, _ = per_prompt_sums(fitted, rewards)
    except UndefinedMetricError:
        return float("nan")
    return float(fitted.value(sums.sum(axis=0)))


def _assert_same(found: float, expected: float, law: str) -> None:
    close = np.isclose(found, expected, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True)

    assert close, f"{law}: {found!r}, but {expected!r} before"


def _alike(metric: Metric, values: Floats) -> PromptRewards:
    """A prompt that has the same numbers in everything that the metric reads."""
    return PromptRewards(values, values, dict.fromkeys(metric.columns, values))


def value_in_range(metric: Metric, rewards: Rewards, rng: np.random.Generator) -> None:
    """The value is inside the declared range, or undefined."""
    low, high = metric.range
    value = evaluate(metric, rewards)

    assert np.isnan(value) or low - TOLERANCE <= value <= high + TOLERANCE, (
        f"{metric.name} is {value!r}, outside its range {metric.range}"
    )


def order_of_responses(metric: Metric, rewards: Rewards, rng: np.random.Generator) -> None:
    """Permuting the responses of a prompt, proxy and golden together, changes nothing."""
    rows = [row.taken(rng.permutation(row.proxy.size)) for row in rows_of(rewards)]
    _assert_same(evaluate(metric, from_rows(rows)), evaluate(metric, rewards), "responses permuted")


def order_of_prompts(metric: Metric, rewards: Rewards, rng: np.random.Generator) -> None:
    """Permuting the prompts changes nothing."""
    rows = rows_of(rewards)
    permuted = from_rows(rows[i] for i in rng.permutation(len(rows)))
    _assert_same(evaluate(metric, permuted), evaluate(metric, rewards), "prompts permuted")


def duplicated_pool(metric: Metric, rewards: Rewards, rng: np.random.Generator) -> None:
    """The pool twice over has the same value."""
    rows = rows_of(rewards)
    _assert_same(
        evaluate(metric, from_rows(rows + rows)), evaluate(metric, rewards), "pool twice over"
    )


def sums_add_up(metric: Metric, rewards: Rewards, rng: np.random.Generator) -> None:
    """A prompt has the same finite sums in a shard as in the whole pool."""
    fitted = _fitted(metric, rewards)
    if fitted is None:
        return
    whole, _ = per_prompt_sums(fitted, rewards)
    rows = rows_of(rewards)
    cut = int(rng.integers(0, len(rows) + 1))
    shards = [from_rows(part) for part in (rows[:cut], rows[cut:]) if part]
    # A shard may hold nothing but prompts that the fitted metric leaves out.
    parts = np.concatenate(
        [
            per_prompt_sums(fitted, shard)[0]
            if (shard.counts >= fitted.min_responses).any()
            else np.zeros((len(shard), whole.shape[1]))
            for shard in shards
        ]
    )

    assert np.isfinite(whole).all(), f"{metric.name} has sums that are not finite: {whole}"
    np.testing.assert_allclose(parts, whole, rtol=TOLERANCE, atol=TOLERANCE)


def scale_of_sums(metric: Metric, rewards: Rewards, rng: np.random.Generator) -> None:
    """Multiplying all totals by one positive number changes no value."""
    fitted = _fitted(metric, rewards)
    if fitted is not None:
        totals, factor = _totals(fitted, rewards), rng.uniform(0.1, 10)
        _assert_same(
            float(fitted.value(factor * totals)), float(fitted.value(totals)), "totals scaled"
        )


def value_of_first_sums(metric: Metric, rewards: Rewards, rng: np.random.Generator) -> None:
    """The sums after the first `value_columns` play no part in the value."""
    if (fitted := _fitted(metric, rewards)) is None:
        return
    totals = _totals(fitted, rewards)
    first = float(fitted.value(totals[: fitted.value_columns]))
    _assert_same(first, float(fitted.value(totals)), "further totals left out")


def value_of_many(metric: Metric, rewards: Rewards, rng: np.random.Generator) -> None:
    """`value` of stacked totals is the stack of the values."""
    fitted = _fitted(metric, rewards)
    if fitted is not None:
        totals = _totals(fitted, rewards)
        stacked = np.stack([totals, 2 * totals, np.zeros_like(totals)]).reshape(3, 1, -1)
        with np.errstate(all="ignore"):
            found = fitted.value(stacked)

        assert found.shape == (3, 1), f"value of (3, 1, K) totals has shape {found.shape}"
        _assert_same(float(found[0, 0]), float(fitted.value(totals)), "totals stacked")


def rewards_unchanged(metric: Metric, rewards: Rewards, rng: np.random.Generator) -> None:
    """Measuring leaves the rewards as they were."""
    fitted = _fitted(metric, rewards)
    if fitted is None:
        return
    for block in rewards.blocks(fitted.min_responses):
        proxy, golden = block.proxy.copy(), block.golden.copy()
        try:
            fitted.block_sums(block)
        except ValueError as error:
            # Blocks are shared by all metrics, so numpy refuses to write into them.
            if "read-only" not in str(error):
                raise
            raise AssertionError(f"{metric.name} writes into the rewards: {error}") from error

        assert np.array_equal(proxy, block.proxy), f"{metric.name} changed the proxy rewards"
        assert np.array_equal(golden, block.golden), f"{metric.name} changed the golden rewards"


def float32_rewards(metric: Metric, rewards: Rewards, rng: np.random.Generator) -> None:
    """Rewards kept as float32 that lose nothing give the same value."""
    narrow = from_rows(
        row.map(lambda values: values.astype(np.float32)) for row in rows_of(rewards)
    )
    _assert_same(evaluate(metric, narrow), evaluate(metric, rewards), "as float32")


def perfect_proxy(metric: Metric, rewards: Rewards, rng: np.random.Generator) -> None:
    """No proxy beats golden itself, for a metric of order (one without a scale of the proxy)."""
    if "proxy_scale" not in metric.invariances:
        return
    rows = [
        row._replace(golden=rng.permutation(row.proxy.size).astype(float))
        for row in rows_of(rewards)
    ]
    best = evaluate(metric, from_rows(row.with_proxy(metric, row.golden) for row in rows))
    other = evaluate(metric, from_rows(rows))
    if other == evaluate(metric, from_rows(row._replace(golden=-row.golden) for row in rows)):
        return  # golden plays no part, so it is no perfect proxy either
    gap = best - other if metric.direction == "higher" else other - best

    assert not gap < -TOLERANCE, (
        f"{metric.name} of a perfect proxy is {best!r}, worse than {other!r} of another, though "
        f"{metric.direction} is declared better"
    )


def direction_told(metric: Metric, rewards: Rewards, rng: np.random.Generator) -> None:
    """Where a metric tells direction, golden itself beats its reversal and a constant proxy."""
    rows = [
        row._replace(golden=rng.permutation(row.proxy.size).astype(float))
        for row in rows_of(rewards)
    ]
    best = evaluate(metric, from_rows(row.with_proxy(metric, row.golden) for row in rows))
    if not metric.tells_direction or np.isnan(best):
        return
    for name, sign in (("reversed", -1.0), ("constant", 0.0)):
        reversed_ = (row.with_proxy(metric, sign * row.golden) for row in rows)
        other = evaluate(metric, from_rows(reversed_))
        gap = best - other if metric.direction == "higher" else other - best

        assert np.isnan(other) or gap > TOLERANCE, (
            f"{metric.name} of golden itself is {best!r}, and {other!r} of a {name} proxy: declare "
            "proxy_reversal or golden_any, or let tells_direction be False"
        )


def gradient_is_derivative(metric: Metric, rewards: Rewards, rng: np.random.Generator) -> None:
    """The gradient, where there is one, is the value's numerical derivative on resamples too."""
    fitted = _fitted(metric, rewards)
    if fitted is None:
        return
    totals = rng.integers(1, 4, size=len(rewards)) @ per_prompt_sums(fitted, rewards)[0]
    if not np.isfinite(fitted.value(totals)):
        return
    gradient = fitted.gradient(totals)
    if gradient is None:
        return
    step = 1e-6 * max(1.0, float(np.abs(totals).max()))
    if (np.abs(totals[totals != 0]) < 1000 * step).any():
        return  # too near to a pole for differences
    offsets = step * np.eye(totals.size)
    numeric = (fitted.value(totals + offsets) - fitted.value(totals - offsets)) / (2 * step)
    np.testing.assert_allclose(
        gradient, numeric, rtol=1e-4, atol=1e-5 * max(1.0, float(np.abs(numeric).max()))
    )


def too_few_responses(metric: Metric, rewards: Rewards, rng: np.random.Generator) -> None:
    """A prompt with too few responses is not measured, has no sums, and changes nothing."""
    fitted = _fitted(metric, rewards)
    if fitted is None:
        return
    short = np.arange(fitted.min_responses - 1, dtype=float)
    longer = from_rows([*rows_of(rewards), _alike(metric, short)])
    sums, measured = per_prompt_sums(fitted, longer)

    assert not measured[-1], f"{metric.name} measured a prompt of {short.size} responses"
    assert not sums[-1].any(), f"{metric.name} has sums for a prompt of {short.size} responses"
    _assert_same(
        float(fitted.value(sums.sum(axis=0))),
        float(fitted.value(_totals(fitted, rewards))),
        "a short prompt added",
    )


def ragged_pool_refused(metric: Metric, rewards: Rewards, rng: np.random.Generator) -> None:
    """A metric whose value depends on N refuses prompts of different N."""
    if not metric.depends_on_n:
        return
    longer = np.arange(rewards.counts.max() + 1, dtype=float)
    ragged = from_rows([*rows_of(rewards), _alike(metric, longer)])
    try:
        per_prompt_sums(metric.fitted(ragged), ragged)
    except UndefinedMetricError:
        return
    raise AssertionError(
        f"{metric.name} depends on N and took prompts of {ragged.counts} responses"
    )


def signature_names_settings(metric: Metric, rewards: Rewards, rng: np.random.Generator) -> None:
    """The signature holds every setting, and the settings make the same metric again.

    One that is as it is by default may be left out, since any other value of it is named.
    """
    by_default = {f.name: f.default for f in fields(metric)}
    for key, value in metric.settings.items():
        named = f"|{key}:{value}" in metric.signature
        assert named or value == by_default[key], f"{key} is not in {metric.signature!r}"
    if metric.name in metric_names():
        again = make_metric(metric.name, **metric.settings)

        assert again == metric, f"{again!r} made from the settings of {metric!r}"


def declared_invariances(metric: Metric, rewards: Rewards, rng: np.random.Generator) -> None:
    """Every declared change of the rewards leaves the value as it is."""
    before = evaluate(metric, rewards)
    for invariance in sorted(metric.invariances):
        _assert_same(
            evaluate(metric, CHANGES[invariance](metric, rewards, rng)),
            before,
            f"after {invariance}",
        )


def undeclared_invariances(metric: Metric, rewards: Rewards, rng: np.random.Generator) -> None:
    """Every change that is not declared does change the value of some pool."""
    size = max(5, metric.min_responses + 1)
    for invariance in sorted(CHANGES.keys() - metric.invariances):
        for _ in range(UNDECLARED_TRIES):
            names = metric.columns
            everything = np.tile(np.arange(size), (2 + len(names), 3, 1))
            proxy, golden, *further = rng.permuted(everything, axis=2)
            columns = dict(zip(names, further, strict=True))
            # On every response their mean would be the proxy's under any map.
            for name in metric.reward_columns:
                columns[name] = np.where(np.arange(size) < size // 2, columns[name], np.nan)
            pool = Rewards.from_arrays(proxy, golden, columns=columns)
            changed = CHANGES[invariance](metric, pool, rng)
            before, after = evaluate(metric, pool), evaluate(metric, changed)
            if not np.isclose(before, after, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True):
                break
        else:
            raise AssertionError(
                f"{metric.name} does not declare {invariance}, but {UNDECLARED_TRIES} pools kept "
                "their value under it"
            )


def _fitted(metric: Metric, rewards: Rewards) -> Metric | None:
    try:
        return metric.fitted(rewards)
    except UndefinedMetricError:
        return None


def _totals(fitted: Metric, rewards: Rewards) -> Floats:
    return np.asarray(per_prompt_sums(fitted, rewards)[0].sum(axis=0))


LAWS: Mapping[str, Law] = {
    law.__name__: law
    for law in (
        value_in_range,
        order_of_responses,
        order_of_prompts,
        duplicated_pool,
        sums_add_up,
        scale_of_sums,
        value_of_first_sums,
        value_of_many,
        rewards_unchanged,
        float32_rewards,
        perfect_proxy,
        direction_told,
        gradient_is_derivative,
        too_few_responses,
        ragged_pool_refused,
        signature_names_settings,
        declared_invariances,
        undeclared_invariances,
    )
}

# Laws that make their own rewards, or need none.
ONCE = frozenset({"signature_names_settings", "undeclared_invariances"})
