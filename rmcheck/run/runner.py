"""Suites and models of one run."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from rmcheck.checks.record import CheckRecord
from rmcheck.errors import RmcheckError, UsageError
from rmcheck.metrics.rewards import Rewards
from rmcheck.models.engines.http.unasked import asking
from rmcheck.models.model import RewardModel, Sample
from rmcheck.models.registry import open_model
from rmcheck.run.decisions import Decisions
from rmcheck.run.judge import Subject, record, shown
from rmcheck.run.loaded import LoadedSuite, PlannedCheck, load
from rmcheck.run.opening import (
    ANOTHER,
    open_golden,
    open_serving,
    require_another,
)
from rmcheck.run.plans import Planned, SharedPlans
from rmcheck.run.scorer import Scorer
from rmcheck.run.scores import Fill, Scores
from rmcheck.run.serving import names_apart, require_two_engines
from rmcheck.run.subjects import Subjects
from rmcheck.run.suite_record import suite_record
from rmcheck.scoring.scorer import fill_requests
from rmcheck.store.digests import keep_digests, recall_digests
from rmcheck.store.lock import Waiting
from rmcheck.store.parts import Provenance
from rmcheck.store.pools import KeptPools

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
        candidate: Spec of the model under test; None where only logs are judged.
        baseline: Spec of the model it is compared with, or None.
        golden: Spec of the golden RM for tests that ask for one, or None. Suites name their own.
        serving: Spec of the engine that checks of serving parity compare with, in the place of
            what suites name; None where suites name their own.
        bases: Role to the folder that relative paths in its spec start from, where that is the
            folder of an ini file and not the current one.
        store: The `.rmcheck` folder.
        session_folder: Folder for scores that must not outlive this run, shared by its processes.
        shown_relative_to: Paths below this folder are shown relative to it.
        compares: False where nothing is judged, so that no serving engine is asked.
        waiting: How to wait for other processes that score the same models.
        fill: Scores the requests of one model, where suites are not adaptive.
        asks: False where no server is asked anything, because nothing is going to be scored.
        shares: True where other processes of the run have the same suites, each with some of their
            checks: what one of them reads the others need not read.

    Raises:
        UsageError: A model cannot be opened, or the candidate stands in a second role too.
    """

    def __init__(
        self,
        *,
        candidate: str | None,
        baseline: str | None = None,
        golden: str | None = None,
        serving: str | None = None,
        bases: Mapping[str, Path] = MappingProxyType({}),
        store: Path,
        session_folder: Path,
        shown_relative_to: Path,
        compares: bool = True,
        waiting: Waiting | None = None,
        fill: Fill = fill_requests,
        asks: bool = True,
        shares: bool = False,
    ) -> None:
        given = {
            "candidate": candidate,
            "baseline": baseline,
            "golden": golden,
            "serving": serving,
        }
        recall_digests(store)
        self._pools = KeptPools(store, session_folder if shares else None)
        self._plans = SharedPlans(session_folder) if shares else None
        self._later: dict[Path, None] = {}  # suites of the run that this process has not read
        with asking(asks):
            self.models: dict[str, RewardModel] = {
                role: open_model(spec, base=bases.get(role))
                for role, spec in given.items()
                if spec is not None
            }
        self._asks = asks
        if "serving" in self.models:
            require_two_engines(self.models["candidate"], self.models["serving"])
        for role in self.models.keys() & ANOTHER.keys() if compares else ():
            require_another(self.models["candidate"], self.models[role], role)
        self._scores = Scores(store, session_folder, waiting, self.models)
        self._root = shown_relative_to
        self._bases = bases
        self._compares = compares
        self._fill = fill
        self._suites: dict[Path, LoadedSuite] = {}
        self._subjects = Subjects(self.models, self._scores)
        self._decisions = Decisions(self._subjects, self._scores)
        self._scorers: dict[str, Scorer] = {}
        self._prepared = False

    # -- suites ---------------------------------------------------------------------------

    def add(self, path: Path) -> LoadedSuite:
        """Read a suite and its pool, once.

        Raises:
            SuiteError, PoolError: A file is wrong, or the suite's golden RM or serving engine
                cannot be opened.
            UsageError: A check compares with a serving engine and none was given.
        """
        path = path.resolve()
        if path not in self._suites:
            loaded = load(path, self._pools.read)
            with asking(self._asks):
                self._open_golden(loaded)
                self._open_serving(loaded)
            self._suites[path] = loaded
            self._later.pop(path, None)
            self._prepared = False
        return self._suites[path]

    def expect(self, path: Path) -> None:
        """Read a suite now, or, where other processes may be the ones that need it, when it is.

        Raises:
            SuiteError, PoolError, UsageError: See `add`.
        """
        if self._plans is None:
            self.add(path)
        elif path.resolve() not in self._suites:
            self._later[path.resolve()] = None

    def planned(self, path: Path) -> Planned:
        """A suite and its checks.

        Raises:
            SuiteError, PoolError, UsageError: See `add`.
        """
        if self._plans is None:
            return self._found_out(path)
        self.expect(path)
        return self._plans.of(path.resolve(), lambda: self._found_out(path))

    def _found_out(self, path: Path) -> Planned:
        loaded = self.add(path)
        self._pools.share()
        return loaded.suite, loaded.planned

    def _open_golden(self, loaded: LoadedSuite) -> None:
        spec = loaded.suite.golden.model
        if spec is not None and spec not in self._scores.goldens:
            candidate = self.models["candidate"] if self._compares else None
            self._scores.goldens[spec] = open_golden(loaded, spec, candidate)

    def _open_serving(self, loaded: LoadedSuite) -> None:
        """Note the engine that a suite compares with; a suite that does not ask is not sent."""
        if self._compares and (loaded.suite.serving or loaded.serving_checks):
            path = loaded.suite.path
            self._scores.serving[path] = self.models.get("serving") or open_serving(
                loaded, self.models["candidate"], shown=shown(path, self._root)
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
        self._read_the_rest()
        self._prepared = True
        whole = [s for s in self._suites.values() if not self._is_adaptive(s)]
        adaptive = [s for s in self._suites.values() if self._is_adaptive(s)]
        if undecided := [s for s in adaptive if not self._decisions.looked_at(s)]:
            self._decisions.in_looks(undecided, whole, self._score)
        else:
            self._score(whole, self._fill)

    def _read_the_rest(self) -> None:
        """Read also the suites of other processes where a model is going to be loaded."""
        goldens = self._scores.goldens.values()
        uses = [(m, s) for m in (*self.models.values(), *goldens) for s in self._suites.values()]
        if self._later and any(self._scores.lacks(model, loaded) for model, loaded in uses):
            for path in list(self._later):
                with suppress(RmcheckError):  # told where their checks are judged
                    self.add(path)

    def _is_adaptive(self, loaded: LoadedSuite) -> bool:
        return loaded.suite.adaptive and self._compares

    def _score(self, suites: Sequence[LoadedSuite], fill: Fill) -> None:
        """Score suites, or parts of them; with the baseline only where a check compares with it."""
        candidate, baseline = self.models["candidate"], self.models.get("baseline")
        compared = [(baseline, loaded) for loaded in suites if baseline and loaded.compares]
        self._scores.fill([*compared, *((candidate, loaded) for loaded in suites)], suites, fill)

    def rewards(self, loaded: LoadedSuite, role: str) -> Rewards:
        """Rewards of the candidate or the baseline on the pool of a suite.

        Raises:
            ModelError, StoreError: The scores could not be had.
        """
        known = self._subjects.known(loaded, role)
        if known is not None:
            return known
        model = self._model(role)
        self._complete(loaded)
        if role == "baseline" and not loaded.compares:
            self._scores.fill([(model, loaded)], [], self._fill)
        return self._subjects.rewards(loaded, role)

    def _complete(self, loaded: LoadedSuite) -> None:
        """Score what the looks at an adaptive suite have left out."""
        self.prepare()
        if self._decisions.looked_at(loaded):
            self._score([loaded], self._fill)

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
            BaselineError: The check compares with a baseline and none was given.
            ModelError, StoreError: The scores could not be had.
        """
        loaded = self.add(planned.suite.path)
        self.prepare()
        found = self._decisions.of(loaded)[planned.key]
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
            identity=self._subjects.identity(loaded)
            + self._subjects.served_by(planned)
            + self._decisions.looks(loaded, part),
        )

    def subject(self, loaded: LoadedSuite, role: str) -> Subject:
        """The candidate or the baseline on the whole pool of a suite.

        Raises:
            ModelError, StoreError: The scores could not be had.
        """
        self.rewards(loaded, role)
        return self._subjects.one(loaded, loaded, role)

    # -- what people see ------------------------------------------------------------------

    def header(self) -> list[str]:
        """Which models are compared, and where scores are kept."""
        if not self.models:
            return ["rmcheck: no model; all checks are of logs of RL runs"]
        names = _names(self.models)
        named = [
            f"{role} {names[role]} ({m.fingerprint[:8].strip()})" for role, m in self.models.items()
        ]
        return [
            f"rmcheck: {', '.join(named)}",
            f"rmcheck: store {shown(self._scores.kept.folder, self._root)}",
        ]

    def model_names(self, planned: PlannedCheck) -> dict[str, str]:
        """Role to what its model is called, the serving engine of the check's suite included."""
        serving = self._scores.serving.get(planned.suite.path)
        return _names(self.models if serving is None else {**self.models, "serving": serving})

    def options(self) -> list[str]:
        """Command-line options that name the models of this run; the ini file names its own."""
        typed = {role: model for role, model in self.models.items() if role not in self._bases}
        return [f"--rmcheck-{OPTIONS[role]}={model.spec}" for role, model in typed.items()]

    def suite_data(self) -> list[dict[str, Any]]:
        """`SuiteRecord` of every suite, as plain data."""
        return [
            self._suite_data(loaded) | self._decisions.spared(loaded)
            for loaded in self._suites.values()
        ]

    def _suite_data(self, loaded: LoadedSuite) -> dict[str, Any]:
        seen = self._decisions.seen(loaded)
        return suite_record(loaded, seen, self._subjects, self._scores, self._root).as_dict()

    def close(self) -> None:
        """Release models that tests kept loaded, and keep what was found out about files."""
        keep_digests(self._scores.kept.folder)
        self._pools.keep()
        for scorer in self._scorers.values():
            scorer.close()


def _names(models: Mapping[str, RewardModel]) -> dict[str, str]:
    """Role to what its model is called among these."""
    return dict(zip(models, names_apart(list(models.values())), strict=True))
