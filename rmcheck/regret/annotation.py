"""Rows for people to label, by the nested design."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rmcheck.errors import UsageError
from rmcheck.metrics.rewards import Floats
from rmcheck.metrics.settings import require_whole_number
from rmcheck.pool.pool import Pool, Prompt
from rmcheck.regret.nested import CHOSEN_AT, RANDOM, Chosen, choose
from rmcheck.store.folder import write_whole

GOLDEN = "golden"


@dataclass(frozen=True)
class Design:
    """What is chosen of every prompt.

    Attributes:
        at: The n of best-of-n, ascending.
        random: Responses drawn at random, 2 or more.
        prompts: Prompts drawn at random; None takes all that have enough responses.
        seed: Of all random choices; 0 is a seed.

    Raises:
        UsageError: A number is out of its range.
    """

    at: tuple[int, ...]
    random: int = 5
    prompts: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.at:
            raise UsageError("at least one n of best-of-n is needed.")
        for n in self.at:
            require_whole_number("n", n, 2)
        require_whole_number("random", self.random, 2)
        if self.prompts is not None:
            require_whole_number("prompts", self.prompts, 1)
        require_whole_number("seed", self.seed, 0)

    @property
    def responses(self) -> int:
        """Responses that a prompt must have."""
        return max(*self.at, self.random)


@dataclass(frozen=True)
class Annotation:
    """Rows to label.

    Attributes:
        rows: Of the native pool format, with `random` and `chosen_at` a response, and `golden`
            null where it is to be filled in.
        left_out: Prompts of the pool that have too few responses.
    """

    rows: tuple[dict[str, Any], ...]
    left_out: int

    @property
    def to_label(self) -> int:
        """Responses without a golden reward."""
        return sum(row[GOLDEN].count(None) for row in self.rows)

    def write(self, path: Path) -> None:
        """Write one row a line, in a new file: labels that people gave are never overwritten.

        Raises:
            UsageError: The file exists.
        """
        if path.exists():
            raise UsageError(f"{path} exists, maybe with labels in it; choose another name.")
        lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in self.rows)
        write_whole(path, "".join(lines).encode("utf-8"))


def annotation(pool: Pool, proxy: Floats, design: Design) -> Annotation:
    """What people should label of a pool.

    Args:
        pool: The pool.
        proxy: (M,) rewards of the model under test for all its responses, prompt by prompt.
        design: What is chosen.

    Raises:
        UsageError: No prompt has enough responses, or fewer have than are asked for.
    """
    generator = np.random.default_rng(design.seed)
    offsets = np.cumsum([0, *(len(prompt.responses) for prompt in pool.prompts)])
    enough = [i for i, p in enumerate(pool.prompts) if len(p.responses) >= design.responses]
    wanted = len(enough) if design.prompts is None else design.prompts
    if not enough or len(enough) < wanted:
        most = max((len(p.responses) for p in pool.prompts), default=0)
        raise UsageError(
            f"{len(enough)} of {len(pool.prompts)} prompts have the {design.responses} responses "
            f"that the design needs (the most is {most}); {max(1, wanted)} are needed."
        )
    drawn = np.sort(generator.choice(enough, wanted, replace=False))
    rows = []
    for i in drawn:
        scores = proxy[offsets[i] : offsets[i + 1]]
        chosen = choose(scores, at=design.at, random=design.random, generator=generator)
        rows.append(_row(pool.prompts[i], chosen))
    return Annotation(tuple(rows), len(pool.prompts) - len(enough))


def _row(prompt: Prompt, chosen: Chosen) -> dict[str, Any]:
    known = prompt.labels.get(GOLDEN, (None,) * len(prompt.responses))
    return {
        "prompt_id": prompt.prompt_id,
        "prompt": [{"role": m.role, "content": m.content} for m in prompt.messages],
        "responses": [prompt.responses[j] for j in chosen.responses],
        GOLDEN: [known[j] for j in chosen.responses],
        RANDOM: chosen.random.tolist(),
        CHOSEN_AT: chosen.chosen_at.tolist(),
        **prompt.slices,
    }


def parsed_numbers(text: str) -> tuple[int, ...]:
    """Whole numbers from `4,16,64`, ascending, each once.

    Raises:
        UsageError: One is no whole number.
    """
    return tuple(sorted(set(_numbers(text.split(",")))))


def _numbers(words: Sequence[str]) -> Iterator[int]:
    for word in words:
        if not word.strip().isdecimal():
            raise UsageError(f"{word.strip()!r} is no whole number; write as in 4,16,64.")
        yield int(word)
