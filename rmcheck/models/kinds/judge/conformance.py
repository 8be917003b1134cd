"""What a judge must prove before its verdicts count."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from rmcheck.errors import ScoringError
from rmcheck.models.kinds.judge.engine import Answer, JudgeEngine, Replies, warned
from rmcheck.models.kinds.judge.read import Odds, Score, YesNo, listed_tokens
from rmcheck.models.model import ConformanceItem, Encoded
from rmcheck.models.proof.conformance import (
    LEAST_MASS,
    MOST_SAMPLES,
    Proven,
    require_passed,
    spread_of_lengths,
)

_T = TypeVar("_T")
Floats = NDArray[np.float64]
Items = tuple[ConformanceItem, ...]
Status = Literal["pass", "fail", "note"]
_TOP = 5
# Letters shown of an answer.
_SHOWN = 80


def prove(
    spec: str, engine: JudgeEngine, read: YesNo | Score, encoded: Sequence[Encoded]
) -> Proven:
    """The conformance page of a loaded judge.

    Args:
        spec: The model as the user named it.
        engine: Loaded.
        read: How answers become rewards.
        encoded: Samples of the run; at most 8 of different lengths are judged, twice.

    Returns:
        All items, none of which is a `fail`, and what follows from them.

    Raises:
        ConformanceError: An item fails; the message is the page.
        ScoringError: There are no samples, or none of them has a verdict.
        MemoryError: They do not fit in one batch; the caller tries fewer.
    """
    samples = spread_of_lengths(encoded)
    if not samples:
        raise ScoringError(f"{spec}: no samples to prove the judge on")
    reward = ConformanceItem("reward", "note", read.formula)
    more = (
        _yes_no(spec, engine, read, samples)
        if isinstance(read, YesNo)
        else _score(spec, engine, read, samples)
    )
    items = (reward, *engine.items(samples), *more.items)
    require_passed(spec, items)
    return replace(more, items=items)


def _yes_no(spec: str, engine: JudgeEngine, read: YesNo, samples: Sequence[Encoded]) -> Proven:
    engine.shares_prefixes = False
    alone = [_first(spec, engine.odds([sample], read)) for sample in samples]
    if None in alone:
        # A side that is never shown has no log-odds at all: the tokens say why.
        return Proven((_silent(engine, samples),), False)
    known = [verdict for verdict in alone if verdict is not None]
    together = engine.odds(samples, read)
    if len(together.found) < len(samples):
        raise ScoringError(f"{spec}: {together.stopped or together.faults}")
    rewards = np.array([verdict.reward for verdict in known])
    again = np.array([together.found[i].reward for i in range(len(samples))])
    mass, warning = _mass(engine, known, samples)
    invariance = _invariance(rewards, again, engine.tolerance)
    sharing = engine.sharing(samples, _allowed(rewards, engine.tolerance))
    depends = _depends(rewards, samples, "fail")
    items = (mass, *_censored(known, read), invariance, *sharing.items, depends)
    return Proven(items, sharing.shares_prefixes, warning or sharing.warning)


def _mass(
    engine: JudgeEngine, verdicts: Sequence[Odds], samples: Sequence[Encoded]
) -> tuple[ConformanceItem, str]:
    """How much of the judge's next token the words are, and what to warn of."""
    masses = np.array([verdict.mass for verdict in verdicts])
    detail = (
        f"p(yes) + p(no) is {np.median(masses):.2g} in the median of {len(masses)} texts, "
        f"{masses.min():.2g} at least"
    )
    if np.median(masses) >= LEAST_MASS:
        return ConformanceItem("mass", "pass", detail), ""
    least = samples[int(masses.argmin())]
    shown = listed_tokens(engine.likeliest([least], _TOP)[0], _TOP)
    detail = (
        f"{detail}. The judge would rather say something else (prompt "
        f"{least.sample.prompt_id!r}: {shown}), and its log-odds may mean little; let the template "
        "ask for these words, or read the words that it says"
    )
    return warned("mass", detail), detail


def _censored(verdicts: Sequence[Odds], read: YesNo) -> Items:
    """Texts of which a server shows one side only."""
    count = sum(verdict.censored for verdict in verdicts)
    if not count:
        return ()
    return (
        ConformanceItem(
            "censored",
            "note",
            f"{count} of {len(verdicts)} texts show words of one side only among the "
            f"{read.top_logprobs} likeliest tokens; the other side stands at the least probability "
            f"shown, so that these log-odds are too near to 0. At most "
            f"{read.censored_at_most:.1%} of a run's texts may be so",
        ),
    )


def _silent(engine: JudgeEngine, samples: Sequence[Encoded]) -> ConformanceItem:
    shown = listed_tokens(engine.likeliest(samples[:1], _TOP)[0], _TOP)
    return ConformanceItem(
        "words",
        "fail",
        f"neither side is among the likeliest tokens of every text (prompt "
        f"{samples[0].sample.prompt_id!r}: {shown}); let the template ask for the words of read, "
        "or read the words that the judge says",
    )


def _score(spec: str, engine: JudgeEngine, read: Score, samples: Sequence[Encoded]) -> Proven:
    alone = [_first(spec, engine.answers([sample], read)) or () for sample in samples]
    together = engine.answers(samples, read)
    if len(together.found) < len(samples) or not all(alone):
        raise ScoringError(f"{spec}: {together.stopped or together.faults or 'no answers'}")
    means = np.array([_mean(answers, read) for answers in alone])
    again = np.array([_mean(together.found[i], read) for i in range(len(samples))])
    items = (
        _parsed(alone, read),
        _repeated(means, again, exact=engine.exact),
        _depends(means, samples, "note"),
    )
    return Proven(items, False)


def _mean(answers: Sequence[Answer], read: Score) -> float:
    numbers = [number for a in answers if (number := read.parsed(a.text)) is not None]
    if numbers:
        return float(np.mean(numbers))
    return math.nan if read.unparsed is None else read.unparsed


def _parsed(alone: Sequence[Sequence[Answer]], read: Score) -> ConformanceItem:
    """Answers with a number, and one answer as it is."""
    answers = [answer for text in alone for answer in text]
    parsed = sum(read.parsed(answer.text) is not None for answer in answers)
    texts = sum(all(read.parsed(answer.text) is None for answer in text) for text in alone)
    cut = sum(answer.cut for answer in answers)
    detail = (
        f"{parsed} of {len(answers)} answers have a number in range, {cut} reached max_tokens; one "
        f"ends {answers[0].text[-_SHOWN:]!r}"
    )
    if read.unparsed is not None:
        detail += (
            f"; {texts} of {len(alone)} texts have none and the reward {read.unparsed:g} (at most "
            f"{read.unparsed_at_most:.1%} of a pool)"
        )
    # Few answers may be without a number by chance; where that is an error, scoring says so.
    silent = not parsed and len(answers) >= MOST_SAMPLES
    status: Status = "fail" if silent else "pass" if parsed == len(answers) else "note"
    return ConformanceItem("parsed", status, detail)


def _invariance(alone: Floats, together: Floats, tolerance: float) -> ConformanceItem:
    """A batch of one against a batch of many."""
    allowed = _allowed(alone, tolerance)
    change = float(np.abs(alone - together).max())
    return ConformanceItem(
        "batch_invariance",
        "pass" if change <= allowed else "fail",
        f"{len(alone)} texts alone and in one batch: log-odds change by up to {change:.2g} nats "
        f"(allowed {allowed:.2g})",
    )


def _allowed(alone: Floats, tolerance: float) -> float:
    """Largest change of log-odds that is still rounding: a share of how far they lie apart."""
    return tolerance * max(1.0, float(alone.std()))


def _repeated(alone: Floats, together: Floats, *, exact: bool) -> ConformanceItem:
    """The same answers alone and among others."""
    changed = int(np.count_nonzero(~np.isclose(alone, together, rtol=0, atol=0, equal_nan=True)))
    detail = f"{changed} of {len(alone)} scores differ between one text alone and many together"
    if not changed:
        return ConformanceItem("batch_invariance", "pass", detail)
    if exact:
        return ConformanceItem("batch_invariance", "fail", detail)
    why = "answers of this engine hang on rounding, or on how its server keeps seeds"
    return ConformanceItem("batch_invariance", "note", f"{detail}; {why}")


def _depends(rewards: Floats, samples: Sequence[Encoded], otherwise: Status) -> ConformanceItem:
    """Whether different responses get different rewards."""
    rewards = rewards[~np.isnan(rewards)]  # of texts without a parsed answer, which are refused
    if not rewards.size:
        return ConformanceItem("depends_on_response", "note", "no text has a reward")
    detail = f"rewards from {rewards.min():.3g} to {rewards.max():.3g} over {len(rewards)} texts"
    if len({sample.sample.response for sample in samples}) < 2:
        return ConformanceItem("depends_on_response", "note", f"{detail}: one response only")
    if float(np.ptp(rewards)) > 0:
        return ConformanceItem("depends_on_response", "pass", detail)
    return ConformanceItem(
        "depends_on_response",
        otherwise,
        f"{detail}: different responses, one reward. Does the judge read the response?",
    )


def _first(spec: str, judged: Replies[_T]) -> _T | None:
    """What is known of the only text; None where it has no verdict.

    Raises:
        ScoringError: The engine answers nothing more.
    """
    if judged.stopped:
        raise ScoringError(f"{spec}: {judged.stopped}")
    return judged.found.get(0)
