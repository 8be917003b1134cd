"""Reward models that vLLM runs: `vllm:DIR`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from rmcheck.errors import PartialScoringError, RmcheckError, ScoringError, UsageError
from rmcheck.models.checkpoint import settings as known
from rmcheck.models.engines.asked import Floats, Way
from rmcheck.models.engines.vllm.engine import vllm_version
from rmcheck.models.engines.vllm.placement import SETTINGS as PLACEMENT
from rmcheck.models.engines.vllm.pooling import VllmPooling
from rmcheck.models.kinds.checkpoint_model import CheckpointSession, ClassifierModel
from rmcheck.models.kinds.checkpoint_settings import CheckpointSettings
from rmcheck.models.kinds.classifier.vllm_conformance import CacheRule, VllmProof
from rmcheck.models.libraries import brief
from rmcheck.models.model import Proven
from rmcheck.models.sample import Encoded, named_prompts
from rmcheck.models.spec import ModelSpec, Setting
from rmcheck.models.text.checkpoint_tokenizer import installed_version
from rmcheck.models.text.tokenization import ConversationTokenizer


@dataclass(frozen=True, kw_only=True)
class VllmSettings(CheckpointSettings):
    """What a spec says of a folder that vLLM runs.

    Attributes:
        prefix_cache: Whether rewards may be read behind beginnings from the cache.
    """

    engine: Literal["vllm"] = "vllm"
    prefix_cache: CacheRule

    @classmethod
    def _values(cls, spec: ModelSpec, stated: Mapping[str, str]) -> dict[str, Any]:
        """`max_model_len` is vLLM's word for `max_length`."""
        values = super()._values(spec, stated)
        if theirs := values.pop("max_model_len"):
            if values["max_length"]:
                raise UsageError(
                    f"{spec.text}: max_model_len is vLLM's word for max_length; give one of them"
                )
            values["max_length"] = theirs
        return values


class VllmSession(CheckpointSession["VllmRewardModel", VllmPooling, ConversationTokenizer]):
    """A classifier that vLLM runs."""

    def prove(self, encoded: Sequence[Encoded]) -> Proven:
        """The conformance page, which decides about the prefix cache.

        Raises:
            ConformanceError: An item fails; the message is the page.
            ScoringError: A reward is NaN or infinite, there are no samples, or vLLM fails on them.
            MemoryError: They do not fit in one batch; the caller tries fewer.
        """
        try:
            return super().prove(encoded)
        except (MemoryError, RmcheckError):
            raise
        # What an engine raises is any error of vLLM, torch or a kernel.
        except Exception as error:
            raise ScoringError(f"{self.model.spec}: vLLM cannot run it. {brief(error)}") from error

    def _proof(self, encoded: Sequence[Encoded]) -> VllmProof:
        return VllmProof(self, self.model.prefix_cache, encoded)

    def _rewards(self, batch: Sequence[Encoded], way: Way) -> Floats:
        """Raw logits.

        Raises:
            PartialScoringError: vLLM fails on some samples, which are named, even one by one.
        """
        try:
            return self._logits(batch)
        except (MemoryError, RmcheckError):
            raise
        except Exception as error:
            if not self.alive:
                raise ScoringError(
                    f"{self.model.spec}: vLLM cannot go on. {brief(error)}"
                ) from error
            return self._one_by_one(batch, error)

    def _logits(self, batch: Sequence[Encoded]) -> Floats:
        return self.scorer.rewards([e.ids for e in batch], [e.type_ids for e in batch])

    def _one_by_one(self, batch: Sequence[Encoded], error: Exception) -> Floats:
        """The rewards of a batch that failed as a whole, if each sample alone has one."""
        rewards: dict[int, float] = {}
        failed = []
        for i, one in enumerate(batch):
            try:
                rewards[i] = float(self._logits([one])[0])
            except Exception as again:
                failed.append(one.sample)
                error = again
        if failed:
            first = failed[0]
            raise PartialScoringError(
                f"{self.model.spec}: vLLM fails on {len(failed)} of {len(batch)} samples, even one "
                f"by one. The first is prompt {first.prompt_id!r}, response {first.index}; prompts "
                f"{named_prompts(failed)}. {brief(error)}",
                rewards,
                goes_on=bool(rewards),
            ) from error
        return np.array(list(rewards.values()))


class VllmRewardModel(ClassifierModel):
    """A folder in transformers' layout, decoder or encoder, that vLLM scores.

    Same checks, template, token ids and settings as `hf:`, another engine. Opening one reads
    config.json and the safetensors headers and hashes the files; `load` starts vLLM in a process
    of its own, which `close` ends.

    The engine and its version are part of the fingerprint. Its rewards differ from those of
    `hf:` by 1e-5 in float32 and by up to 0.2 in bfloat16, and two checkpoints must not be
    compared across that. The prefix cache and the memory are no part of it: rewards with the cache
    must agree with those without, to rounding, before it is used. What it raises: see
    `ClassifierModel`.
    """

    scheme: ClassVar[str] = "vllm"
    form = VllmSettings
    _set: VllmSettings
    settings: ClassVar[tuple[Setting, ...]] = (
        known.BASE,
        known.DTYPE,
        known.HEAD,
        known.MAX_LENGTH,
        Setting("max_model_len", ("N",)),
        known.TEMPLATE_OR_PAIR,
        known.DATE,
        known.EOS,
        known.POSITION,
        Setting("prefix_cache", ("auto", "on", "off"), "auto", closed=True),
        *PLACEMENT,
        known.TRUST_REMOTE_CODE,
    )

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec)
        self.fingerprint = self._fingerprint(
            self.checkpoint,
            ("dtype", "eos", "position"),
            head=self.head.key,
            vllm=vllm_version(),
            **self._set.place.facts,
        )
        self.gpus = self._set.place.devices

    @property
    def description(self) -> Mapping[str, str]:
        """Architecture, dtype, conventions, versions.

        There is no `device`: vLLM makes its own batches, so that rmcheck's are not sized by one.
        """
        return {
            "architecture": self.checkpoint.architecture,
            **self.checkpoint.described,
            "dtype": self.dtype,
            "quantisation": self.checkpoint.quantisation,
            "head": str(self.head),
            "max_length": str(self.max_length or "vLLM's limit"),
            "template": self.template_source,
            "eos": self._set.eos,
            "position": self._set.position,
            "prefix_cache": self.prefix_cache,
            **self._set.place.described,
            "vllm": vllm_version(),
            "transformers": installed_version("transformers"),
        }

    @property
    def prefix_cache(self) -> CacheRule:
        """The `prefix_cache` setting."""
        return self._set.prefix_cache

    def load(self) -> VllmSession:
        engine = VllmPooling(
            self.checkpoint,
            dtype=self.dtype,
            head=self.head,
            position=self._set.position,
            max_length=self.max_length,
            place=self._set.place,
            prefix_cache=self.prefix_cache != "off",
        )
        # What the engine takes is known now.
        return VllmSession(self, engine, self._tokenizer(engine.max_length))
