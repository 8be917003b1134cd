"""Suites and models of one run."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from rmcheck.checks.record import CheckRecord, ModelRecord, PoolRecord, SuiteRecord
from rmcheck.checks.verdict import Verdict
from rmcheck.errors import BaselineError, RmcheckError, StoreError, SuiteError, UsageError
from rmcheck.metrics.rewards import Rewards
from rmcheck.models.model import RewardModel, Sample
from rmcheck.models.registry import open_model
from rmcheck.pool.faults import fault_counts
from rmcheck.runner.judge import Judged, decide_all, judge, record, shown
from rmcheck.runner.loaded import LoadedSuite, PlannedCheck, load
from rmcheck.runner.scorer import Scorer
from rmcheck.scoring.report import ScoringReport
from rmcheck.scoring.request import Request, read_scores
from rmcheck.scoring.scorer import fill_requests
from rmcheck.store.parts import Provenance
from rmcheck.store.scores import ScoreStore, Store
from rmcheck.suite.locate import suite_problem

Role = Literal["candidate", "baseline", "golden"]
OPTIONS = {"candidate": "model", "baseline": "baseline", "golden": "golden"}


class Runner:
    """Everything one run judges.

    Models are opened at once, which reads no weights, and loaded one after another when the first
    check needs them.

    Args:
        candidate: Spec of the model under test.
        baseline: Spec of the model it is compared with, or None.
        golden: Spec of the golden RM for tests that ask for one, or None. Suites name their own.
        store: The `.rmcheck` folder.
        session_folder: Folder for scores that must not outlive this run, shared by its processes.
        shown_relative_to: Paths below this folder are shown relative to it.
        compares: False where nothing is judged, so that a missing baseline is no error.

    Raises:
        UsageError: A model cannot be opened.
    """

    def __init__(
        self,
        *,
        candidate: str,
        baseline: str | None = None,
        golden: str | None = None,
        store: Path,
        session_folder: Path,
        shown_relative_to: Path,
        compares: bool = True,
    ) -> None:
        given = {"candidate": candidate, "baseline": baseline, "golden": golden}
        self.models: dict[str, RewardModel] = {
            role: open_model(spec) for role, spec in given.items() if spec is not None
        }
        self._store = ScoreStore(store)
        self._session_store = ScoreStore(session_folder, durable=False)
        self._root = shown_relative_to
        self._compares = compares
        self._suites: dict[Path, LoadedSuite] = {}
        self._goldens: dict[str, RewardModel] = {}
        self._reports: dict[str, ScoringReport] = {}
        self._failed: dict[str, RmcheckError] = {}
        self._judged: dict[Path, dict[tuple[str, str], tuple[Judged, Verdict] | RmcheckError]] = {}
        self._scorers: dict[str, Scorer] = {}
        self._requests: dict[tuple[str, Path], Request] = {}
        self._prepared = False

    # -- suites ---------------------------------------------------------------------------

    def add(self, path: Path) -> LoadedSuite:
        """Read a suite and its pool, once.

        Raises:
            SuiteError, PoolError: A file is wrong, or the suite's golden RM cannot be opened.
            BaselineError: A check compares with a baseline and none was given.
        """
        path = path.resolve()
        if path not in self._suites:
            loaded = load(path)
            self._require_baseline(loaded)
            spec = loaded.suite.golden.model
            if spec is not None and spec not in self._goldens:
                try:
                    self._goldens[spec] = open_model(spec)
                except RmcheckError as error:
                    problem = suite_problem(loaded.suite, str(error), "golden", "model")
                    raise SuiteError([problem]) from error
            self._suites[path] = loaded
            self._prepared = False
        return self._suites[path]

    def _require_baseline(self, loaded: LoadedSuite) -> None:
        names = [check.name for check in loaded.suite.checks if check.needs_baseline]
        if names and self._compares and not self.has("baseline"):
            raise BaselineError(
                f"{shown(loaded.suite.path, self._root)}: {', '.join(names)} "
                f"compare{'s' if len(names) == 1 else ''} with a baseline, and none was given.\n"
                "  Give one with --rmcheck-baseline=SCHEME:LOCATION, or set rmcheck_baseline in "
                "the ini file."
            )

    def has(self, role: str) -> bool:
        """Whether a model of this role was given."""
        return role in self.models

    # -- scores ---------------------------------------------------------------------------

    def prepare(self) -> None:
        """Score what all suites need: golden RMs, then the baseline, then the candidate.

        A model that fails is remembered and does not keep the others back; suites that need it
        raise its error when they are judged.
        """
        if self._prepared:
            return
        self._prepared = True
        for spec, model in self._goldens.items():
            suites = [s for s in self._suites.values() if s.suite.golden.model == spec]
            self._fill(model, [self._request(model, s) for s in suites])
        for role in ("baseline", "candidate"):
            if role in self.models:
                self._fill_role(self.models[role])

    def _fill_role(self, model: RewardModel) -> None:
        requests = []
        for loaded in self._suites.values():
            try:
                requests.append(self._request(model, loaded))
            except RmcheckError:
                continue  # its golden RM failed, which the suite's checks will say
        self._fill(model, requests)

    def _samples(self, model: RewardModel, loaded: LoadedSuite) -> Sequence[Sample]:
        if not model.reads_golden:
            return loaded.samples
        golden = self._golden(loaded)
        return [replace(s, golden=float(g)) for s, g in zip(loaded.samples, golden, strict=True)]

    def _request(self, model: RewardModel, loaded: LoadedSuite) -> Request:
        key = (model.fingerprint, loaded.suite.path)
        if key not in self._requests:  # a request hashes its texts once, however often it is read
            samples = tuple(self._samples(model, loaded))
            self._requests[key] = Request(model, samples, loaded.suite.too_long)
        return self._requests[key]

    def _fill(self, model: RewardModel, requests: Sequence[Request]) -> None:
        if not requests:
            return
        try:
            self._reports[model.fingerprint] = fill_requests(requests, self._store_of(model))
        except RmcheckError as error:
            self._failed[model.fingerprint] = error

    def _store_of(self, model: RewardModel) -> Store:
        return self._store if model.kept else self._session_store

    def _scores(self, model: RewardModel, loaded: LoadedSuite) -> NDArray[np.float64]:
        self.prepare()
        if model.fingerprint in self._failed:
            raise self._failed[model.fingerprint]
        return read_scores(self._request(model, loaded), self._store_of(model)).scores

    def _golden(self, loaded: LoadedSuite) -> NDArray[np.float64]:
        if loaded.labels is not None:
            return loaded.labels
        spec = loaded.suite.golden.model
        assert spec is not None  # the loader gives a column or a model
        model = self._goldens[spec]
        if model.fingerprint in self._failed:
            raise self._failed[model.fingerprint]
        return read_scores(self._request(model, loaded), self._store_of(model)).scores

    def rewards(self, loaded: LoadedSuite, role: str) -> Rewards:
        """Rewards of the candidate or the baseline on the pool of a suite.

        Raises:
            ModelError, StoreError: The scores could not be had.
        """
        model = self._model(role)
        proxy = self._scores(model, loaded)
        return loaded.rewards(proxy, self._golden(loaded))

    def score(self) -> tuple[list[Sample], NDArray[np.float64], Provenance]:
        """Scores of the candidate on the samples of all suites, for a bundle.

        Raises:
            ModelError, StoreError: The scores could not be had.
        """
        model = self.models["candidate"]
        suites = list(self._suites.values())
        scores = [self._scores(model, loaded) for loaded in suites]
        samples = [sample for loaded in suites for sample in loaded.samples]
        provenance = self._store_of(model).open(model.fingerprint).provenance
        return samples, np.concatenate([np.zeros(0), *scores]), provenance

    def scoring_lines(self) -> list[str]:
        """What was scored, a line a model."""
        return [str(report) for report in self._reports.values()]

    def scorer(self, role: str) -> Scorer:
        """The model of this role, for tests that score texts of their own.

        Raises:
            UsageError: No such model was given; says the option.
        """
        if role not in self._scorers:
            model = self._model(role)
            self._scorers[role] = Scorer(model, self._store_of(model))
        return self._scorers[role]

    def _model(self, role: str) -> RewardModel:
        if role not in self.models:
            option = f"--rmcheck-{OPTIONS[role]}"
            raise UsageError(f"no {role} model was given. Give one with {option}=SCHEME:LOCATION.")
        return self.models[role]

    # -- verdicts -------------------------------------------------------------------------

    def record(self, planned: PlannedCheck, *, node: str) -> CheckRecord:
        """One check, decided together with all checks of its suite.

        Raises:
            UndefinedMetricError: The check's metric is undefined on these rewards.
            ModelError, StoreError: The scores could not be had.
        """
        loaded = self._suites[planned.suite.path.resolve()]
        found = self._decided(loaded)[planned.key]
        if isinstance(found, RmcheckError):
            raise found
        return record(
            *found,
            loaded,
            self.rewards(loaded, "candidate"),
            node=node,
            path=shown(loaded.suite.path, self._root),
            identity=self._identity(loaded),
        )

    def _decided(
        self, loaded: LoadedSuite
    ) -> dict[tuple[str, str], tuple[Judged, Verdict] | RmcheckError]:
        path = loaded.suite.path.resolve()
        if path not in self._judged:
            baseline = self.rewards(loaded, "baseline") if self.has("baseline") else None
            found = judge(loaded, self.rewards(loaded, "candidate"), baseline)
            measured = {k: j for k, j in found.items() if isinstance(j, Judged)}
            verdicts = decide_all(list(measured.values()))
            pairs = zip(measured.items(), verdicts, strict=True)
            self._judged[path] = {
                **{k: e for k, e in found.items() if isinstance(e, RmcheckError)},
                **{key: (judged, verdict) for (key, judged), verdict in pairs},
            }
        return self._judged[path]

    def _identity(self, loaded: LoadedSuite) -> str:
        parts = [f"data:{loaded.fingerprint[:8]}"]
        parts += [f"{role}:{m.fingerprint[:8]}" for role, m in self._models_of(loaded).items()]
        return "|".join(parts)

    def _models_of(self, loaded: LoadedSuite) -> dict[str, RewardModel]:
        spec = loaded.suite.golden.model
        golden = {"golden": self._goldens[spec]} if spec is not None else {}
        judged = {r: m for r, m in self.models.items() if r in ("candidate", "baseline")}
        return judged | golden

    # -- what people see ------------------------------------------------------------------

    def header(self) -> list[str]:
        """Which models are compared, and where scores are kept."""
        named = [f"{role} {m.name} ({m.fingerprint[:8]})" for role, m in self.models.items()]
        return [
            f"rmcheck: {', '.join(named)}",
            f"rmcheck: store {shown(self._store.folder, self._root)}",
        ]

    def model_names(self) -> dict[str, str]:
        """Role to the name of its model."""
        return {role: model.name for role, model in self.models.items()}

    def options(self) -> list[str]:
        """Command-line options that name the models of this run."""
        return [f"--rmcheck-{OPTIONS[role]}={model.spec}" for role, model in self.models.items()]

    def suite_data(self) -> list[dict[str, Any]]:
        """`SuiteRecord` of every suite, as plain data."""
        return [self._suite_record(loaded).as_dict() for loaded in self._suites.values()]

    def _suite_record(self, loaded: LoadedSuite) -> SuiteRecord:
        models = self._models_of(loaded)
        return SuiteRecord(
            name=loaded.suite.name,
            path=shown(loaded.suite.path, self._root),
            golden=loaded.suite.golden.model or f"column {loaded.suite.golden.column}",
            pool=self._pool_record(loaded),
            models=tuple(self._model_record(role, model) for role, model in models.items()),
            resamples=loaded.sampling.resamples,
            seed=loaded.sampling.seed,
        )

    def _pool_record(self, loaded: LoadedSuite) -> PoolRecord:
        pool = loaded.pool
        return PoolRecord(
            path=shown(pool.path, self._root),
            format=pool.format,
            fingerprint=loaded.fingerprint,
            rows_read=pool.rows_read,
            prompts=len(pool.prompts),
            responses=len(loaded.samples),
            units=loaded.units,
            faults={
                str(kind): {str(a): n for a, n in c.items()}
                for kind, c in fault_counts(pool).items()
            },
        )

    def _model_record(self, role: str, model: RewardModel) -> ModelRecord:
        provenance = self._provenance(model)
        report = self._reports.get(model.fingerprint)
        page = model.conformance or provenance.conformance
        return ModelRecord(
            role=role,
            spec=model.spec,
            name=model.name,
            fingerprint=model.fingerprint,
            description=dict(model.description or provenance.description or {}),
            conformance=tuple(asdict(item) for item in page),
            scoring=asdict(report) if report else {},
        )

    def _provenance(self, model: RewardModel) -> Provenance:
        try:
            return self._store_of(model).open(model.fingerprint).provenance
        except StoreError:  # told already, as the error of every check
            return Provenance(model.fingerprint)

    def close(self) -> None:
        """Release models that tests kept loaded."""
        for scorer in self._scorers.values():
            scorer.close()
