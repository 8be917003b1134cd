"""Why a model picks worse answers: suspects tested against one another, each with its numbers.

A trait (length, lists and markdown, a stock phrase) is suspected where three things agree: golden
is lost where the pick has more of it than golden's best, the reward follows it beyond golden and
all other traits, and both in one direction. A place (a slice, texts that were cut) is suspected
where more is lost there than elsewhere; ties are, where another choice among them would lose less.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from rmcheck.checks.record import CauseRecord
from rmcheck.metrics.rewards import Floats, Ints, Rewards
from rmcheck.stats.simultaneous import band
from rmcheck.stats.units import MIN_UNITS, Units

RESAMPLES = 400
# Bounds are two-sided at 95 %, for all suspects together.
LEVEL = 0.975
# A trait that adds less than this share to what the reward follows is none, however sure.
LEAST_BEYOND = 0.02
TIES = "ties"
# Added to variances of 1, so that a trait that a resample lacks does no harm.
_RIDGE = 1e-9


def thinned(rewards: Rewards, places: Ints) -> Rewards:
    """Some responses of a pool, of the prompts that have any of them."""
    owners = np.searchsorted(rewards.offsets, places, side="right") - 1
    return rewards.taking(places, *np.unique(owners, return_counts=True))


def find_causes(
    rewards: Rewards,
    traits: Mapping[str, Floats],
    places: Mapping[str, NDArray[np.bool_]],
    seed: int,
    baseline: Floats | None = None,
) -> tuple[CauseRecord, ...]:
    """All suspects, what is suspected first, then by the golden loss that follows them.

    Args:
        rewards: Of the candidate.
        traits: Name to (M, k) numbers of each response.
        places: Name to (P,) whether a prompt is there.
        seed: Of the resamples.
        baseline: (M,) rewards of the baseline, for its numbers beside the candidate's.

    Returns:
        None where fewer than 30 independent prompts lose anything.
    """
    if len(rewards) < MIN_UNITS:
        return ()
    picks = _Picks.of(rewards)
    if np.unique(rewards.clusters[picks.loss > 0]).size < MIN_UNITS:
        return ()
    following = _Following.of(rewards, traits, seed)
    found = [*_traits(following, picks), *_places(picks, places, seed)]
    if baseline is not None and following.names:
        other = _Following.of(replace(rewards, proxy=baseline), traits, seed)
        baselines = dict(zip(other.names, other.beyond(other.whole).tolist(), strict=True))
        found = [replace(cause, baseline=baselines.get(cause.name)) for cause in found]
    return tuple(_suspected_first(found))


def _suspected_first(found: Sequence[CauseRecord]) -> Iterator[CauseRecord]:
    """One is suspected at most: the trait that adds most, or the place where more is lost."""
    traits = [c for c in found if c.beyond is not None and _is_sure(c)]
    first = max(traits, key=lambda c: c.beyond or 0, default=None)
    sure = [c for c in found if c.beyond is None and c.lower > 0] + ([first] if first else [])
    suspect = max(sure, key=lambda c: abs(c.share), default=None)
    for cause in sorted(found, key=lambda c: (c is not suspect, -abs(c.share))):
        yield replace(cause, suspected=cause is suspect)


def _is_sure(cause: CauseRecord) -> bool:
    beyond = cause.beyond or 0.0
    sure = cause.lower > 0 or cause.upper < 0
    return sure and beyond >= LEAST_BEYOND and (cause.beyond_lower or 0) > 0 and cause.agrees


@dataclass(frozen=True, eq=False)
class _Picks:
    """The model's pick and golden's best of each prompt; ties are shared.

    Attributes:
        picked: (M,) weight of each response as the pick, 1 in all of a prompt.
        best: (M,) weight of each response as golden's best.
        loss: (P,) golden reward that the pick loses, in golden units.
        least: (P,) the same with the best choice among tied picks.
    """

    rewards: Rewards
    picked: Floats
    best: Floats
    loss: Floats
    least: Floats

    @classmethod
    def of(cls, rewards: Rewards) -> "_Picks":
        starts, counts = rewards.offsets[:-1], rewards.counts
        tops = [
            values == np.repeat(np.maximum.reduceat(values, starts), counts)
            for values in (rewards.proxy, rewards.golden)
        ]
        picked, best = (top / np.repeat(np.add.reduceat(top, starts), counts) for top in tops)
        highest = np.maximum.reduceat(rewards.golden, starts)
        among = np.where(tops[0], rewards.golden, -np.inf)
        loss = highest - np.add.reduceat(picked * rewards.golden, starts)
        least = highest - np.maximum.reduceat(among, starts)
        return cls(rewards, picked, best, loss, least)

    def gap(self, values: Floats) -> Floats:
        """(P,) a trait of the pick less that of golden's best."""
        return np.add.reduceat((self.picked - self.best) * values, self.rewards.offsets[:-1])


@dataclass(frozen=True, eq=False)
class _Following:
    """What the rewards of a model follow inside prompts: least squares on golden and all traits.

    Attributes:
        groups: Columns of each of them; column 0 is the reward, 1 is golden.
        columns: (M, q) all columns, centred in each prompt, with variance 1.
        units: Of the (q · q) sums of products, each prompt with the same weight.
    """

    names: tuple[str, ...]
    groups: tuple[tuple[int, ...], ...]
    columns: Floats
    units: Units
    seed: int

    @classmethod
    def of(cls, rewards: Rewards, traits: Mapping[str, Floats], seed: int) -> "_Following":
        starts, counts = rewards.offsets[:-1], rewards.counts
        weight = np.repeat(1 / counts, counts)
        names, groups, columns = [], [], []

        def add(values: Floats) -> bool:
            centred = values - np.repeat(np.add.reduceat(weight * values, starts), counts)
            spread = np.sqrt((weight * centred**2).sum() / len(counts))
            columns.append(centred / (spread if spread > 0 else 1.0))
            return bool(spread > 0)

        add(rewards.proxy)
        add(rewards.golden)
        for name, values in traits.items():
            first = len(columns)
            vary = [add(column) for column in values.T]
            if all(vary):
                names.append(name)
                groups.append(tuple(range(first, len(columns))))
            else:
                del columns[first:]
        table = np.stack(columns, axis=1)
        products = np.einsum("m,mi,mj->mij", weight, table, table).reshape(len(table), -1)
        sums = np.add.reduceat(products, starts, axis=0)
        units = Units.of(sums, rewards.clusters, rewards.units)
        return cls(tuple(names), tuple(groups), table, units, seed)

    @property
    def whole(self) -> Floats:
        """(q · q) sums of products."""
        return self.units.whole

    def _solved(self, totals: Floats) -> tuple[Floats, Floats, Floats]:
        """Moments, slopes on all of golden and the traits, and the inverse that gives them."""
        size = self.columns.shape[1]
        moments = totals.reshape(*totals.shape[:-1], size, size)
        inner = moments[..., 1:, 1:]
        scale = np.trace(inner, axis1=-2, axis2=-1)[..., None, None]
        inverse = np.linalg.inv(inner + _RIDGE * scale * np.eye(size - 1))
        return moments, (inverse @ moments[..., 1:, :1])[..., 0], inverse

    def beyond(self, totals: Floats) -> Floats:
        """(…, T) share of the reward's variance that goes with a trait and nothing else.

        What the variance explained by golden and all traits loses without the trait.
        """
        moments, slopes, inverse = self._solved(totals)
        found = []
        for group in self.groups:
            at = np.array(group) - 1
            slope = slopes[..., at]
            part = np.linalg.inv(inverse[..., at[:, None], at])
            found.append(np.einsum("...i,...ij,...j->...", slope, part, slope))
        return _share(np.stack(found, axis=-1), moments[..., 0, 0])

    def alone(self) -> Floats:
        """(T,) share of the reward's variance that a trait explains by itself."""
        moments, _, _ = self._solved(self.whole)
        found = []
        for group in self.groups:
            at = np.array(group)
            inner = moments[at[:, None], at]
            inner = inner + _RIDGE * np.trace(inner) * np.eye(len(at))
            shared = moments[at, 0]
            found.append(shared @ np.linalg.solve(inner, shared))
        return _share(np.array(found), moments[0, 0])

    def directions(self) -> Floats:
        """(T,) sign in which the reward follows a trait beyond the others."""
        _, slopes, _ = self._solved(self.whole)
        # Columns of a group are transforms of one number, each ascending: their sum has its sign.
        return np.array([np.sign(slopes[np.array(g) - 1].sum()) for g in self.groups])


def _share(part: Floats, whole: Floats) -> Floats:
    scale = np.where(whole > 0, whole, 1.0)
    return np.where(whole > 0, part.T / scale.T, 0.0).T


def _traits(following: _Following, picks: _Picks) -> Iterator[CauseRecord]:
    if not following.names:
        return
    rewards, seed = picks.rewards, following.seed
    first = [following.columns[:, group[-1]] for group in following.groups]
    gaps = np.stack([picks.gap(values) for values in first], axis=1)
    # A gap of rounding is none.
    sides = np.where(np.abs(gaps) > 1e-9, np.sign(gaps), 0.0)
    lost = picks.loss[:, None]
    count = len(following.names)
    sums = np.hstack([lost * (sides > 0), lost * (sides < 0), gaps, lost, np.ones_like(lost)])
    units = Units.of(sums, rewards.clusters, rewards.units)

    def more(t: Floats) -> Floats:
        return t[..., :count] / t[..., -2:-1]

    def less(t: Floats) -> Floats:
        return t[..., count : 2 * count] / t[..., -2:-1]

    def gap(t: Floats) -> Floats:
        return t[..., 2 * count : 3 * count] / t[..., -1:]

    whole, draws = units.whole, units.resampled(RESAMPLES, seed)
    shares = band(more(whole) - less(whole), more(draws) - less(draws), LEVEL)
    apart = band(gap(whole), gap(draws), LEVEL)
    totals = following.units.resampled(RESAMPLES, seed)
    beyond = band(following.beyond(following.whole), following.beyond(totals), LEVEL)
    alone, signs = following.alone(), following.directions()
    for i, name in enumerate(following.names):
        yield CauseRecord(
            name=name,
            share=float(shares.values[i]),
            lower=float(shares.lower[i]),
            upper=float(shares.upper[i]),
            more=float(more(whole)[i]),
            less=float(less(whole)[i]),
            gap=float(apart.values[i]),
            gap_lower=float(apart.lower[i]),
            gap_upper=float(apart.upper[i]),
            alone=float(alone[i]),
            beyond=float(beyond.values[i]),
            beyond_lower=float(beyond.lower[i]),
            beyond_upper=float(beyond.upper[i]),
            agrees=bool(signs[i] * shares.values[i] > 0),
        )


def _places(
    picks: _Picks, places: Mapping[str, NDArray[np.bool_]], seed: int
) -> Iterator[CauseRecord]:
    """Share of the loss that would go if a place lost no more than the others, and without ties."""
    rewards = picks.rewards
    known = {name: inside for name, inside in places.items() if inside.any() and not inside.all()}
    inside = np.array(list(known.values()), dtype=np.float64).reshape(len(known), len(rewards)).T
    lost = picks.loss[:, None]
    sums = np.hstack([inside * lost, inside, lost, picks.least[:, None], np.ones_like(lost)])
    units = Units.of(sums, rewards.clusters, rewards.units)
    count = len(known)

    def shares(t: Floats) -> Floats:
        here, size = t[..., :count], t[..., count : 2 * count]
        loss, least, all_of = t[..., -3:-2], t[..., -2:-1], t[..., -1:]
        others = (loss - here) / np.maximum(all_of - size, 1.0)
        return np.concatenate([here - size * others, loss - least], axis=-1) / loss

    found = band(shares(units.whole), shares(units.resampled(RESAMPLES, seed)), LEVEL)
    for i, name in enumerate([*known, TIES]):
        ends = float(found.lower[i]), float(found.upper[i])
        yield CauseRecord(name, float(found.values[i]), *ends)
