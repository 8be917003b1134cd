"""Rows for people to label: by the nested design, or some of all responses."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rmcheck.errors import UsageError
from rmcheck.lab.sampling.drawing import Marks, draw_at_random, draw_by_weight
from rmcheck.metrics.regret.nested import choose
from rmcheck.metrics.regret.nested_columns import CHOSEN_AT, RANDOM
from rmcheck.metrics.rewards import Floats, Ints
from rmcheck.metrics.settings import require_whole_number
from rmcheck.pool.labels import INCLUSION, TO_LABEL
from rmcheck.pool.pool import Pool, Prompt
from rmcheck.pool.tool_calls import turns
from rmcheck.store.folder import write_whole

GOLDEN = "golden"


@dataclass(frozen=True)
class LabelDesign:
    """How many responses of every prompt are labelled, and how they are chosen.

    Attributes:
        labels: Responses drawn of every prompt, 2 or more.
        at: Each n of best-of-n whose picks are drawn more often; empty draws at random.
        nested: Whether rows keep responses drawn at random and the picks at each n alone, all to be
            labelled; otherwise they keep all responses, and some are marked.
        prompts: Prompts drawn at random; None takes all that have enough responses.
        seed: Of all random choices; 0 is a seed.

    Raises:
        UsageError: A number is out of its range.
    """

    labels: int
    at: tuple[int, ...] = ()
    nested: bool = False
    prompts: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.nested and not self.at:
            raise UsageError("at least one n of best-of-n is needed.")
        require_whole_number("random" if self.nested else "labels", self.labels, 2)
        for n in self.at:
            require_whole_number("n", n, 2)
        if self.prompts is not None:
            require_whole_number("prompts", self.prompts, 1)
        require_whole_number("seed", self.seed, 0)

    @property
    def responses(self) -> int:
        """Responses that a prompt must have."""
        return max(self.labels, *self.at) if self.at else self.labels


@dataclass(frozen=True)
class Annotation:
    """Rows to label.

    Attributes:
        rows: Of the native pool format, and `golden` null where it is to be filled in: with
            `random` and `chosen_at` a response, or with `to_label` and `inclusion`.
        left_out: Prompts of the pool that have too few responses.
    """

    rows: tuple[dict[str, Any], ...]
    left_out: int

    @property
    def to_label(self) -> int:
        """Responses to label that have no golden reward."""
        return sum(
            golden is None and wanted
            for row in self.rows
            for golden, wanted in zip(
                row[GOLDEN], row.get(TO_LABEL, [1] * len(row[GOLDEN])), strict=True
            )
        )

    def write(self, path: Path) -> None:
        """Write one row a line, in a new file: labels that people gave are never overwritten.

        Raises:
            UsageError: The file exists.
        """
        if path.exists():
            raise UsageError(f"{path} exists, maybe with labels in it; choose another name.")
        lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in self.rows)
        write_whole(path, "".join(lines).encode("utf-8"))


def annotation(pool: Pool, proxy: Floats | None, design: LabelDesign) -> Annotation:
    """What people should label of a pool.

    Args:
        pool: The pool.
        proxy: (M,) rewards of the model under test for all its responses, prompt by prompt; None
            where none are picked.
        design: What is chosen.

    Raises:
        UsageError: No prompt has enough responses, or fewer have than are asked for.
    """
    generator = np.random.default_rng(design.seed)
    offsets = np.cumsum([0, *(len(prompt.responses) for prompt in pool.prompts)])
    rows = []
    for i in _taken(pool, design, generator):
        scores = None if proxy is None else proxy[offsets[i] : offsets[i + 1]]
        rows.append(_row(pool.prompts[i], scores, design, generator))
    left_out = sum(len(prompt.responses) < design.responses for prompt in pool.prompts)
    return Annotation(tuple(rows), left_out)


def _row(
    prompt: Prompt, scores: Floats | None, design: LabelDesign, generator: np.random.Generator
) -> dict[str, Any]:
    kept: Sequence[int] = range(len(prompt.responses))
    columns: dict[str, list[Any]] = {}
    if scores is not None and design.nested:
        chosen = choose(scores, at=design.at, random=design.labels, generator=generator)
        kept = chosen.responses.tolist()
        columns |= {RANDOM: chosen.random.tolist(), CHOSEN_AT: chosen.chosen_at.tolist()}
    elif scores is not None:
        marks = draw_by_weight(scores, design.at, design.labels, generator)
        columns |= _marked(marks) | {RANDOM: marks.random.astype(int).tolist()}
    else:
        columns |= _marked(draw_at_random(len(kept), design.labels, generator))
    known = prompt.labels.get(GOLDEN, (None,) * len(prompt.responses))
    wanted = columns.get(TO_LABEL, [1] * len(kept))
    return {
        "prompt_id": prompt.prompt_id,
        "prompt": turns(prompt.messages),
        "responses": [prompt.responses[j] for j in kept],
        GOLDEN: [known[j] if w else None for j, w in zip(kept, wanted, strict=True)],
        **columns,
        **prompt.slices,
    }


def _marked(marks: Marks) -> dict[str, list[Any]]:
    to_label = marks.to_label.astype(int).tolist()
    return {TO_LABEL: to_label, INCLUSION: marks.inclusion.tolist()}


def _taken(pool: Pool, design: LabelDesign, generator: np.random.Generator) -> Ints:
    """Positions of the prompts that are drawn."""
    enough = [i for i, p in enumerate(pool.prompts) if len(p.responses) >= design.responses]
    wanted = len(enough) if design.prompts is None else design.prompts
    if not enough or len(enough) < wanted:
        most = max((len(p.responses) for p in pool.prompts), default=0)
        raise UsageError(
            f"{len(enough)} of {len(pool.prompts)} prompts have the {design.responses} responses "
            f"that the design needs (the most is {most}); {max(1, wanted)} are needed."
        )
    return np.sort(generator.choice(enough, wanted, replace=False))


def parsed_numbers(text: str) -> tuple[int, ...]:
    """Whole numbers from `4,16,64`, ascending, each once.

    Raises:
        UsageError: One is no whole number.
    """
    words = [word.strip() for word in text.split(",")]
    if wrong := [word for word in words if not word.isdecimal()]:
        raise UsageError(f"{wrong[0]!r} is no whole number; write as in 4,16,64.")
    return tuple(sorted(set(map(int, words))))
