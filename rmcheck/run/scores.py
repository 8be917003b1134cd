"""What the models of a run give for the samples of its suites: from the store, or scored now."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rmcheck.errors import RmcheckError, ScoringError, StoreError
from rmcheck.models.model import Combined, RewardModel, Sample
from rmcheck.run.loaded import LoadedSuite
from rmcheck.scoring.members import by_member, kept_or_passing, read_combined
from rmcheck.scoring.report import ScoringReport
from rmcheck.scoring.request import Request
from rmcheck.store.lock import Waiting
from rmcheck.store.parts import Provenance
from rmcheck.store.scores import ScoreStore, Store

Fill = Callable[[Sequence[Request], Store], ScoringReport]


class Scores:
    """Scores of all models of a run, each model scored once for all suites.

    Args:
        store: The `.rmcheck` folder.
        session_folder: Folder for scores that must not outlive this run, shared by its processes.
        waiting: How to wait for other processes that score the same models.
        roles: Role to model, for messages.

    Attributes:
        store_of: Where the scores of a model are kept.
        goldens: Golden RMs of the suites, by spec.
        serving: Serving engine of each suite that compares with one, by the suite's path.
        reports: What each model has scored, by its fingerprint.
    """

    def __init__(
        self,
        store: Path,
        session_folder: Path,
        waiting: Waiting | None = None,
        roles: Mapping[str, RewardModel] | None = None,
    ) -> None:
        self.kept = ScoreStore(store, waiting=waiting)
        self.passing = ScoreStore(session_folder, durable=False, waiting=waiting)
        self.store_of = kept_or_passing(self.kept, self.passing)
        self.goldens: dict[str, RewardModel] = {}
        self.serving: dict[Path, RewardModel] = {}
        self.reports: dict[str, ScoringReport] = {}
        self._roles = roles or {}
        self._failed: dict[str, RmcheckError] = {}
        self._requests: dict[tuple[str, LoadedSuite], Request] = {}

    def fill(
        self,
        judged: Sequence[tuple[RewardModel, LoadedSuite]],
        suites: Sequence[LoadedSuite],
        fill: Fill,
    ) -> None:
        """Score what is missing: golden RMs, the models in the order given, serving engines.

        Members of ensembles are scored like any model, each once. Fakes that read the golden reward
        come last. A model that fails is remembered; reading its scores raises its error.

        Args:
            judged: What is judged on which suite or part of one, the baseline before the candidate.
            suites: Those whose golden RM and serving engine are scored too.
            fill: Scores the requests of one model.
        """
        golden = [(self.goldens[s.suite.golden.model], s) for s in suites if s.suite.golden.model]
        served = [(self.serving[s.suite.path], s) for s in suites if s.suite.path in self.serving]
        uses = [*judged, *served]
        self._fill([*golden, *(use for use in uses if not use[0].reads_golden)], fill)
        self._fill([use for use in uses if use[0].reads_golden], fill)

    def _fill(self, uses: Sequence[tuple[RewardModel, LoadedSuite]], fill: Fill) -> None:
        requests = []
        for model, loaded in uses:
            try:
                requests.append(self._request(model, loaded))
            except RmcheckError:
                continue  # its golden RM failed, which the suite's checks will say
        for parts in by_member(requests):
            model = parts[0].model
            try:
                report = fill(parts, self.store_of(model))
            except ScoringError as error:
                kept = _with_kept(error, parts, self.store_of(model))
                self._failed[model.fingerprint] = self._named(kept, model)
                continue
            except RmcheckError as error:
                self._failed[model.fingerprint] = self._named(error, model)
                continue
            if report.scored or model.fingerprint not in self.reports:
                self.reports[model.fingerprint] = report

    def lacks(self, model: RewardModel, loaded: LoadedSuite) -> bool:
        """Whether a model is going to be loaded to score a suite."""
        if model.reads_golden:
            return False
        try:
            parts = [p for p in self._request(model, loaded).members if not p.model.precomputed]
            stored = [self.store_of(p.model).open(p.model.fingerprint) for p in parts]
            found = [s.lookup(p.keys, p.too_long) for s, p in zip(stored, parts, strict=True)]
        except RmcheckError:  # scoring says what is wrong
            return True
        return any(one.missing.any() for one in found)

    def _named(self, error: RmcheckError, model: RewardModel) -> RmcheckError:
        """The error, which says first which model it is about, and what that is for."""
        golden, serving = self.goldens.values(), self.serving.values()
        models = [*self._roles.items(), *(("golden", m) for m in golden)]
        models += [("serving", m) for m in serving]
        roles = [
            r for r, m in models if model.fingerprint in {one.fingerprint for one in m.members}
        ]
        text = str(error) if str(error).startswith(model.spec) else f"{model.spec}: {error}"
        error.args = (f"{' and '.join(dict.fromkeys(roles))} {text}".lstrip(), *error.args[1:])
        return error

    def _request(self, model: RewardModel, loaded: LoadedSuite) -> Request:
        key = (model.fingerprint, loaded)
        if key not in self._requests:  # a request hashes its texts once, however often it is read
            samples = self._samples(model, loaded)
            self._requests[key] = Request(model, samples, loaded.suite.too_long)
        return self._requests[key]

    def _samples(self, model: RewardModel, loaded: LoadedSuite) -> Sequence[Sample]:
        if not model.reads_golden:
            return loaded.samples
        golden = loaded.filled(self.golden(loaded))
        return [replace(s, golden=float(g)) for s, g in zip(loaded.samples, golden, strict=True)]

    def combined(self, model: RewardModel, loaded: LoadedSuite) -> Combined:
        """Rewards of a model on a suite that was filled.

        Raises:
            ModelError, StoreError: The scores could not be had.
        """
        for member in model.members:
            if member.fingerprint in self._failed:
                raise self._failed[member.fingerprint]
        return read_combined(self._request(model, loaded), self.store_of)

    def golden(self, loaded: LoadedSuite) -> NDArray[np.float64]:
        """(M',) golden rewards of a suite that was filled; NaN where a sample has none.

        Raises:
            ModelError, StoreError: A golden RM's scores could not be had.
        """
        if loaded.labels is not None:
            return loaded.labels
        spec = loaded.suite.golden.model
        assert spec is not None  # the loader gives a column or a model
        return self.combined(self.goldens[spec], loaded).rewards

    def provenance(self, model: RewardModel) -> Provenance:
        """Where the scores came from, with the page of most evidence, or pages of members."""
        if model.members != (model,):
            page = tuple(
                replace(item, name=f"{member.name}: {item.name}")
                for member in model.members
                for item in self.provenance(member).conformance
            )
            return replace(Provenance.of(model), conformance=page)
        try:
            kept = self.store_of(model).open(model.fingerprint).provenance
        except StoreError:  # told already, as the error of every check
            kept = Provenance(model.fingerprint)
        return Provenance.of(model).or_stronger(kept) if model.conformance else kept


def _with_kept(error: ScoringError, requests: Sequence[Request], store: Store) -> ScoringError:
    """The error, with how much of the work is not lost."""
    if not store.durable:
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
    told = ScoringError(
        f"{error}\n{kept:,} of {len(known):,} scores are kept; a further run scores only the rest."
    )
    told.__cause__ = error
    return told
