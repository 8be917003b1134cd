"""A pool file of a policy's responses, written a row at a time so that a killed run goes on."""

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from rmcheck.errors import UsageError
from rmcheck.policies.policy import Decoding, Policy, PolicySession, Response, response_seed
from rmcheck.pool.labels import INCLUSION, TO_LABEL
from rmcheck.pool.pool import Prompt
from rmcheck.pool.tool_calls import turns
from rmcheck.wording import first_lines

# Field of a row that says how it was sampled; readers of pools leave objects out.
SAMPLING = "sampling"
# Slice that names the policy by the first digits of its fingerprint.
POLICY = "policy"
POLICY_DIGITS = 8
_OPENING = f'{{"{SAMPLING}": {{'.encode()
_STRANGE = "it is no row that rmcheck sampled"
# Differences named in a message.
PROBLEMS_SHOWN = 5


Progress = Callable[[int], Callable[[int], object]]


def _silent(prompts: int) -> Callable[[int], object]:
    return lambda done: None


@dataclass(frozen=True, slots=True)
class Sampled:
    """What a pool file holds after a run.

    Attributes:
        prompts: Rows of the file.
        kept: Of these, rows that an earlier run had written.
        responses: Responses of the file.
        empty: Responses that are empty or white space.
        cut: Responses that reached `max_tokens` before the policy ended them.
    """

    prompts: int
    kept: int
    responses: int
    empty: int
    cut: int


def drawn_prompts(prompts: Sequence[Prompt], count: int | None, seed: int) -> tuple[Prompt, ...]:
    """Some prompts drawn at random, in the order of the pool; fewer are among more.

    Args:
        prompts: To draw from.
        count: How many; None takes all.
        seed: Of the draw.

    Raises:
        UsageError: There are not as many.
    """
    if count is None:
        return tuple(prompts)
    if not 1 <= count <= len(prompts):
        raise UsageError(f"{count} prompts are asked for; the pool has {len(prompts)}")
    order = sorted(prompts, key=lambda prompt: response_seed(seed, prompt.prompt_id, -1))
    chosen = {prompt.prompt_id for prompt in order[:count]}
    return tuple(prompt for prompt in prompts if prompt.prompt_id in chosen)


def sample_pool(
    policy: Policy,
    prompts: Sequence[Prompt],
    path: Path,
    *,
    n: int,
    seed: int = 0,
    decoding: Decoding | None = None,
    labels: int | None = None,
    progress: Progress = _silent,
) -> Sampled:
    """Write a native pool of N responses a prompt, or finish one that was begun.

    Each row is on the disk as soon as its responses are drawn. Rows that are there already are
    kept, and never sampled again. A last line without its end is what a killed run left: it is
    removed. Responses do not depend on where a run was stopped.

    Args:
        policy: Is loaded when something is left to sample, and not closed.
        prompts: Their ids are unique. Slices and the columns of a prompt are kept, but for lists;
            responses and labels are not.
        path: The file.
        n: Responses a prompt.
        seed: Of all random choices.
        decoding: None means `Decoding()`.
        labels: Responses of each prompt that are marked, at random, to be labelled; None marks
            none.
        progress: Takes the number of prompts to sample, and gives what is told how many more are
            done.

    Raises:
        UsageError: The file has rows of another policy, other settings or other prompts; another
            process writes it; `n` is less than 1; or prompts leave no room for a response.
        ModelError: The policy cannot be loaded, or cannot answer.
    """
    if n < 1:
        raise UsageError(f"{n} responses a prompt are asked for; it is a whole number from 1 up")
    if labels is not None and not 2 <= labels <= n:
        raise UsageError(f"{labels} labels a prompt are asked for; it is 2 to {n}, the responses")
    decoding = decoding or Decoding()
    settings = {
        "fingerprint": policy.fingerprint,
        "responses": n,
        "max_tokens": decoding.max_tokens,
        "temperature": decoding.temperature,
        "seed": seed,
    } | ({} if labels is None else {"labels": labels})
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with _written_alone(path):
            kept = _kept_rows(path, {p.prompt_id: p for p in prompts}, settings)
            missing = [p for p in prompts if p.prompt_id not in kept]
            rows = list(kept.values())
            if missing:
                facts = {"spec": policy.spec, **settings}
                with policy.load() as session:
                    session.check(missing, decoding)
                    done = progress(len(missing))
                    rows += _append(session, missing, path, n, seed, decoding, facts, done)
    except Timeout:
        raise UsageError(f"{path}: another process is writing this file") from None
    texts = [text for row in rows for text in row["responses"]]
    empty = sum(not text.strip() for text in texts)
    cut = sum(int(row[SAMPLING]["cut"]) for row in rows)
    return Sampled(len(rows), len(kept), len(texts), empty, cut)


@contextmanager
def _written_alone(path: Path) -> Iterator[None]:
    """Keep other processes from writing this file; the lock beside it is gone afterwards.

    Raises:
        Timeout: Another process is writing it.
    """
    lock = path.with_name(f".{path.name}.lock")
    with FileLock(lock, timeout=0):
        try:
            yield
        finally:
            with suppress(OSError):  # Windows deletes no file that is open
                lock.unlink()


def _append(
    session: PolicySession,
    prompts: Sequence[Prompt],
    path: Path,
    n: int,
    seed: int,
    decoding: Decoding,
    facts: Mapping[str, Any],
    done: Callable[[int], object],
) -> list[dict[str, Any]]:
    together = max(1, session.policy.at_once // n)
    rows = []
    with path.open("ab") as file:
        for start in range(0, len(prompts), together):
            group = prompts[start : start + together]
            answers = session.sample(group, n, seed, decoding)
            for prompt, responses in zip(group, answers, strict=True):
                rows.append(_row(prompt, responses, facts))
                line = json.dumps(rows[-1], ensure_ascii=False) + "\n"
                file.write(line.encode("utf-8", "surrogatepass"))
                file.flush()
            os.fsync(file.fileno())
            done(len(group))
    return rows


def _row(prompt: Prompt, responses: Sequence[Response], facts: Mapping[str, Any]) -> dict[str, Any]:
    return {
        # First, so that the beginning of a row is known as this command's.
        SAMPLING: {**facts, "cut": sum(response.cut for response in responses)},
        **{name: value for name, value in prompt.slices.items() if name != SAMPLING},
        **_columns(prompt),
        "prompt_id": prompt.prompt_id,
        "prompt": turns(prompt.messages),
        "responses": [response.text for response in responses],
        POLICY: str(facts["fingerprint"])[:POLICY_DIGITS],
        **(_marks(prompt, facts) if "labels" in facts else {}),
    }


def _columns(prompt: Prompt) -> dict[str, Any]:
    """What rewards may ask for: numbers as they are written, and objects.

    A list is left out: in a native pool it would have one value a response.
    """
    return {
        name: value
        for name, value in prompt.columns.items()
        if isinstance(value, int | float | Mapping) and name != SAMPLING
    }


def _marks(prompt: Prompt, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Which responses of a prompt are to be labelled; every one had the same chance."""
    size, labels = facts["responses"], facts["labels"]
    order = sorted(
        range(size), key=lambda i: response_seed(facts["seed"], prompt.prompt_id, -2 - i)
    )
    chosen = set(order[:labels])
    return {
        "golden": [None] * size,
        TO_LABEL: [int(i in chosen) for i in range(size)],
        INCLUSION: [labels / size] * size,
    }


def _kept_rows(
    path: Path, prompts: Mapping[str, Prompt], settings: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    """Rows by prompt id, after the file was cut behind its last whole line."""
    if not path.exists():
        return {}
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    kept: dict[str, dict[str, Any]] = {}
    problems = []
    for number, line in enumerate(whole.splitlines(), start=1):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        wrong = _difference(row, prompts, settings)
        if not wrong and row["prompt_id"] in kept:
            wrong = f"prompt {row['prompt_id']!r} stands there twice"
        if wrong:
            problems.append(f"  line {number}: {wrong}")
        else:
            kept[row["prompt_id"]] = row
    # What a killed run left begins as a row of this command; anything else is somebody's text.
    rest = content[len(whole) :]
    if not (rest.startswith(_OPENING) or _OPENING.startswith(rest)):
        problems.append(f"  line {len(kept) + len(problems) + 1}: {_STRANGE}")
    if problems:
        raise UsageError(
            f"{path} was not written with these settings; choose another name, or the settings "
            "that it was begun with:\n" + "\n".join(first_lines(problems, PROBLEMS_SHOWN))
        )
    if len(whole) < len(content):
        os.truncate(path, len(whole))
    return kept


def _difference(row: Any, prompts: Mapping[str, Prompt], settings: Mapping[str, Any]) -> str:
    """What keeps a row from being kept; empty if nothing."""
    stated = row.get(SAMPLING) if isinstance(row, dict) else None
    if not isinstance(stated, dict) or not isinstance(row.get("responses"), list):
        return _STRANGE
    differing = [
        f"{name} was {stated.get(name)!r} and is {value!r}"
        for name, value in settings.items()
        if stated.get(name) != value
    ]
    if differing:
        return "; ".join(differing)
    prompt = prompts.get(row.get("prompt_id", ""))
    if prompt is None:
        return f"prompt {row.get('prompt_id')!r} is not among those asked for"
    if row.get("prompt") != turns(prompt.messages):
        return f"prompt {prompt.prompt_id!r} had another text"
    if len(row["responses"]) != settings["responses"] or not isinstance(stated.get("cut"), int):
        return f"prompt {prompt.prompt_id!r} has {len(row['responses'])} responses"
    return ""
