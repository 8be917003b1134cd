"""What a model that transformers runs must prove before its rewards count."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from rmcheck.models.engines.asked import Floats
from rmcheck.models.kinds.classifier.conformance import ClassifierProof
from rmcheck.models.libraries import brief
from rmcheck.models.model import ConformanceItem
from rmcheck.models.proof.ways import TorchProof

if TYPE_CHECKING:
    from rmcheck.models.engines.torch.classifier import TorchScorer


class TransformersProof(TorchProof, ClassifierProof):
    """The checks; decides whether prompts are computed once for all of their responses."""

    of_attention = "config.json"
    _scorer: "TorchScorer"
    _before: Floats
    _own: Floats

    def attention(self) -> ConformanceItem:
        """Which attention runs, and whether it drops soft-capping."""
        item = super().attention()
        if item.status == "fail" or not self._checkpoint.soft_caps_attention:
            return item
        more = ", since config.json soft-caps attention and sdpa would leave that out"
        used = self._scorer.attention + more + self._scorer.rope.note
        return ConformanceItem("attention", "pass", used)

    def position(self) -> ConformanceItem:
        """The token at which the reward is read, against the one transformers reads."""
        scorer = self._scorer
        if not scorer.reads_last_token:
            return self._pooling()
        gap = np.abs(self._own - self._alone)
        worst = int(gap.argmax())
        row = self._samples[worst].ids
        if gap[worst] <= self._tolerance:
            return ConformanceItem(
                "position", "pass", f"the last token, as transformers does ({gap.max():.2g} apart)"
            )
        ours, theirs = scorer.reward_position(row), scorer.own_position(row)
        detail = (
            f"read at token {ours} of {len(row)}, {self._token(row[ours])}; transformers reads at "
            f"token {theirs}, {self._token(row[theirs])}; rewards differ by up to {gap[worst]:.3g}"
        )
        if scorer.position != "auto" and ours != theirs:
            return ConformanceItem("position", "note", f"position={scorer.position}: {detail}")
        if ours == theirs:
            return ConformanceItem(
                "position",
                "fail",
                f"{detail}. The head is not applied to the last token alone; rmcheck cannot read "
                f"this architecture ({self._checkpoint.architecture})",
            )
        return self._undecided(detail)

    def _read_alone(self) -> Sequence[Floats]:
        """From the model's own forward: the reward, without the last token, and the model's own."""
        if not self._scorer.reads_last_token:
            return super()._read_alone()
        read = []
        for sample in self._samples:
            read.append(self._scorer.read_once(sample.ids, sample.type_ids))
        alone, self._before, self._own = np.array(read).T
        return list(alone[:, None])

    def _without_last(self) -> Floats:
        """What the tokens before the last one read, which see nothing of it."""
        return self._before

    def _pooling(self) -> ConformanceItem:
        """Where a model that pools by itself reads, by the gradient of its logit."""
        sample = self._samples[0]
        row = sample.ids
        try:
            at = self._scorer.pooled_positions(row, sample.type_ids)
        # Quantised layers and code of the checkpoint's own may have no gradient.
        except Exception as error:
            detail = f"pooled by the model itself; where is not known ({brief(error)})"
            return ConformanceItem("position", "note", detail)
        if len(at) != 1:
            return ConformanceItem(
                "position",
                "pass",
                f"pooled by the model itself over {len(at)} of {len(row)} tokens",
            )
        detail = (
            f"pooled by the model itself at token {at[0]} of {len(row)}, {self._token(row[at[0]])}"
        )
        hidden = self._scorer.pad_id == row[-1] and at[0] == self._scorer.own_position(row)
        if not hidden:
            return ConformanceItem("position", "pass", detail)
        detail += ", because the closing token is also the padding token"
        if self._scorer.position == "transformers":
            return ConformanceItem("position", "note", f"position=transformers: {detail}")
        return ConformanceItem(
            "position",
            "fail",
            f"{detail}. If it was trained so, say position=transformers; if not, give the "
            "tokenizer and config.json another padding token",
        )

    def activation(self) -> ConformanceItem:
        """Raw logits, not probabilities."""
        low, high = self._alone.min(), self._alone.max()
        detail = f"raw logits from {low:.3g} to {high:.3g}"
        problem_type = self._checkpoint.config.get("problem_type")
        if problem_type:
            detail += f"; problem_type {problem_type}"
        if len(self._alone) > 1 and low > 0 and high < 1:
            detail += "; all lie in (0, 1), as probabilities would"
            return ConformanceItem("activation", "note", detail)
        return ConformanceItem("activation", "pass", detail)
