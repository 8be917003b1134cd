"""The reward that a policy trained by DPO implies: `implicit:POLICY,REFERENCE`."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from rmcheck.errors import ConformanceError, ModelError, UsageError
from rmcheck.models.checkpoint import settings as known
from rmcheck.models.checkpoint.causal import CausalCheckpoint
from rmcheck.models.engines.asked import Floats, Way
from rmcheck.models.engines.torch.causal import CausalScorer
from rmcheck.models.engines.vllm.generation import VllmGenerator
from rmcheck.models.engines.vllm.placement import SETTINGS as PLACEMENT
from rmcheck.models.kinds.checkpoint_model import CheckpointModel, CheckpointSession
from rmcheck.models.kinds.checkpoint_settings import CheckpointSettings
from rmcheck.models.kinds.implicit.conformance import (
    ImplicitProof,
    TorchImplicitProof,
    VllmImplicitProof,
)
from rmcheck.models.kinds.implicit.scorer import ImplicitScorer
from rmcheck.models.kinds.implicit.tokenizer import ResponseTokenizer
from rmcheck.models.sample import Encoded
from rmcheck.models.spec import ModelSpec, Setting
from rmcheck.models.text.checkpoint_tokenizer import (
    chosen_template,
    installed_version,
    load_tokenizer,
    token_limit,
)


@dataclass(frozen=True, kw_only=True)
class ImplicitSettings(CheckpointSettings):
    """What a spec says of a policy and its reference.

    Attributes:
        beta: That of the training, above 0.
        length_normalised: Whether a reward is divided by the number of tokens that count.
    """

    beta: float
    length_normalised: bool

    @classmethod
    def _values(cls, spec: ModelSpec, stated: Mapping[str, str]) -> dict[str, Any]:
        is_normalised = stated["length_normalised"] == "yes"
        own = {"beta": _positive(spec, stated["beta"]), "length_normalised": is_normalised}
        return super()._values(spec, stated) | own


class ImplicitSession(CheckpointSession["ImplicitRewardModel", ImplicitScorer, ResponseTokenizer]):
    """A policy beside its reference."""

    def _proof(self, encoded: Sequence[Encoded]) -> ImplicitProof:
        proof = VllmImplicitProof if self.model.on_vllm else TorchImplicitProof
        return proof(self.model, self.tokenizer, self.scorer, self.model.formula, encoded)

    def _rewards(self, batch: Sequence[Encoded], way: Way) -> Floats:
        """In units of beta nats."""
        return self.scorer.rewards([e.ids for e in batch], [e.type_ids for e in batch], way)


class ImplicitRewardModel(CheckpointModel):
    """Two causal language models: the policy, and the reference that it was trained from.

    reward = beta * (log policy(response | prompt) - log reference(response | prompt)),

    summed over the tokens of the response, its closing EOS included (see `ResponseTokenizer`);
    with `length_normalised=yes` divided by their number. Both models read the same ids, made by
    the policy's tokenizer and template. Both are in memory together.

    Args:
        spec: Where the two folders are, and settings that differ from the defaults. `beta` is that
            of the training; it changes the scale of rewards and never their order.

    Raises:
        UnknownModelError: No folder, no config.json, or no weights.
        UsageError: There are not two folders, both hold the same weights, or a setting's value is
            impossible.
        ModelError: Weights are pickled, damaged, or an adapter; or there is no tokenizer.
        ConformanceError: One is no causal language model, the vocabularies differ in size, or the
            policy has no chat template.

    Reference:
        Rafailov et al. 2023, arXiv 2305.18290, equation 5 without the term of the prompt alone.
    """

    scheme: ClassVar[str] = "implicit"
    form = ImplicitSettings
    _set: ImplicitSettings
    settings: ClassVar[tuple[Setting, ...]] = (
        Setting("beta", ("BETA",), "0.1"),
        Setting("length_normalised", ("no", "yes"), "no", closed=True),
        known.ENGINE,
        known.BASE,
        known.DTYPE,
        known.DEVICE,
        known.MAX_LENGTH,
        known.TEMPLATE,
        known.DATE,
        known.EOS,
        known.ATTENTION,
        known.PREFIX,
        *PLACEMENT,
        known.TRUST_REMOTE_CODE,
    )

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec)
        self.beta, self.length_normalised = self._set.beta, self._set.length_normalised
        self.policy, self.reference = _checkpoints(spec, self._set.remote_code)
        self._check_pair()
        self._settle(spec, self.policy)
        stated = self._set.max_length
        limits = [token_limit(spec, one, stated) for one in (self.policy, self.reference)]
        self.max_length = min((limit for limit in limits if limit is not None), default=None)
        if self._set.template == "pair":
            raise UsageError(f"{spec.text}: a text pair has no response to sample; name a template")
        self._template = chosen_template(
            spec, self.policy, self._set.template, self._set.date, self._set.eos
        )
        self.fingerprint = self._fingerprint(
            self.policy,
            ("dtype", "eos", "attention"),
            length_normalised="yes" if self.length_normalised else "no",
            beta=self.beta,
            reference=self.reference.model_fingerprint,
            **self._set.versions,
        )

    @property
    def name(self) -> str:
        """The last two parts of both paths, as in `dpo/step-400 against sft/final`."""
        return f"{self.policy.short_name} against {self.reference.short_name}"

    @property
    def description(self) -> Mapping[str, str]:
        """Both folders, beta, dtype, device, conventions."""
        return {
            "policy": f"{self.policy.path} ({self.policy.architecture})",
            "reference": f"{self.reference.path} ({self.reference.architecture})",
            "reward": self.formula,
            "dtype": self._set.dtype,
            **self._run,
            "quantisation": f"{self.policy.quantisation}, {self.reference.quantisation}",
            "max_length": str(self.max_length or "no limit"),
            "template": self.template_source,
            "eos": self._set.eos,
            "transformers": installed_version("transformers"),
        }

    @property
    def formula(self) -> str:
        """The reward as a person writes it."""
        over = "mean over response tokens" if self.length_normalised else "sum over response tokens"
        return f"{self.beta:g} * (log policy - log reference), {over}"

    @property
    def vocabulary_size(self) -> int | None:
        return self.policy.vocabulary_size

    def load(self) -> ImplicitSession:
        words = load_tokenizer(self.policy)
        self._check_vocabulary(words.get_vocab(), load_tokenizer(self.reference).get_vocab())
        tokenizer = ResponseTokenizer(
            words,
            template=self._template,
            eos=self._set.eos,
            max_length=self.max_length,
        )
        policy = self._loaded(self.policy)
        try:
            reference = self._loaded(self.reference)
        except BaseException:
            policy.close()
            raise
        scorer = ImplicitScorer(policy, reference, self.beta, self.length_normalised)
        return ImplicitSession(self, scorer, tokenizer)

    def _loaded(self, checkpoint: CausalCheckpoint) -> CausalScorer | VllmGenerator:
        if self.on_vllm:
            return VllmGenerator(
                checkpoint,
                dtype=self.dtype,
                max_length=self.max_length,
                place=self._set.place.halved(known.VLLM_SHARE if known.has_gpu() else None),
            )
        return CausalScorer(
            checkpoint,
            dtype=self.dtype,
            device=self._set.device,
            attention=self._set.attention,
        )

    def _check_pair(self) -> None:
        sizes = self.policy.vocabulary_size, self.reference.vocabulary_size
        if sizes[0] != sizes[1]:
            raise ConformanceError(
                f"{self.spec}: the policy has {sizes[0]} tokens and the reference {sizes[1]}; an "
                "implicit reward compares probabilities of the same tokens"
            )
        if not self.reference.has_tokenizer:
            raise ModelError(
                f"{self.reference.path} has no tokenizer, so nothing says that its token ids are "
                "the policy's; save it beside the weights: tokenizer.save_pretrained(DIR)"
            )
        if self.policy.model_fingerprint == self.reference.model_fingerprint:
            raise UsageError(
                f"{self.spec}: policy and reference are the same model, so every reward would be "
                "0; write implicit:POLICY,REFERENCE"
            )

    def _check_vocabulary(self, policy: Mapping[str, int], reference: Mapping[str, int]) -> None:
        if policy != reference:
            differing = sorted(set(policy.items()) ^ set(reference.items()), key=lambda p: p[1])
            shown = ", ".join(f"{word!r} {number}" for word, number in differing[:4])
            raise ConformanceError(
                f"{self.spec}: the tokenizers of policy and reference differ in {len(differing)} "
                f"entries ({shown}); an implicit reward compares probabilities of the same tokens"
            )


def _checkpoints(spec: ModelSpec, remote_code: bool) -> tuple[CausalCheckpoint, CausalCheckpoint]:
    named = [part.strip() for part in spec.location.split(",")]
    if len(named) != 2 or not all(named):
        raise UsageError(
            f"{spec.text}: an implicit reward has two folders, and this names "
            f"{len([n for n in named if n])}; write implicit:POLICY,REFERENCE"
        )
    found = [CausalCheckpoint.of(spec, spec.resolve(name), remote_code) for name in named]
    # The other one may be the base itself; where neither is an adapter the first refuses `base`.
    if any(one.adapter for one in found):
        found = [one if one.adapter else replace(one, named_base=None) for one in found]
    policy, reference = found
    policy.check()
    reference.check()
    return policy, reference


def _positive(spec: ModelSpec, text: str) -> float:
    try:
        beta = float(text)
    except ValueError:
        beta = math.nan
    if not (math.isfinite(beta) and beta > 0):
        raise UsageError(f"{spec.text}: beta is {text!r}; it is a number above 0")
    return beta
