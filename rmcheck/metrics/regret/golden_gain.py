"""What best-of-n by golden itself would gain, from a few labels a prompt.

Five labels do not hold the best of 64, so golden needs a model; one that knows where golden ends,
since grades and verifiers cannot rise for ever. Prompts fall into a few classes, each with its own
distribution of golden (a latent-class model, fitted by expectation maximisation); where golden has
two values, a prompt's share of the better one follows a beta distribution, as in the extrapolation
of pass@k. The model says by how much the gain grows between the m labels that every prompt has, at
which it is measured, and n.

Every number comes with the influence of each prompt on it, so that a bootstrap over prompts knows
the error of the fit as well.
"""

from dataclasses import dataclass

import numpy as np

from rmcheck.metrics.best_of_n import best_of_n_gains
from rmcheck.metrics.rewards import Floats, Ints

# More distinct golden rewards than these are put into as many bins, to tell the classes apart. The
# gain of a class comes from the golden rewards themselves.
LEVELS, BINS = 20, 16
MOST_CLASSES = 8
ROUNDS, CHANGE = 200, 0.01
# Golden rewards that every class is given of those of all prompts, so that none is impossible.
PRIOR = 0.5
# Share of the information of complete data that is added to that of the sample, where classes can
# hardly be told apart.
STEADY = 0.02


@dataclass(frozen=True)
class Labels:
    """Golden rewards of P prompts.

    Attributes:
        golden: (M,) golden rewards, all prompts one after another.
        row: (M,) number of the prompt of each, ascending from 0.
        weight: (M,) for how many labelled responses each stands; they add up to the number of
            labels of a prompt, or to fewer where they stand for unlike many.
        at_random: Whether every response of a prompt had the same chance of a label.
    """

    golden: Floats
    row: Ints
    weight: Floats
    at_random: bool

    @property
    def prompts(self) -> int:
        """P."""
        return int(self.row[-1]) + 1

    def totals(self, values: Floats) -> Floats:
        """(P,) sums of (M,) values over the responses of each prompt."""
        found: Floats = np.bincount(self.row, values, self.prompts).astype(np.float64)
        return found


@dataclass(frozen=True)
class GoldenGain:
    """Golden's gain over the prompt's mean, per prompt.

    Attributes:
        per_prompt: (P,) the mean plus each prompt's influence on it; their mean is the gain.
        modelled: (P,) the same by the model alone, which what is measured does not correct.
        note: How it was found.
    """

    per_prompt: Floats
    modelled: Floats
    note: str


def golden_gain(labels: Labels, n: int) -> GoldenGain:
    """Gain of the best of n by golden, in golden units.

    Args:
        labels: Golden rewards of the prompts.
        n: Responses drawn, 2 or more.
    """
    least = int(np.bincount(labels.row, minlength=labels.prompts).min())
    if labels.at_random and n <= least:
        gain = _measured(labels, n)
        return GoldenGain(gain, gain, f"golden's own gain is measured at n={n}")
    levels = np.unique(labels.golden)
    if levels.size == 1:
        gain = np.zeros(labels.prompts)
        return GoldenGain(gain, gain, "golden is constant")
    model = _two_values if levels.size == 2 else _classes
    found, name = model(labels, (least, n))
    few, modelled = found
    note = f"golden's own gain by {name}"
    if not labels.at_random:
        return GoldenGain(modelled, modelled, note)
    measured = _measured(labels, least)
    growth = modelled.mean() / few.mean()
    influence = (modelled - modelled.mean() - growth * (few - few.mean())) / few.mean()
    gain = measured * growth + measured.mean() * influence
    return GoldenGain(gain, modelled, f"{note} beyond n={least}")


def _measured(labels: Labels, n: int) -> Floats:
    """(P,) gain of the best of n among the labelled responses of each prompt."""
    counts = np.bincount(labels.row, minlength=labels.prompts)
    start = np.cumsum(counts) - counts
    out = np.zeros(labels.prompts)
    for k in np.unique(counts):
        rows = np.flatnonzero(counts == k)
        golden = labels.golden[start[rows][:, None] + np.arange(k)]
        out[rows] = best_of_n_gains(golden, golden, n)[:, 1]
    return out


def _two_values(labels: Labels, at: tuple[int, ...]) -> tuple[list[Floats], str]:
    """Per n, (P,) gains of a beta-binomial model."""
    from scipy.optimize import minimize
    from scipy.special import betaln, digamma

    low, high = np.unique(labels.golden)
    size = labels.totals(labels.weight)
    better = labels.totals(labels.weight * (labels.golden == high))

    def scores(a: float, b: float) -> Floats:
        """(P, 2) derivative of each prompt's log-likelihood by ln a and ln b."""
        both = digamma(a + b) - digamma(size + a + b)
        by_a = digamma(better + a) - digamma(a) + both
        by_b = digamma(size - better + b) - digamma(b) + both
        return np.stack([a * by_a, b * by_b], axis=1)

    def loss(logs: Floats) -> tuple[float, Floats]:
        a, b = np.exp(logs)
        terms = betaln(better + a, size - better + b) - betaln(a, b)
        return -float(terms.sum()), -scores(a, b).sum(axis=0)

    found = minimize(loss, np.zeros(2), jac=True, method="L-BFGS-B", bounds=[(-7, 9)] * 2)
    a, b = np.exp(found.x)
    own = scores(a, b)
    information = own.T @ own + STEADY * np.eye(2)
    out = []
    for n in at:
        missed = np.exp(betaln(a, b + n) - betaln(a, b))
        mean = a / (a + b)
        # Derivatives of 1 − missed − mean by ln a and ln b.
        by_a = -missed * a * (digamma(a + b) - digamma(a + b + n)) - a * b / (a + b) ** 2
        by_b = (
            -missed * b * (digamma(b + n) - digamma(b) + digamma(a + b) - digamma(a + b + n))
            + a * b / (a + b) ** 2
        )
        slope = np.linalg.solve(information, np.array([by_a, by_b]))
        out.append((high - low) * (1 - missed - mean + labels.prompts * own @ slope))
    return out, "a beta-binomial model"


@dataclass(frozen=True)
class _Classes:
    """A latent-class model.

    Attributes:
        share: (K,) shares of the classes.
        profile: (K, X) distribution of the bins in each class.
        member: (P, K) probability of each prompt to belong to each class.
        counts: (P, X) labels of each prompt in each bin.
        fit: Akaike's criterion; lower is better.
    """

    share: Floats
    profile: Floats
    member: Floats
    counts: Floats
    fit: float


def _classes(labels: Labels, at: tuple[int, ...]) -> tuple[list[Floats], str]:
    """Per n, (P,) gains of the latent-class model with the best number of classes."""
    counts = _binned(labels)
    model = _fitted(counts, 1)
    for number in range(2, min(MOST_CLASSES, labels.prompts // 10) + 1):
        finer = _fitted(counts, number)
        if finer.fit >= model.fit:
            break
        model = finer
    information, scores = _information(model)
    out = []
    for n in at:
        by_member = _class_gains(labels, model, n)
        mean = (model.member * by_member).sum(axis=1)
        moved = model.member * (by_member - mean[:, None]) / labels.prompts
        slope = np.linalg.solve(information, _along(model, moved).sum(axis=0))
        out.append(mean + labels.prompts * scores @ slope)
    number = len(model.share)
    return out, f"{number} latent class{'' if number == 1 else 'es'}"


def _binned(labels: Labels) -> Floats:
    """(P, X) weight of the labels of each prompt in each bin of golden rewards."""
    levels = np.unique(labels.golden)
    if levels.size > LEVELS:
        inner = np.linspace(0, 1, BINS + 1)[1:-1]
        levels = np.unique(np.quantile(labels.golden, inner))
        place = np.searchsorted(levels, labels.golden, side="right")
    else:
        place = np.searchsorted(levels, labels.golden)
    size = int(place.max()) + 1
    flat = np.bincount(labels.row * size + place, labels.weight, labels.prompts * size)
    return flat.reshape(labels.prompts, size).astype(np.float64)


def _fitted(counts: Floats, number: int) -> _Classes:
    """Expectation maximisation, begun with prompts grouped by their mean."""
    from scipy.stats import rankdata

    prompts, bins = counts.shape
    mean = counts @ np.arange(bins) / counts.sum(axis=1)
    group = np.minimum(number - 1, (rankdata(mean) * number / (prompts + 1)).astype(int))
    member = np.eye(number)[group]
    prior = PRIOR * counts.sum(axis=0) / counts.sum()
    before = -np.inf
    for _ in range(ROUNDS):
        share = (member.sum(axis=0) + 1) / (prompts + number)
        profile = member.T @ counts + prior
        profile /= profile.sum(axis=1, keepdims=True)
        logs = counts @ np.log(np.maximum(profile, 1e-12)).T + np.log(share)
        top = logs.max(axis=1, keepdims=True)
        member = np.exp(logs - top)
        total = member.sum(axis=1, keepdims=True)
        member /= total
        likelihood = float((top + np.log(total)).sum())
        if likelihood - before < CHANGE:
            break
        before = likelihood
    parameters = number - 1 + number * (bins - 1)
    return _Classes(share, profile, member, counts, 2 * (parameters - likelihood))


def _along(model: _Classes, change: Floats) -> Floats:
    """(P, K + K X) what a (P, K) change of the log odds of the classes is in the parameters."""
    expected = model.counts.sum(axis=1)[:, None, None] * model.profile
    bins = change[:, :, None] * (model.counts[:, None, :] - expected)
    return np.hstack([change, bins.reshape(len(change), -1)])


def _information(model: _Classes) -> tuple[Floats, Floats]:
    """Information about the parameters, and (P, K + K X) scores of the prompts."""
    scores = _along(model, model.member)
    scores[:, : len(model.share)] -= model.share
    labels = model.member.T @ model.counts.sum(axis=1)
    complete = np.concatenate([model.member.sum(axis=0), (labels[:, None] * model.profile).ravel()])
    return scores.T @ scores + np.diag(STEADY * complete + 1e-9), scores


def _class_gains(labels: Labels, model: _Classes, n: int) -> Floats:
    """(P, K) what the gain would be if all prompts were like this one in this class.

    Their mean over prompts, each in its classes, is the gain.
    """
    order = np.argsort(labels.golden, kind="stable")
    golden, row = labels.golden[order], labels.row[order]
    weight = model.member[row] * labels.weight[order][:, None]
    total = np.maximum(weight.sum(axis=0), 1e-300)
    weight = weight / total
    upto = np.minimum(np.cumsum(weight, axis=0), 1.0)
    gain = golden @ np.diff(upto**n, axis=0, prepend=0) - golden @ weight
    gap = np.diff(golden, append=golden[-1])[:, None]
    influence = -np.cumsum((gap * n * upto ** (n - 1))[::-1], axis=0)[::-1] - golden[:, None]
    influence -= (weight * influence).sum(axis=0)
    own = np.zeros_like(model.member)
    np.add.at(own, row, labels.weight[order][:, None] * influence)
    size = model.member.mean(axis=0)
    return np.asarray(gain + own * (size * labels.prompts / total))
