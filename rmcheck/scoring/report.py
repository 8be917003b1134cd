"""What was done to score one model."""

from dataclasses import dataclass, fields, replace


@dataclass(frozen=True)
class ScoringReport:
    """What was done for one model.

    `requested` = `duplicates` + `from_store` + `equal_inputs` + `scored` + `looked_up`.

    Attributes:
        spec: The model.
        requested: Samples asked for, repeats included.
        duplicates: Of these, repeats of a text that was asked for already, also those that two
            `too_long` modes both leave whole.
        from_store: Texts whose score was there, or was written by another process meanwhile.
        equal_inputs: Texts whose token ids equal those of another text, so that they share its
            score.
        scored: Forward passes.
        looked_up: Rewards that were computed elsewhere and are read from a file.
        cut_left: Texts that lost tokens at the beginning.
        cut_right: Texts that lost tokens at the end.
        tokens: Tokens in the forward passes.
        padded_tokens: The same as they were computed: with padding, or with the common beginnings
            of a batch once. Models of text pad nothing.
        batches: Batches that were scored.
        halvings: Times that a batch did not fit in memory and was halved.
        seconds: Wall time, loading included.
    """

    spec: str
    requested: int = 0
    duplicates: int = 0
    from_store: int = 0
    equal_inputs: int = 0
    scored: int = 0
    looked_up: int = 0
    cut_left: int = 0
    cut_right: int = 0
    tokens: int = 0
    padded_tokens: int = 0
    batches: int = 0
    halvings: int = 0
    seconds: float = 0.0

    @property
    def padding_waste(self) -> float:
        """Share of the computed tokens that are padding, in [0, 1); lower is better."""
        return max(0.0, 1 - self.tokens / self.padded_tokens) if self.padded_tokens else 0.0

    @property
    def shared_tokens(self) -> int:
        """Tokens that shared prompts spared; higher is better."""
        return max(0, self.tokens - self.padded_tokens)

    def plus(self, other: "ScoringReport") -> "ScoringReport":
        """Both together: every number is the sum of the two."""
        numbers = (field.name for field in fields(self) if field.name != "spec")
        return replace(self, **{n: getattr(self, n) + getattr(other, n) for n in numbers})

    def __str__(self) -> str:
        parts = []
        if self.scored:
            parts.append(f"{self.scored:,} scored in {self.seconds:.1f} s")
        if self.looked_up:
            parts.append(f"{self.looked_up:,} read from the file")
        if self.from_store or not (self.scored or self.looked_up):
            parts.append(f"{self.from_store:,} from the store")
        if self.padding_waste:
            parts.append(f"padding {self.padding_waste:.1%}")
        if self.shared_tokens:
            parts.append(f"shared prompts spared {self.shared_tokens / self.tokens:.0%} of tokens")
        counts = {
            "duplicates": self.duplicates,
            "with equal token ids": self.equal_inputs,
            "cut on the left": self.cut_left,
            "cut on the right": self.cut_right,
            "batches halved for memory": self.halvings,
        }
        parts += [f"{count:,} {what}" for what, count in counts.items() if count]
        return f"{self.spec}: {', '.join(parts)}"
