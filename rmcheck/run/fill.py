"""Scoring what suites need, each model once for all of them, and reading it back."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from rmcheck.errors import RmcheckError, ScoringError, StoreError
from rmcheck.metrics.rewards import Rewards
from rmcheck.metrics.serving import SERVING
from rmcheck.models.model import RewardModel
from rmcheck.models.sample import Sample
from rmcheck.probes.effect import measured_on
from rmcheck.probes.texts import ProbeTexts
from rmcheck.run.loaded import LoadedSuite
from rmcheck.run.plan import PlannedSuite
from rmcheck.scoring.members import StoreOf, by_member, read_combined
from rmcheck.scoring.progress import followed_by
from rmcheck.scoring.report import ScoringReport
from rmcheck.scoring.request import Request
from rmcheck.scoring.scorer import fill_requests
from rmcheck.store.parts import Provenance
from rmcheck.store.scores import Store
from rmcheck.suite.suite import Check

# Scores the requests of one model.
Fill = Callable[[Sequence[Request], Store], ScoringReport]
# Golden comes first, since others may repeat it; the candidate stays the last that a gate loads.
ORDER = ("golden", "baseline", "candidate", "serving")
# Whose rewards probes are about.
PROBED = ("baseline", "candidate")


@dataclass(frozen=True)
class ModelRewards:
    """What a model gave for a suite.

    Attributes:
        warning: What a reader of these rewards must know; empty if nothing.
        answers: Probe to its rewards of the answers to that probe's own questions.
    """

    rewards: Rewards
    warning: str
    answers: Mapping[str, Rewards] = field(default_factory=dict)

    def on(self, check: Check) -> Rewards:
        """The rewards that a check is measured on.

        Raises:
            UndefinedMetricError: The model has no such component.
        """
        return check.view.of(measured_on(check.metric, self.rewards, self.answers))


@dataclass(frozen=True, eq=False)
class Filled:
    """What the models of a run have scored, and what they could not.

    Scores that are there never change, so what was read of them is kept.

    Attributes:
        store_of: Where the scores of a model are kept.
        reports: What each model has scored, by its fingerprint.
        errors: Why a model has no scores, by its fingerprint.
    """

    store_of: StoreOf
    reports: Mapping[str, ScoringReport] = field(default_factory=dict)
    errors: Mapping[str, RmcheckError] = field(default_factory=dict)
    _requests: dict[tuple[str, LoadedSuite | ProbeTexts], Request] = field(
        default_factory=dict, repr=False
    )
    _readings: dict[tuple[str, LoadedSuite], ModelRewards] = field(default_factory=dict, repr=False)

    def then(
        self, reports: Mapping[str, ScoringReport], errors: Mapping[str, RmcheckError]
    ) -> "Filled":
        """With what was done later; a model that had nothing left to score keeps its report."""
        news = {k: r for k, r in reports.items() if r.scored or k not in self.reports}
        return replace(self, reports={**self.reports, **news}, errors={**self.errors, **errors})

    def request(self, suite: PlannedSuite, role: str, probed: ProbeTexts | None = None) -> Request:
        """What the model of a role must score of a pool, or for its probes; hashed once.

        Raises:
            ModelError, StoreError: It repeats the golden reward, and that could not be had.
        """
        model, loaded, texts = suite.models[role], suite.loaded, probed or suite.loaded
        key = (model.fingerprint, texts)
        if key not in self._requests:
            samples: Sequence[Sample] = texts.samples
            if model.reads_golden:
                golden = self.golden(suite)
                samples = texts.with_golden(golden[loaded.is_labelled] if probed else golden)
            self._requests[key] = Request(model, samples, loaded.suite.too_long)
        return self._requests[key]

    def requests(self, suite: PlannedSuite, role: str) -> list[Request]:
        """All that the model of a role must score for a suite: its pool, and edits of probes."""
        probed = suite.loaded.probed if role in PROBED else None
        return [self.request(suite, role), *([self.request(suite, role, probed)] if probed else [])]

    def scored(self, model: RewardModel) -> Store:
        """Where the scores of a model are, which is no ensemble.

        Raises:
            ModelError, StoreError: It has none.
        """
        if model.fingerprint in self.errors:
            raise self.errors[model.fingerprint]
        return self.store_of(model)

    def golden(self, suite: PlannedSuite) -> NDArray[np.float64]:
        """(M',) golden rewards of a suite; NaN where a sample has none.

        Raises:
            ModelError, StoreError: A golden RM's scores could not be had.
        """
        if (labels := suite.loaded.labels) is not None:
            return labels
        return read_combined(self.request(suite, "golden"), self.scored).rewards

    def known(self, suite: PlannedSuite, role: str) -> ModelRewards | None:
        """What was read before, if it was."""
        return self._readings.get((role, suite.loaded))

    def reading(self, suite: PlannedSuite, role: str) -> ModelRewards:
        """Rewards of the candidate or the baseline on a suite, or on a part of one.

        Raises:
            ModelError, StoreError: The scores could not be had.
        """
        if known := self.known(suite, role):
            return known
        loaded, combined = suite.loaded, read_combined(self.request(suite, role), self.scored)
        found = loaded.rewards(combined.rewards, self.golden(suite))
        own = dict(combined.columns)
        if "serving" in suite.models and role == "candidate":
            own[SERVING] = read_combined(self.request(suite, "serving"), self.scored).rewards
        labelled = {name: values[loaded.is_labelled] for name, values in own.items()}
        answers: Mapping[str, Rewards] = {}
        if loaded.probed:
            request = self.request(suite, role, loaded.probed)
            scores = read_combined(request, self.scored).rewards
            labelled |= loaded.probed.columns(scores)
            answers = loaded.probed.answers(scores)
        rewards = replace(found, columns={**found.columns, **labelled})
        read = ModelRewards(rewards, combined.warning, answers)
        self._readings[role, loaded] = read
        return read

    def provenance(self, model: RewardModel) -> Provenance:
        """Where the scores came from, with the page of most evidence, or pages of members."""
        if model.is_ensemble:
            page = tuple(
                replace(item, name=f"{member.name}: {item.name}")
                for member in model.members
                for item in self.provenance(member).conformance
            )
            return replace(Provenance.opened(model), conformance=page)
        try:
            return self.store_of(model).open(model.fingerprint).provenance
        except StoreError:  # reported already, as the error of every check
            return Provenance(model.fingerprint)


def fill(
    suites: Sequence[PlannedSuite],
    filled: Filled,
    score: Fill = fill_requests,
    *,
    roles: Sequence[str] = ORDER,
) -> Filled:
    """Score what is missing of suites, or of parts of them.

    Members of ensembles are scored like any model, each once. Fakes that read the golden reward
    come last. A model that fails is remembered and does not keep the others back; reading its
    scores raises its error.
    """
    for fakes in (False, True):
        reports: dict[str, ScoringReport] = {}
        errors: dict[str, RmcheckError] = {}
        all_parts = by_member(_requests(suites, roles, filled, fakes))
        for i, parts in enumerate(all_parts, 1):
            model = parts[0].model
            try:
                with followed_by(partial(_lacking, all_parts[i:], filled)):
                    reports[model.fingerprint] = score(parts, filled.store_of(model))
            except RmcheckError as error:
                kept = _with_kept(error, parts, filled.store_of(model))
                errors[model.fingerprint] = _named(kept, model, suites)
        filled = filled.then(reports, errors)
    return filled


def _requests(
    suites: Sequence[PlannedSuite], roles: Sequence[str], filled: Filled, fakes: bool
) -> Iterator[Request]:
    """What models are asked that read the golden reward (`fakes`), or that do not."""
    for role in roles:
        for suite in suites:
            if role in suite.models and suite.models[role].reads_golden == fakes:
                try:
                    yield from filled.requests(suite, role)
                except RmcheckError:
                    continue  # its golden RM failed, which the suite's checks will say


def _lacking(later: Sequence[Sequence[Request]], filled: Filled) -> list[str]:
    """Models that have something left to score, as far as that is known now."""
    with suppress(RmcheckError):  # reported when its turn comes
        return [one[0].model.spec for one in later if any(_lacks(part, filled) for part in one)]
    return []


def _lacks(part: Request, filled: Filled) -> bool:
    """Whether a model computes something for this that the store does not know."""
    if part.model.precomputed:
        return False
    scores = filled.store_of(part.model).open(part.model.fingerprint)
    return bool(scores.lookup(part.keys, part.too_long).missing.any())


def is_missing(suite: PlannedSuite, role: str, filled: Filled) -> bool:
    """Whether a model is going to be loaded to score a suite."""
    if suite.models[role].reads_golden:
        return False
    try:
        for part in (p for request in filled.requests(suite, role) for p in request.members):
            if _lacks(part, filled):
                return True
    except RmcheckError:  # scoring says what is wrong
        return True
    return False


def _named(error: RmcheckError, model: RewardModel, suites: Sequence[PlannedSuite]) -> RmcheckError:
    """The error, which says first which model it is about, and what that is for."""
    roles = [
        role
        for role in ("candidate", "baseline", "golden", "serving")
        for suite in suites
        if role in suite.models
        and model.fingerprint in {one.fingerprint for one in suite.models[role].members}
    ]
    text = str(error) if str(error).startswith(model.spec) else f"{model.spec}: {error}"
    error.args = (f"{' and '.join(dict.fromkeys(roles))} {text}".lstrip(), *error.args[1:])
    return error


def _with_kept(error: RmcheckError, requests: Sequence[Request], store: Store) -> RmcheckError:
    """An error of scoring, with how much of the work is not lost."""
    if not isinstance(error, ScoringError) or not store.durable:
        return error
    try:
        scores = store.open(requests[0].model.fingerprint)
    except StoreError:
        return error
    known: dict[bytes, bool] = {}
    for request in requests:
        missing = scores.lookup(request.keys, request.too_long).missing.tolist()
        known |= {key: not gone for key, gone in zip(request.keys.tolist(), missing, strict=True)}
    kept = sum(known.values())
    if not kept:
        return error
    counted = ScoringError(
        f"{error}\n{kept:,} of {len(known):,} scores are kept; a further run scores only the rest."
    )
    counted.__cause__ = error
    return counted
