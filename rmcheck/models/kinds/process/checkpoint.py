"""A checkpoint folder of a process reward model, judged without loading it."""

import re
from dataclasses import dataclass
from typing import Literal

from rmcheck.errors import ConformanceError, UsageError
from rmcheck.models.checkpoint.causal import CausalCheckpoint
from rmcheck.models.checkpoint.folder import Checkpoint
from rmcheck.models.checkpoint.head import parse_head

# Qwen2.5-Math-PRM: a head of two layers, which transformers has no class for.
QWEN2_PROCESS = "Qwen2ForProcessRewardModel"


@dataclass(frozen=True)
class ProcessCheckpoint(CausalCheckpoint):
    """A folder with a label for each token, or a language model that answers at each step."""

    @property
    def kind(self) -> Literal["head", "causal"]:
        """`head` where labels are read, `causal` where the logits of two answer tokens are."""
        labelled = self.architecture.endswith("ForTokenClassification")
        return "head" if labelled or self.architecture == QWEN2_PROCESS else "causal"

    @property
    def head_layers(self) -> tuple[str, ...]:
        """Linear layers of a decoder's head, in order; empty where labels are read otherwise.

        transformers calls the head of its decoders `score`, and encoders have none of that name.
        """
        ends = (".weight", ".bias")
        names = {name.removesuffix(end) for name in self.tensors for end in ends}
        return tuple(sorted(name for name in names if re.fullmatch(r"score(\.\d+)?", name)))

    @property
    def decoder(self) -> str:
        """The language model that has the same body, as transformers names it."""
        return re.sub(r"For\w+$", "ForCausalLM", self.architecture)

    def answers(self, good: str, bad: str, spec: str) -> tuple[int, int]:
        """Which labels say that a step is right and wrong.

        Args:
            good: Name or index; empty when not given.
            bad: Name or index; empty when not given, and with two labels the other one.
            spec: For messages.

        Raises:
            ConformanceError: There are fewer than two labels; or they are not named and say by
                themselves which is which.
            UsageError: There is no such label, or both are one.
        """
        labels = self.labels
        listing = ", ".join(f"{i} {label}" for i, label in enumerate(labels))
        if len(labels) < 2:
            raise ConformanceError(
                f"{self.path} has one label ({listing}); a step's probability is read from two"
            )
        if not good and not bad:
            # Unnamed, they are numbered as TRL and Qwen train them: 1 is a right step.
            if labels != ("LABEL_0", "LABEL_1"):
                raise ConformanceError(
                    f"{self.path} has the labels {listing}; say which one is a right step: add "
                    f"good=NAME or good=INDEX to {spec!r}"
                    + ", and bad= likewise"
                    * (len(labels) > 2)
                )
            return 1, 0
        named = {name: text for name, text in (("good", good), ("bad", bad)) if text}
        found = {name: self._label(name, text, spec) for name, text in named.items()}
        if len(found) == 1 and len(labels) > 2:
            missing = "bad" if good else "good"
            raise UsageError(f"{spec}: there are {len(labels)} labels ({listing}); say {missing}=")
        for name, other in (("good", "bad"), ("bad", "good")):
            if name not in found:
                found[name] = 1 - found[other]
        if found["good"] == found["bad"]:
            raise UsageError(f"{spec}: good and bad are one label, {labels[found['good']]!r}")
        return found["good"], found["bad"]

    def _label(self, name: str, text: str, spec: str) -> int:
        key = parse_head(text, self.labels, f"{spec}: {name}").key
        if not isinstance(key, int):
            raise UsageError(f"{spec}: {name} is {text!r}; it is one label")
        return key

    def _check_architecture(self) -> None:
        if self.architecture == QWEN2_PROCESS:
            return
        own_classes = self.config.get("auto_map") or {}
        if self.kind == "head":
            if "AutoModelForTokenClassification" in own_classes and not self.remote_code:
                raise ConformanceError(
                    f"{self.path} is a {self.architecture}: its own code would be run; allow that "
                    "with trust_remote_code=yes"
                )
        elif self.architecture.endswith("ForSequenceClassification"):
            raise ConformanceError(
                f"{self.path} is a {self.architecture}: it gives a response one reward and its "
                "steps none; score it as hf:DIR"
            )
        elif (
            self.architecture.endswith(("ForCausalLM", "LMHeadModel"))
            or "AutoModelForCausalLM" in own_classes
        ):
            super()._check_architecture()
        else:
            raise ConformanceError(
                f"{self.path} is a {self.architecture}: rewards of steps are read from "
                f"...ForTokenClassification, ...ForCausalLM and {QWEN2_PROCESS} models"
            )

    def _check_head(self) -> None:
        if self.kind == "causal":
            super()._check_head()
        else:
            Checkpoint._check_head(self)
