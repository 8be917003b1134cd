"""What was done to score one model."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ScoringReport:
    """What was done for one model.

    `requested` = `duplicates` + `from_store` + `equal_inputs` + `scored`, unless two requests
    want one whole text in two `too_long` modes: it is then scored once.

    Attributes:
        spec: The model.
        requested: Samples asked for, repeats included.
        duplicates: Of these, repeats of a text that was asked for already.
        from_store: Texts whose score was there, or was written by another process meanwhile.
        equal_inputs: Texts whose token ids equal those of another text, so that they share its
            score.
        scored: Forward passes.
        cut_left: Texts that lost tokens at the beginning.
        cut_right: Texts that lost tokens at the end.
        tokens: Tokens in the forward passes.
        padded_tokens: The same with padding, in the batches that were handed to the model.
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
        return 1 - self.tokens / self.padded_tokens if self.padded_tokens else 0.0
