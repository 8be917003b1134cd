"""Samples of a policy in training, kept as a pool to label."""

import functools
import hashlib
import inspect
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from rmcheck.errors import UsageError

# What a trainer passes that is no column.
_NO_COLUMN = ("completion_ids", "trainer_state", "log_extra", "log_metric", "environments")


def keep_samples(
    function: Callable[..., Any], folder: Path | str, *, share: float = 0.01, seed: int = 0
) -> Callable[..., Any]:
    """A reward function that does the same and keeps a share of what it was asked.

    For GRPO, RLOO, PPO and any trainer that calls `(prompts, completions, **columns) -> rewards`,
    plain or async. Whole groups are kept, a prompt with all of its completions, so that a pool of
    them can be compared inside prompts: `golden` is null and waits for labels, `reward` is what the
    policy was given, `policy_step` the step, and columns stand beside them. Each process writes a
    file of its own, `samples-RANK.jsonl`; name the folder as the pool of a suite.

    Args:
        function: The reward function.
        folder: Made when the first sample is kept.
        share: Of prompts, 0 to 1; which ones is decided by prompt, step and seed.
        seed: Decides which.

    Raises:
        UsageError: `share` is no such number.
    """
    if not 0 < share <= 1:
        raise UsageError(f"share is {share}; it is above 0, and at most 1")
    file = Path(folder) / f"samples-{os.environ.get('RANK', '0')}.jsonl"

    def keep(rewards: Any, arguments: Mapping[str, Any]) -> Any:
        values = rewards.tolist() if hasattr(rewards, "tolist") else list(rewards)
        rows = [r for r in _rows(values, arguments) if _drawn(r, share, seed)]
        if rows:
            file.parent.mkdir(parents=True, exist_ok=True)
            with file.open("a", encoding="utf-8") as out:
                out.writelines(json.dumps(row, default=str) + "\n" for row in rows)
        return rewards

    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def awaited(prompts: Any, completions: Any, **columns: Any) -> Any:
            found = await function(prompts=prompts, completions=completions, **columns)
            return keep(found, {"prompts": prompts, "completions": completions, **columns})

        return awaited

    @functools.wraps(function)
    def called(prompts: Any, completions: Any, **columns: Any) -> Any:
        found = function(prompts=prompts, completions=completions, **columns)
        return keep(found, {"prompts": prompts, "completions": completions, **columns})

    return called


def _rows(rewards: Sequence[Any], given: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """One row a prompt, with the completions that follow one another."""
    prompts, state = given["prompts"], given.get("trainer_state")
    step = int(getattr(state, "global_step", 0))
    columns = {
        name: values
        for name, values in given.items()
        if name not in (*_NO_COLUMN, "prompts", "completions") and isinstance(values, Sequence)
    }
    for _, group in groupby(range(len(prompts)), key=lambda i: json.dumps(prompts[i])):
        at = list(group)
        first = prompts[at[0]]
        own = {name: values[at[0]] for name, values in columns.items()}
        digest = hashlib.blake2b(json.dumps(first).encode(), digest_size=6).hexdigest()
        yield {
            **{name: value for name, value in own.items() if value is not None},
            "prompt_id": f"step {step}, {digest}, process {os.environ.get('RANK', '0')}",
            "prompt": first,
            "responses": [_text(given["completions"][i]) for i in at],
            "reward": [rewards[i] if rewards[i] is None else float(rewards[i]) for i in at],
            "golden": [None] * len(at),
            "policy_step": step,
        }


def _text(completion: Any) -> str:
    """The text of a completion; of messages the last one, which is the answer."""
    return completion if isinstance(completion, str) else str(completion[-1]["content"])


def _drawn(row: Mapping[str, Any], share: float, seed: int) -> bool:
    digest = hashlib.blake2b(f"{seed} {row['prompt_id']}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") < share * 2**64
