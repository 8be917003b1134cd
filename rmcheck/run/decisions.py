"""What the checks of all suites came to: decided at once, or at a few looks."""

from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from rmcheck.checks.verdict import Verdict
from rmcheck.errors import RmcheckError
from rmcheck.run.adaptive import AdaptiveSuite, Decision, Key, LoadedModel, one_process
from rmcheck.run.judge import Judged, decide_all, judge
from rmcheck.run.loaded import LoadedSuite
from rmcheck.run.scores import Fill, Scores
from rmcheck.run.subjects import Subjects

# A check, what was decided, and the part of its suite that it was decided on.
Found = tuple[Judged, Verdict, LoadedSuite]
# Scores what suites, or parts of them, need.
Score = Callable[[Sequence[LoadedSuite], Fill], None]


class Decisions:
    """Verdicts on the checks of suites, each suite judged once.

    Args:
        subjects: Candidate and baseline.
        scores: Scores of all models of the run.
    """

    def __init__(self, subjects: Subjects, scores: Scores) -> None:
        self._subjects = subjects
        self._scores = scores
        self._found: dict[Path, dict[Key, Found | RmcheckError]] = {}
        self._adaptive: dict[Path, AdaptiveSuite] = {}

    def of(self, loaded: LoadedSuite) -> dict[Key, Found | RmcheckError]:
        """What each check of a suite came to, or the error that it ended with.

        Raises:
            ModelError, StoreError: The scores could not be had.
        """
        path = loaded.suite.path
        if path not in self._found:
            # An adaptive suite has been judged, at its looks; once more would be one look too many.
            assert path not in self._adaptive
            found = judge(loaded, *self._subjects.pair(loaded, loaded))
            measured = {k: j for k, j in found.items() if isinstance(j, Judged)}
            verdicts = decide_all(list(measured.values()))
            pairs = zip(measured.items(), verdicts, strict=True)
            self._found[path] = {
                **{k: e for k, e in found.items() if isinstance(e, RmcheckError)},
                **{key: (judged, verdict, loaded) for (key, judged), verdict in pairs},
            }
        return self._found[path]

    def in_looks(
        self, adaptive: Sequence[LoadedSuite], whole: Sequence[LoadedSuite], score: Score
    ) -> None:
        """Take each look at all suites that are open, so that models stay loaded between looks.

        Args:
            adaptive: Suites that were not looked at before.
            whole: Other suites, scored together with the first look.
            score: Scores what a look needs.
        """
        suites = [AdaptiveSuite(loaded) for loaded in adaptive]
        self._adaptive |= {suite.loaded.suite.path: suite for suite in suites}
        with one_process(self._scores.passing.folder), closing(LoadedModel()) as model:
            still = suites
            score([*whole, *(suite.next.new for suite in still)], model.fill)
            while still := [suite for suite in still if self._look(suite)]:
                score([suite.next.new for suite in still], model.fill)
            self._scores.reports |= model.reports

    def _look(self, suite: AdaptiveSuite) -> bool:
        """Take the next look at a suite, and say whether another one is needed."""
        loaded, look = suite.loaded, suite.next
        try:
            found = judge(loaded, *self._subjects.pair(loaded, look.part), look.repeated)
        except RmcheckError as error:
            self._found[loaded.suite.path] = {p.key: error for p in loaded.planned}
            return False
        suite.decide(found)
        self._found[loaded.suite.path] = {
            key: (d.judged, d.verdict, d.look.part) if isinstance(d, Decision) else d
            for key, d in suite.decisions.items()
        }
        return suite.is_open

    def looked_at(self, loaded: LoadedSuite) -> bool:
        """Whether looks were taken at this suite, so that not all of it may have been scored."""
        suite = self._adaptive.get(loaded.suite.path)
        return suite is not None and suite.loaded is loaded

    def seen(self, loaded: LoadedSuite) -> LoadedSuite:
        """The part of a suite that its checks were decided on; the whole unless it is adaptive."""
        suite = self._adaptive.get(loaded.suite.path)
        return suite.last.part if suite and suite.last else loaded

    def looks(self, loaded: LoadedSuite, part: LoadedSuite) -> str:
        """What of the looks at a suite belongs into the signature of a check."""
        suite = self._adaptive.get(loaded.suite.path)
        if suite is None or len(suite.looks) == 1:
            return ""
        prompts = f"|prompts:{len(part.pool.prompts)}" if part is not loaded else ""
        return f"|looks:{len(suite.looks)}{prompts}"

    def spared(self, loaded: LoadedSuite) -> dict[str, Any]:
        """How much of the pool of an adaptive suite was scored; nothing for other suites."""
        suite = self._adaptive.get(loaded.suite.path)
        found = suite.data() if suite is not None else {}
        return {"adaptive": found} if found else {}
