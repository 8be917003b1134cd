"""Suites and models of one run."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from rmcheck.checks.record import CheckRecord, ModelRecord, PoolRecord, SuiteRecord
from rmcheck.checks.verdict import Verdict
from rmcheck.errors import BaselineError, RmcheckError, UsageError
from rmcheck.metrics.rewards import Rewards
from rmcheck.metrics.serving import SERVING
from rmcheck.models.model import RewardModel, Sample
from rmcheck.models.registry import open_model
from rmcheck.pool.faults import fault_counts
from rmcheck.runner.adaptive import AdaptiveSuite, Decision, Key, LoadedModel, one_process
from rmcheck.runner.disagreement import ensemble_remarks
from rmcheck.runner.judge import Judged, Subject, decide_all, judge, record, shown
from rmcheck.runner.loaded import LoadedSuite, PlannedCheck, load
from rmcheck.runner.opening import open_golden, open_serving
from rmcheck.runner.past import past_of
from rmcheck.runner.scorer import Scorer
from rmcheck.runner.scores import Fill, Scores
from rmcheck.runner.serving import require_two_engines
from rmcheck.scoring.scorer import fill_requests
from rmcheck.store.lock import Waiting
from rmcheck.store.parts import Provenance

Role = Literal["candidate", "baseline", "golden", "serving"]
OPTIONS = {
    "candidate": "model",
    "baseline": "baseline",
    "golden": "golden",
    "serving": "serving",
}


class Runner:
    """Everything one run judges.

    Models are opened at once, which reads no weights, and loaded one after another when the first
    check needs them.

    Args:
        candidate: Spec of the model under test.
        baseline: Spec of the model it is compared with, or None.
        golden: Spec of the golden RM for tests that ask for one, or None. Suites name their own.
        serving: Spec of the engine that checks of serving parity compare with, in the place of
            what suites name; None where suites name their own.
        store: The `.rmcheck` folder.
        session_folder: Folder for scores that must not outlive this run, shared by its processes.
        shown_relative_to: Paths below this folder are shown relative to it.
        compares: False where nothing is judged, so that a missing baseline is no error and no
            serving engine is asked.
        waiting: How to wait for other processes that score the same models.
        fill: Scores the requests of one model, where suites are not adaptive.

    Raises:
        UsageError: A model cannot be opened, or the serving engine is the candidate.
    """

    def __init__(
        self,
        *,
        candidate: str,
        baseline: str | None = None,
        golden: str | None = None,
        serving: str | None = None,
        store: Path,
        session_folder: Path,
        shown_relative_to: Path,
        compares: bool = True,
        waiting: Waiting | None = None,
        fill: Fill = fill_requests,
    ) -> None:
        given = {
            "candidate": candidate,
            "baseline": baseline,
            "golden": golden,
            "serving": serving,
        }
        self.models: dict[str, RewardModel] = {
            role: open_model(spec) for role, spec in given.items() if spec is not None
        }
        if "serving" in self.models:
            require_two_engines(self.models["candidate"], self.models["serving"])
        self._scores = Scores(store, session_folder, waiting)
        self._root = shown_relative_to
        self._compares = compares
        self._fill = fill
        self._suites: dict[Path, LoadedSuite] = {}
        self._judged: dict[Path, dict[Key, tuple[Judged, Verdict, LoadedSuite] | RmcheckError]] = {}
        self._adaptive: dict[Path, AdaptiveSuite] = {}
        self._scorers: dict[str, Scorer] = {}
        self._rewards: dict[tuple[str, LoadedSuite], Rewards] = {}
        self._warnings: dict[tuple[str, LoadedSuite], str] = {}
        self._prepared = False

    # -- suites ---------------------------------------------------------------------------

    def add(self, path: Path) -> LoadedSuite:
        """Read a suite and its pool, once.

        Raises:
            SuiteError, PoolError: A file is wrong, or the suite's golden RM or serving engine
                cannot be opened.
            BaselineError: A check compares with a baseline and none was given.
            UsageError: A check compares with a serving engine and none was given.
        """
        path = path.resolve()
        if path not in self._suites:
            loaded = load(path)
            self._require_baseline(loaded)
            self._open_golden(loaded)
            self._open_serving(loaded)
            self._suites[path] = loaded
            self._prepared = False
        return self._suites[path]

    def _open_golden(self, loaded: LoadedSuite) -> None:
        spec = loaded.suite.golden.model
        if spec is not None and spec not in self._scores.goldens:
            self._scores.goldens[spec] = open_golden(loaded, spec)

    def _open_serving(self, loaded: LoadedSuite) -> None:
        """Note the engine that a suite compares with; a suite that does not ask is not sent."""
        if self._compares and (loaded.suite.serving or loaded.serving_checks):
            path = loaded.suite.path
            self._scores.serving[path] = self.models.get("serving") or open_serving(
                loaded, self.models["candidate"], shown=shown(path, self._root)
            )

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
        """Score what all suites need, and decide the adaptive ones on the way.

        A model that fails is remembered and does not keep the others back; suites that need it
        raise its error when they are judged.
        """
        if self._prepared:
            return
        self._prepared = True
        whole = [s for s in self._suites.values() if not self._is_adaptive(s)]
        adaptive = [s for s in self._suites.values() if self._is_adaptive(s)]
        undecided = [AdaptiveSuite(s) for s in adaptive if s.suite.path not in self._adaptive]
        if undecided:
            self._decide_in_looks(whole, undecided)
        else:
            self._score(whole, self._fill)

    def _is_adaptive(self, loaded: LoadedSuite) -> bool:
        return loaded.suite.adaptive and self._compares

    def _decide_in_looks(
        self, whole: Sequence[LoadedSuite], adaptive: Sequence[AdaptiveSuite]
    ) -> None:
        """Take each look at all suites that are open, so that models stay loaded between looks."""
        self._adaptive |= {suite.loaded.suite.path: suite for suite in adaptive}
        with one_process(self._scores.passing.folder), closing(LoadedModel()) as model:
            still = list(adaptive)
            self._score([*whole, *(suite.next.new for suite in still)], model.fill)
            while still := [suite for suite in still if self._look(suite)]:
                self._score([suite.next.new for suite in still], model.fill)
            self._scores.reports |= model.reports

    def _look(self, suite: AdaptiveSuite) -> bool:
        """Take the next look at a suite, and say whether another one is needed."""
        loaded, look = suite.loaded, suite.next
        try:
            found = judge(loaded, *self._subjects(loaded, look.part), look.repeated)
        except RmcheckError as error:
            self._judged[loaded.suite.path] = {p.key: error for p in loaded.planned}
            return False
        suite.decide(found)
        self._judged[loaded.suite.path] = {
            key: (d.judged, d.verdict, d.look.part) if isinstance(d, Decision) else d
            for key, d in suite.decisions.items()
        }
        return suite.is_open

    def _score(self, suites: Sequence[LoadedSuite], fill: Fill) -> None:
        roles = [self.models[role] for role in ("baseline", "candidate") if role in self.models]
        self._scores.fill(roles, suites, fill)

    def rewards(self, loaded: LoadedSuite, role: str) -> Rewards:
        """Rewards of the candidate or the baseline on the pool of a suite.

        Raises:
            ModelError, StoreError: The scores could not be had.
        """
        key = (role, loaded)
        if key not in self._rewards:
            self._complete(loaded)
            combined = self._scores.combined(self._model(role), loaded)
            found = loaded.rewards(combined.rewards, self._scores.golden(loaded))
            columns = {**found.columns, **combined.columns}
            serving = self._scores.serving.get(loaded.suite.path)
            if serving is not None and role == "candidate":
                columns[SERVING] = self._scores.combined(serving, loaded).rewards
            self._rewards[key] = replace(found, columns=columns)
            self._warnings[key] = combined.warning
        return self._rewards[key]

    def _complete(self, loaded: LoadedSuite) -> None:
        """Score what the looks at an adaptive suite have left out."""
        self.prepare()
        adaptive = self._adaptive.get(loaded.suite.path)
        if adaptive is not None and loaded is adaptive.loaded:
            self._score([loaded], self._fill)

    def _seen(self, loaded: LoadedSuite) -> LoadedSuite:
        """The part of a suite that its checks were decided on; the whole unless it is adaptive."""
        adaptive = self._adaptive.get(loaded.suite.path)
        return adaptive.last.part if adaptive and adaptive.last else loaded

    def score(self) -> tuple[list[Sample], NDArray[np.float64], Provenance]:
        """Scores of the candidate on the samples of all suites, for a bundle.

        Raises:
            ModelError, StoreError: The scores could not be had.
        """
        self.prepare()
        model = self.models["candidate"]
        suites = list(self._suites.values())
        scores = [self._scores.combined(model, loaded).rewards for loaded in suites]
        samples = [sample for loaded in suites for sample in loaded.samples]
        return samples, np.concatenate([np.zeros(0), *scores]), self._scores.provenance(model)

    def scoring_lines(self) -> list[str]:
        """What was scored, a line a model."""
        return [str(report) for report in self._scores.reports.values()]

    def scorer(self, role: str) -> Scorer:
        """The model of this role, for tests that score texts of their own.

        Raises:
            UsageError: No such model was given; says the option.
        """
        if role not in self._scorers:
            model = self._model(role)
            self._scorers[role] = Scorer(model, self._scores.store_of)
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
        judged, verdict, part = found
        return record(
            judged,
            verdict,
            part,
            self.rewards(part, "candidate"),
            node=node,
            path=shown(loaded.suite.path, self._root),
            identity=self._identity(loaded)
            + self._served_by(planned)
            + self._looked_at(loaded, part),
        )

    def _decided(
        self, loaded: LoadedSuite
    ) -> dict[Key, tuple[Judged, Verdict, LoadedSuite] | RmcheckError]:
        path = loaded.suite.path
        self.prepare()
        if path not in self._judged:
            # An adaptive suite has been judged, at its looks; once more would be one look too many.
            assert path not in self._adaptive
            found = judge(loaded, *self._subjects(loaded, loaded))
            measured = {k: j for k, j in found.items() if isinstance(j, Judged)}
            verdicts = decide_all(list(measured.values()))
            pairs = zip(measured.items(), verdicts, strict=True)
            self._judged[path] = {
                **{k: e for k, e in found.items() if isinstance(e, RmcheckError)},
                **{key: (judged, verdict, loaded) for (key, judged), verdict in pairs},
            }
        return self._judged[path]

    def _looked_at(self, loaded: LoadedSuite, part: LoadedSuite) -> str:
        """What of the looks at a suite belongs into the signature of a check."""
        suite = self._adaptive.get(loaded.suite.path)
        if suite is None or len(suite.looks) == 1:
            return ""
        prompts = f"|prompts:{len(part.pool.prompts)}" if part is not loaded else ""
        return f"|looks:{len(suite.looks)}{prompts}"

    def _subjects(self, loaded: LoadedSuite, part: LoadedSuite) -> tuple[Subject, Subject | None]:
        """Candidate and baseline, as they are judged on a part of a suite."""
        baseline = self._subject(loaded, part, "baseline") if self.has("baseline") else None
        return self._subject(loaded, part, "candidate"), baseline

    def subject(self, loaded: LoadedSuite, role: str) -> Subject:
        """The candidate or the baseline on the whole pool of a suite.

        Raises:
            ModelError, StoreError: The scores could not be had.
        """
        return self._subject(loaded, loaded, role)

    def _subject(self, loaded: LoadedSuite, part: LoadedSuite, role: str) -> Subject:
        spec = loaded.suite.golden.model
        past = past_of(
            loaded,
            golden=self._scores.goldens[spec].fingerprint if spec else _golden_source(loaded),
            identity=self._identity(loaded),
            fingerprint=self.models[role].fingerprint,
        )
        return Subject(self.rewards(part, role), past)

    def _identity(self, loaded: LoadedSuite) -> str:
        parts = [f"data:{loaded.fingerprint[:8]}"]
        parts += [f"{role}:{m.fingerprint[:8]}" for role, m in self._models_of(loaded).items()]
        return "|".join(parts)

    def _served_by(self, planned: PlannedCheck) -> str:
        """What of the serving engine belongs into the signature of a check: nothing for most."""
        if SERVING not in planned.check.metric.columns:
            return ""
        return f"|serving:{self._scores.serving[planned.suite.path].fingerprint[:8]}"

    def _models_of(self, loaded: LoadedSuite) -> dict[str, RewardModel]:
        spec = loaded.suite.golden.model
        golden = {"golden": self._scores.goldens[spec]} if spec is not None else {}
        judged = {r: m for r, m in self.models.items() if r in ("candidate", "baseline")}
        return judged | golden

    # -- what people see ------------------------------------------------------------------

    def header(self) -> list[str]:
        """Which models are compared, and where scores are kept."""
        named = [f"{role} {m.name} ({m.fingerprint[:8]})" for role, m in self.models.items()]
        return [
            f"rmcheck: {', '.join(named)}",
            f"rmcheck: store {shown(self._scores.kept.folder, self._root)}",
        ]

    def model_names(self) -> dict[str, str]:
        """Role to the name of its model."""
        return {role: model.name for role, model in self.models.items()}

    def options(self) -> list[str]:
        """Command-line options that name the models of this run."""
        return [f"--rmcheck-{OPTIONS[role]}={model.spec}" for role, model in self.models.items()]

    def suite_data(self) -> list[dict[str, Any]]:
        """`SuiteRecord` of every suite, as plain data."""
        return [
            self._suite_record(loaded).as_dict() | self._spared(loaded)
            for loaded in self._suites.values()
        ]

    def _spared(self, loaded: LoadedSuite) -> dict[str, Any]:
        """How much of the pool of an adaptive suite was scored; nothing for other suites."""
        suite = self._adaptive.get(loaded.suite.path)
        found = suite.data() if suite is not None else {}
        return {"adaptive": found} if found else {}

    def _suite_record(self, loaded: LoadedSuite) -> SuiteRecord:
        models = self._models_of(loaded)
        serving = self._scores.serving.get(loaded.suite.path)
        if serving is not None:
            models["serving"] = serving
        return SuiteRecord(
            name=loaded.suite.name,
            path=shown(loaded.suite.path, self._root),
            golden=_golden_source(loaded),
            pool=self._pool_record(loaded),
            models=tuple(
                record
                for role, model in models.items()
                for record in self._model_records(role, model, loaded)
            ),
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

    def _model_records(
        self, role: str, model: RewardModel, loaded: LoadedSuite
    ) -> Iterator[ModelRecord]:
        """The model, with what its rewards on this suite showed, and the members of an ensemble."""
        shown = self._model_record(role, model)
        seen = self._seen(loaded)
        rewards = self._rewards.get((role, seen))
        remarks = ensemble_remarks(rewards, loaded.sampling) if rewards else {}
        if warning := self._warnings.get((role, seen)):
            remarks["warning"] = warning
        yield replace(shown, description={**shown.description, **remarks})
        if model.members != (model,):
            yield from (self._model_record(f"{role} member", member) for member in model.members)

    def _model_record(self, role: str, model: RewardModel) -> ModelRecord:
        provenance = self._scores.provenance(model)
        report = self._scores.reports.get(model.fingerprint)
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

    def close(self) -> None:
        """Release models that tests kept loaded."""
        for scorer in self._scorers.values():
            scorer.close()


def _golden_source(loaded: LoadedSuite) -> str:
    """Where golden comes from, in words."""
    return loaded.suite.golden.model or f"column {loaded.suite.golden.column}"
