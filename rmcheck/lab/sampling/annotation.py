"""Rows for people to label: by the nested design, or some of all responses."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rmcheck.errors import UsageError
from rmcheck.lab.sampling.drawing import Marks, draw_at_random, draw_by_weight
from rmcheck.metrics.regret.nested import Chosen, choose
from rmcheck.metrics.regret.nested_columns import CHOSEN_AT, RANDOM
from rmcheck.metrics.rewards import Floats, Ints
from rmcheck.metrics.settings import require_whole_number
from rmcheck.pool.labels import INCLUSION, TO_LABEL
from rmcheck.pool.pool import Pool, Prompt
from rmcheck.pool.tool_calls import turns
from rmcheck.store.folder import write_whole

GOLDEN = "golden"


@dataclass(frozen=True)
class NestedDesign:
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
class Draw:
    """How many responses of every prompt are labelled, and how they are drawn.

    Attributes:
        labels: Responses drawn of every prompt, 2 or more.
        at: Each n of best-of-n whose picks are drawn more often; empty draws at random.
        prompts: Prompts drawn at random; None takes all that have enough responses.
        seed: Of all random choices; 0 is a seed.

    Raises:
        UsageError: A number is out of its range.
    """

    labels: int
    at: tuple[int, ...] = ()
    prompts: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        require_whole_number("labels", self.labels, 2)
        for n in self.at:
            require_whole_number("n", n, 2)
        if self.prompts is not None:
            require_whole_number("prompts", self.prompts, 1)
        require_whole_number("seed", self.seed, 0)

    @property
    def responses(self) -> int:
        """Responses that a prompt must have."""
        return max((self.labels, *self.at))


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


def annotation(pool: Pool, proxy: Floats, design: NestedDesign) -> Annotation:
    """What people should label of a pool.

    Args:
        pool: The pool.
        proxy: (M,) rewards of the model under test for all its responses, prompt by prompt.
        design: What is chosen.

    Raises:
        UsageError: No prompt has enough responses, or fewer have than are asked for.
    """
    generator = np.random.default_rng(design.seed)
    taken, offsets = _taken(pool, design, generator)
    rows = []
    for i in taken:
        scores = proxy[offsets[i] : offsets[i + 1]]
        chosen = choose(scores, at=design.at, random=design.random, generator=generator)
        rows.append(_row(pool.prompts[i], chosen))
    return Annotation(tuple(rows), _left_out(pool, design))


def draw_labels(pool: Pool, proxy: Floats | None, design: Draw) -> Annotation:
    """All responses of a pool, some of them to be labelled.

    Args:
        pool: The pool.
        proxy: (M,) rewards for all its responses, prompt by prompt, where picks are drawn more
            often.
        design: How they are drawn.

    Raises:
        UsageError: No prompt has enough responses, or fewer have than are asked for.
    """
    generator = np.random.default_rng(design.seed)
    taken, offsets = _taken(pool, design, generator)
    rows = []
    for i in taken:
        prompt = pool.prompts[i]
        if proxy is None:
            rows.append(
                _marked(prompt, draw_at_random(len(prompt.responses), design.labels, generator))
            )
            continue
        scores = proxy[offsets[i] : offsets[i + 1]]
        marks = draw_by_weight(scores, design.at, design.labels, generator)
        rows.append({**_marked(prompt, marks), RANDOM: marks.random.astype(int).tolist()})
    return Annotation(tuple(rows), _left_out(pool, design))


def _marked(prompt: Prompt, marks: Marks) -> dict[str, Any]:
    """The row of a prompt with all its responses."""
    known = prompt.labels.get(GOLDEN, (None,) * len(prompt.responses))
    return {
        "prompt_id": prompt.prompt_id,
        "prompt": turns(prompt.messages),
        "responses": list(prompt.responses),
        GOLDEN: [g if wanted else None for g, wanted in zip(known, marks.to_label, strict=True)],
        TO_LABEL: marks.to_label.astype(int).tolist(),
        INCLUSION: marks.inclusion.tolist(),
        **prompt.slices,
    }


def _left_out(pool: Pool, design: NestedDesign | Draw) -> int:
    return sum(len(prompt.responses) < design.responses for prompt in pool.prompts)


def _taken(
    pool: Pool, design: NestedDesign | Draw, generator: np.random.Generator
) -> tuple[Ints, Ints]:
    """Positions of the prompts that are drawn, and where each prompt of the pool begins."""
    offsets = np.cumsum([0, *(len(prompt.responses) for prompt in pool.prompts)])
    enough = [i for i, p in enumerate(pool.prompts) if len(p.responses) >= design.responses]
    wanted = len(enough) if design.prompts is None else design.prompts
    if not enough or len(enough) < wanted:
        most = max((len(p.responses) for p in pool.prompts), default=0)
        raise UsageError(
            f"{len(enough)} of {len(pool.prompts)} prompts have the {design.responses} responses "
            f"that the design needs (the most is {most}); {max(1, wanted)} are needed."
        )
    return np.sort(generator.choice(enough, wanted, replace=False)), offsets


def _row(prompt: Prompt, chosen: Chosen) -> dict[str, Any]:
    known = prompt.labels.get(GOLDEN, (None,) * len(prompt.responses))
    return {
        "prompt_id": prompt.prompt_id,
        "prompt": turns(prompt.messages),
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
