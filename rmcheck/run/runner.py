"""The only conductor: Plan → Filled → Found → Verdicts.

`plan` says which models judge which suites, `fill` scores what is missing, `find` measures the
checks of a suite, and `decide` gives their verdicts. Each makes a value of the one before. pytest
collects and runs one item after another, so the values of a run so far are kept here.
"""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rmcheck.checks.record import CheckRecord
from rmcheck.errors import RmcheckError
from rmcheck.metrics.regret.calibration import PastOf
from rmcheck.metrics.rewards import Rewards
from rmcheck.models.engines.http.unasked import asking
from rmcheck.models.sample import Sample
from rmcheck.probes.effect import ProbeEffect, measured_on
from rmcheck.run.adaptive import look, take_looks
from rmcheck.run.collected import Collected, SharedChecks
from rmcheck.run.decide import SuiteVerdicts, one_look
from rmcheck.run.drawings import drawings
from rmcheck.run.fill import Fill, Filled, fill, is_missing
from rmcheck.run.find import past_of
from rmcheck.run.load import load
from rmcheck.run.loaded import LoadedSuite, PlannedCheck
from rmcheck.run.plan import OPTIONS, Plan, PlannedSuite, names_of, open_given
from rmcheck.run.records import check_record, suite_record
from rmcheck.scoring.members import choose_store, read_combined
from rmcheck.scoring.scorer import fill_requests
from rmcheck.store.digests import keep_digests, recall_digests
from rmcheck.store.lock import Waiting
from rmcheck.store.parts import Provenance
from rmcheck.store.pools import KeptPools
from rmcheck.store.scores import ScoreStore
from rmcheck.wording import shown


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
        score: Scores the requests of one model, where suites are not adaptive.
        asks: False where no server is asked anything, because nothing is going to be scored.
        shares: True where other processes of the run have the same suites, each with some of their
            checks: what one of them reads the others need not read.

    Attributes:
        plan: The suites so far, and the models that judge them.
        filled: What the models have scored so far.

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
        score: Fill = fill_requests,
        asks: bool = True,
        shares: bool = False,
    ) -> None:
        recall_digests(store)
        given = (candidate, baseline, golden, serving)
        with asking(asks):
            models = open_given(dict(zip(OPTIONS, given, strict=True)), bases, compares=compares)
        self.plan = Plan(models, compares, shown_relative_to)
        kept = ScoreStore(store, waiting=waiting)
        passing = ScoreStore(session_folder, durable=False, waiting=waiting)
        self.filled = Filled(choose_store(kept, passing))
        self._verdicts: dict[Path, SuiteVerdicts] = {}
        self._is_filled = False
        self._store, self._session = kept.folder, passing.folder
        self._score, self._asks, self._bases = score, asks, bases
        self._pools = KeptPools(store, session_folder if shares else None)
        self._shared = SharedChecks(session_folder) if shares else None
        self._probed: dict[tuple[Path, str], LoadedSuite] = {}
        self._later: dict[Path, None] = {}  # suites of the run that this process has not read

    # -- plan ---------------------------------------------------------------------------------

    def add(self, path: Path) -> LoadedSuite:
        """Read a suite and its pool, once.

        Raises:
            SuiteError, PoolError: A file is wrong, or the suite's golden RM or serving engine
                cannot be opened.
            UsageError: A check compares with a serving engine and none was given.
        """
        path = path.resolve()
        if path not in self.plan.suites:
            loaded = load(path, self._pools.read)
            with asking(self._asks):
                self.plan = self.plan.adding(path, loaded)
            self._later.pop(path, None)
            self._is_filled = False
        return self.plan.suites[path].loaded

    def expect(self, path: Path) -> None:
        """Read a suite now, or, where other processes may be the ones that need it, when it is."""
        if self._shared is None:
            self.add(path)
        elif path.resolve() not in self.plan.suites:
            self._later[path.resolve()] = None

    def planned(self, path: Path) -> Collected:
        """A suite and its checks."""
        if self._shared is None:
            return self._found_out(path)
        self.expect(path)
        return self._shared.of(path.resolve(), lambda: self._found_out(path))

    def _found_out(self, path: Path) -> Collected:
        loaded = self.add(path)
        self._pools.share()
        return loaded.suite, loaded.planned

    # -- fill ---------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Score what all suites need, and decide the adaptive ones on the way.

        A model that fails is remembered and does not keep the others back; suites that need it
        raise its error when they are judged.
        """
        if self._is_filled:
            return
        self._read_the_rest()
        self._is_filled = True
        suites = self.plan.suites.values()
        whole = [suite for suite in suites if not self._in_looks(suite)]
        adaptive = [suite for suite in suites if self._in_looks(suite)]
        if still := [suite for suite in adaptive if suite.path not in self._verdicts]:
            self.filled, decided = take_looks(still, whole, self.filled, self._session)
            self._verdicts |= {verdicts.loaded.suite.path: verdicts for verdicts in decided}
        else:
            self.filled = fill(whole, self.filled, self._score)

    def _read_the_rest(self) -> None:
        """Read also the suites of other processes where a model is going to be loaded."""
        uses = [(suite, role) for suite in self.plan.suites.values() for role in suite.models]
        if self._later and any(is_missing(*use, self.filled) for use in uses):
            for path in list(self._later):
                with suppress(RmcheckError):  # reported where their checks are judged
                    self.add(path)

    def _in_looks(self, suite: PlannedSuite) -> bool:
        return suite.loaded.suite.adaptive and self.plan.compares

    def rewards(self, loaded: LoadedSuite, role: str) -> Rewards:
        """Rewards of the candidate or the baseline on the pool of a suite.

        Raises:
            ModelError, StoreError: The scores could not be had.
        """
        suite = self.plan.suites[loaded.suite.path]
        if known := self.filled.known(suite, role):
            return known.rewards
        model = self.plan.model(role)
        self.prepare()
        if self._in_looks(suite):  # looks may have left out some of it
            self.filled = fill([suite], self.filled, self._score)
        if role not in suite.models:
            suite = suite.asking(role, model)
            self.filled = fill([suite], self.filled, self._score, roles=[role])
        return self.filled.reading(suite, role).rewards

    def probed(self, loaded: LoadedSuite, effect: ProbeEffect, role: str) -> Rewards:
        """Rewards that a probe is measured on: those of a suite's pool and of its edited responses.

        Raises:
            ModelError, StoreError: The scores could not be had.
        """
        self.rewards(loaded, role)
        key = (loaded.suite.path, effect.edited_column)
        part = self._probed.setdefault(key, loaded.probing(effect))
        suite = self.plan.suites[loaded.suite.path].on(part).asking(role, self.plan.model(role))
        self.filled = fill([suite], self.filled, self._score, roles=[role])
        reading = self.filled.reading(suite, role)
        return measured_on(effect, reading.rewards, reading.answers)

    def past(self, loaded: LoadedSuite) -> PastOf:
        """What predictions for the candidate on a suite may be calibrated on."""
        return past_of(self.plan.suites[loaded.suite.path], "candidate")

    def scores(self) -> tuple[list[Sample], NDArray[np.float64], Provenance]:
        """Scores of the candidate on the samples of all suites, for a bundle.

        Raises:
            ModelError, StoreError: The scores could not be had.
        """
        self.prepare()
        suites = self.plan.suites.values()
        requests = [r for suite in suites for r in self.filled.requests(suite, "candidate")]
        scores = [read_combined(request, self.filled.scored).rewards for request in requests]
        samples = [sample for request in requests for sample in request.samples]
        provenance = self.filled.provenance(self.plan.models["candidate"])
        return samples, np.concatenate([np.zeros(0), *scores]), provenance

    # -- find and decide ----------------------------------------------------------------------

    def record(self, planned: PlannedCheck, *, node: str) -> CheckRecord:
        """One check, decided together with all checks of its suite.

        Raises:
            UndefinedMetricError: The check's metric is undefined on these rewards.
            BaselineError: The check compares with a baseline and none was given.
            ModelError, StoreError: The scores could not be had.
        """
        suite = self.plan.suites[self.add(planned.suite.path).suite.path]
        self.prepare()
        if suite.path not in self._verdicts:
            whole = SuiteVerdicts(suite.loaded, one_look(suite.loaded))
            self._verdicts[suite.path] = look(suite, whole, self.filled)
        verdicts = self._verdicts[suite.path]
        decided = verdicts.decided[planned.key]
        if isinstance(decided, RmcheckError):
            raise decided
        part = decided.look.part
        return check_record(
            decided,
            suite.on(part),
            self.filled,
            node=node,
            path=shown(suite.path, self.plan.root),
            identity=suite.identity + suite.served_by(planned) + verdicts.signature(part),
        )

    # -- what people see ----------------------------------------------------------------------

    def header(self) -> list[str]:
        """Which models are compared, and where scores are kept."""
        if not self.plan.models:
            return ["rmcheck: no model; all checks are of logs of RL runs"]
        names = names_of(self.plan.models)
        named = [
            f"{role} {names[role]} ({m.fingerprint[:8].strip()})"
            for role, m in self.plan.models.items()
        ]
        return [
            f"rmcheck: {', '.join(named)}",
            f"rmcheck: store {shown(self._store, self.plan.root)}",
        ]

    def model_names(self, planned: PlannedCheck) -> dict[str, str]:
        """Role to what its model is called, the serving engine of the check's suite included."""
        models = self.plan.suites[planned.suite.path].models
        serving = {role: model for role, model in models.items() if role == "serving"}
        return names_of({**self.plan.models, **serving})

    def options(self) -> list[str]:
        """Command-line options that name the models of this run; the ini file names its own."""
        typed = {role: model for role, model in self.plan.models.items() if role not in self._bases}
        return [f"--rmcheck-{OPTIONS[role]}={model.spec}" for role, model in typed.items()]

    def scoring_lines(self) -> list[str]:
        """What was scored, a line a model."""
        return [str(report) for report in self.filled.reports.values()]

    def suite_data(self, *, drawn: bool = False) -> list[dict[str, Any]]:
        """`SuiteRecord` of every suite as plain data, and what looks have spared."""
        return [self._suite_data(suite, drawn) for suite in self.plan.suites.values()]

    def _suite_data(self, suite: PlannedSuite, drawn: bool) -> dict[str, Any]:
        verdicts = self._verdicts.get(suite.path)
        seen = verdicts.seen if verdicts else suite.loaded
        spared = verdicts.spared() if verdicts and self._in_looks(suite) else {}
        data = suite_record(suite, seen, self.filled, self.plan.root).as_dict()
        shapes = drawings(suite, self.filled) if drawn else {}
        further = {"adaptive": spared, "drawings": shapes}
        return data | {name: value for name, value in further.items() if value}

    def close(self) -> None:
        """Keep what was found out about files."""
        keep_digests(self._store)
        self._pools.keep()
