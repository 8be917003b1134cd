"""All texts that the probes of a suite ask models for, and the rewards read back."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from rmcheck.metrics.rewards import Floats, Ints, Rewards
from rmcheck.models.sample import Sample
from rmcheck.pool.pool import Prompt
from rmcheck.probes.edits import Edit, edits_of, questions_of
from rmcheck.probes.effect import ProbeEffect, answered


@dataclass(frozen=True, eq=False)
class ProbeTexts:
    """What the effects of a suite have models score beside its pool.

    Attributes:
        effects: Those that edit the pool, one a column.
        asking: Those with questions of their own, one a probe.
        prompts: Of the pool; read where an effect edits them.
        ends: (P + 1,) where the responses of each prompt begin.
    """

    effects: tuple[ProbeEffect, ...]
    asking: tuple[ProbeEffect, ...]
    prompts: Sequence[Prompt]
    ends: Ints

    @classmethod
    def of(
        cls, effects: Iterable[ProbeEffect], prompts: Sequence[Prompt], ends: Ints
    ) -> "ProbeTexts":
        """The texts for these effects; what two of them share is there once."""
        by_column = {effect.edited_column: effect for effect in effects}.values()
        editing = tuple(effect for effect in by_column if not effect.probe.asks)
        asking = {effect.probe.name: effect for effect in by_column if effect.probe.asks}
        return cls(editing, tuple(asking.values()), prompts, ends)

    @cached_property
    def edits(self) -> tuple[Edit, ...]:
        """Of the pool."""
        return tuple(edit for effect in self.effects for edit in edits_of(effect, self.prompts))

    @cached_property
    def samples(self) -> tuple[Sample, ...]:
        """(E,) what models score: the edits, then both answers to each question."""
        answers = (s for e in self.asking for pair in questions_of(e.probe) for s in pair)
        return (*(edit.sample for edit in self.edits), *answers)

    def with_golden(self, golden: Floats) -> tuple[Sample, ...]:
        """The samples with golden rewards, for fakes that repeat them: edits do not move golden.

        What takes the place of the answer has the lowest golden reward of its prompt.

        Args:
            golden: (M,) of the pool's responses.
        """
        known = (
            replace(edit.sample, golden=float(golden[self._places(edit)].min()))
            for edit in self.edits
        )
        return (*known, *self.samples[len(self.edits) :])

    def columns(self, scores: Floats) -> dict[str, Floats]:
        """(M,) rewards of edited responses by column; NaN where a response has no edit.

        Args:
            scores: (E,) rewards of `samples`.
        """
        names = (name for effect in self.effects for name in effect.columns)
        found = {name: np.full(int(self.ends[-1]), np.nan) for name in names}
        for edit, score in zip(self.edits, scores.tolist(), strict=False):
            found[edit.column][self._places(edit)] = score
        return found

    def answers(self, scores: Floats) -> dict[str, Rewards]:
        """Probe to the rewards of the answers to its questions, honest and bad.

        Args:
            scores: (E,) rewards of `samples`.
        """
        found, at = {}, len(self.edits)
        for effect in self.asking:
            count = 2 * len(effect.probe.items)
            found[effect.probe.name] = answered(effect, scores[at : at + count].reshape(-1, 2))
            at += count
        return found

    def _places(self, edit: Edit) -> Ints:
        return np.asarray(self.ends[edit.row] + np.array(edit.responses))
