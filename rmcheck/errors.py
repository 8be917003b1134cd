"""Every exception a user of rmcheck can meet.

All under RmcheckError:

* UsageError                  a wrong option or call              -> pytest exit 4, command 2
  - UnknownModelError         no such scheme or location
  - MissingDependencyError    says the pip command
  - BaselineError             asked for and not there
* SuiteError                  a suite file is wrong               -> collection error, exit 2
* PoolError                   a pool file is wrong                -> collection error, exit 2
  - NoSuchClusterError        no row has the field that `cluster` names
* ModelError                  a reward model cannot be trusted    -> error of its checks
  - ConformanceError          it failed its proof at load
  - ScoringError              wrong count, NaN, infinite, too long
    PartialScoringError       some texts of a batch; carries the scores of the others
* UndefinedMetricError        nothing to compute a metric from    -> error of that check
* StoreError                  scores cannot be read or written    -> error of its checks
"""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from rmcheck.wording import printable_lines

# Of one file; more are counted.
SHOWN_PROBLEMS = 50
# Longer words are no slip of the fingers; nobody chooses from more.
LONGEST_WORD, MOST_WORDS = 200, 1000


class RmcheckError(Exception):
    """Base of all errors that rmcheck raises on purpose; shown without a traceback.

    As text it is `printable_lines`, whatever the files and servers that it quotes say.
    """

    def __str__(self) -> str:
        return printable_lines(super().__str__())


class UsageError(RmcheckError, ValueError):
    """An option or an argument is wrong, before any work was done."""


class UnknownModelError(UsageError):
    """No reward model answers to this `scheme:location`."""


class MissingDependencyError(UsageError):
    """An optional package is needed; the message says the command that installs it."""


class BaselineError(UsageError):
    """A check compares with a baseline and none was given."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a file: where, what, and what instead.

    Args:
        path: The file as the user named it.
        message: One or two sentences that show the offending value.
        line: 1-based line, or 0 where a line makes no sense (Parquet).
        column: 1-based column, or 0 when unknown.
        excerpt: Source lines to show under the message, already drawn; may be empty.
    """

    path: str
    message: str
    line: int = 0
    column: int = 0
    excerpt: str = ""

    def __str__(self) -> str:
        where = self.path
        if self.line:
            where += f":{self.line}"
            if self.column:
                where += f":{self.column}"
        text = f"{where}: {self.message}"
        return f"{text}\n\n{self.excerpt}" if self.excerpt else text


class FileError(RmcheckError):
    """A file is wrong; `problems` holds everything found in it, in file order."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__(self._text())

    def _text(self) -> str:
        shown = "\n\n".join(str(problem) for problem in self.problems[:SHOWN_PROBLEMS])
        if len(self.problems) < 2:
            return shown
        paths = sorted({problem.path for problem in self.problems})
        first = f"; these are the first {SHOWN_PROBLEMS}" * (len(self.problems) > SHOWN_PROBLEMS)
        return f"{shown}\n\n{len(self.problems)} problems in {', '.join(paths)}{first}"


class SuiteError(FileError):
    """A suite file is wrong."""


class PoolError(FileError):
    """A pool file is wrong."""


class NoSuchClusterError(PoolError):
    """No row of a pool has the field that `cluster` names."""


class ModelError(RmcheckError):
    """A reward model cannot be loaded or trusted."""


class ConformanceError(ModelError):
    """A scorer failed its proof at load (see `rmcheck.models.proof.conformance`)."""


class ScoringError(ModelError):
    """Scores came back that no metric may use: wrong count, NaN, infinite, or a text too long."""


class PartialScoringError(ScoringError):
    """Some texts of a batch have no score, and the others have: theirs are not lost.

    Args:
        message: Which texts, and why.
        rewards: Position in the batch to reward, of the texts that have one.
        goes_on: Whether other batches may still be scored; False when the model is gone.
    """

    def __init__(self, message: str, rewards: Mapping[int, float], *, goes_on: bool) -> None:
        super().__init__(message)
        self.rewards = dict(rewards)
        self.goes_on = goes_on


class UndefinedMetricError(RmcheckError, ValueError):
    """A metric cannot be computed from these rewards; the message says what it needs."""


class StoreError(RmcheckError):
    """Stored scores cannot be read or written."""


def bug_text(error: BaseException, traceback: str) -> str:
    """What to say where an exception that is none of ours comes out."""
    if isinstance(error, MemoryError):
        return "memory ran out"
    said = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return printable_lines(
        f"a bug in rmcheck: {said}\n"
        f"Please report it, with what was run and the traceback that {traceback} shows."
    )


def nearest(word: str, valid: Iterable[str]) -> str | None:
    """The valid word that was probably meant, if any is near."""
    if len(word) > LONGEST_WORD:
        return None
    words = list(islice(valid, MOST_WORDS))
    close = difflib.get_close_matches(word, words, n=1)
    # A word cut short is far from the whole one, and clear where only one begins so.
    longer = [one for one in words if len(word) >= 3 and one.startswith(word)]
    return close[0] if close else longer[0] if len(longer) == 1 else None


def near_miss(word: str, valid: Iterable[str]) -> str:
    """` Did you mean 'x'?`, or nothing when no valid word is near; follows a full stop."""
    near = nearest(word, valid)
    return f" Did you mean {near!r}?" if near else ""
