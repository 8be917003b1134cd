"""What a transformers model must prove before its rewards count: the conformance page.

Each check scores a few real samples in two ways that must agree, or states a convention. What
fails stops the run, because every reward of such a model would be wrong in the same silent way.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from rmcheck.errors import ConformanceError, ScoringError
from rmcheck.models.model import ConformanceItem, Encoded, checked_rewards
from rmcheck.models.torch_scorer import brief

if TYPE_CHECKING:
    from rmcheck.models.transformers_model import TransformersRewardModel

Floats = NDArray[np.float64]
Status = Literal["pass", "fail", "note"]
# Enough lengths to see padding, few enough to cost one batch.
MOST_SAMPLES = 8
# Largest change of a reward that is still rounding. float32: engines agree to 1e-5 on rewards of
# unit spread. bfloat16 and float16: 0.06 to 0.13 was seen on rewards of -6 to 6.
FLOAT32_TOLERANCE = 1e-3
HALF_TOLERANCE = 0.25


@dataclass(frozen=True)
class Proven:
    """What a proof found.

    Attributes:
        items: The conformance page.
        shares_prefixes: Whether rewards with shared prompts agree with rewards one by one.
        warning: What a reader of the rewards must know; empty if nothing.
    """

    items: tuple[ConformanceItem, ...]
    shares_prefixes: bool
    warning: str = ""


def prove(model: "TransformersRewardModel", encoded: Sequence[Encoded]) -> Proven:
    """The conformance page of a loaded model.

    Args:
        model: Loaded.
        encoded: Samples of the run; at most 8 of different lengths are scored.

    Returns:
        All items, none of which is a `fail`, and what follows from them.

    Raises:
        ConformanceError: An item fails; the message is the page.
        ScoringError: A reward is NaN or infinite, or there are no samples.
        MemoryError: They do not fit in one batch; the caller tries fewer.
    """
    proof = Proof(model, spread_of_lengths(encoded))
    items = tuple(check() for check in proof.checks())
    require_passed(model.spec, items)
    return Proven(items, proof.shares_prefixes, proof.warning)


def require_passed(spec: str, items: Sequence[ConformanceItem]) -> None:
    """Refuse a model of which an item fails.

    Raises:
        ConformanceError: With the page.
    """
    failed = sum(item.status == "fail" for item in items)
    if failed:
        raise ConformanceError(
            f"{spec} failed {failed} of {len(items)} conformance checks; none of its "
            f"rewards is used\n\n{page(items)}"
        )


def page(items: Sequence[ConformanceItem]) -> str:
    """The items as lines of text, failures first."""
    order = {"fail": 0, "note": 1, "pass": 2}
    width = max((len(item.name) for item in items), default=0)
    ranked = sorted(items, key=lambda item: order[item.status])
    return "\n".join(f"  {item.status}  {item.name:<{width}}  {item.detail}" for item in ranked)


def spread_of_lengths(encoded: Sequence[Encoded], most: int = MOST_SAMPLES) -> tuple[Encoded, ...]:
    """At most `most` different inputs, evenly spaced from the shortest to the longest."""
    different = sorted({e.key: e for e in encoded}.values(), key=lambda e: (e.length, e.key))
    if len(different) <= most:
        return tuple(different)
    at = np.linspace(0, len(different) - 1, most).round().astype(int)
    return tuple(different[i] for i in at)


class Proof:
    """The checks, over one set of samples and the rewards they get one at a time."""

    def __init__(self, model: "TransformersRewardModel", samples: Sequence[Encoded]) -> None:
        if not samples:
            raise ScoringError(f"{model.spec}: no samples to prove the model on")
        self._model = model
        self._scorer = model.scorer
        self._samples = samples
        self.shares_prefixes = False
        self.warning = ""
        self._alone = np.concatenate([self._together([sample]) for sample in samples])
        self._spread = float(self._alone.std())
        # A tolerance is a share of how far rewards lie apart, so a scaled head changes nothing;
        # below a spread of 1 it stays, since rounding does not shrink with the head's output.
        scale = max(1.0, self._spread)
        half = model.dtype != "float32"
        self._tolerance = (HALF_TOLERANCE if half else FLOAT32_TOLERANCE) * scale

    def checks(self) -> tuple[Callable[[], ConformanceItem], ...]:
        """In the order of the page."""
        return (
            self.head,
            self.precision,
            self.attention,
            self.template,
            self.response_kept,
            self.tokenizer_file,
            self.bos,
            self.eos,
            self.position,
            self.pad_eos,
            self.batch_invariance,
            self.shared_prefix,
            self.activation,
            self.length,
            self.normalisation,
        )

    def head(self) -> ConformanceItem:
        """Loaded, not random; one logit, or named ones; in float32."""
        checkpoint, dtype = self._model.checkpoint, self._scorer.head_dtype
        one = "one logit" if len(checkpoint.labels) == 1 else f"{len(checkpoint.labels)} logits"
        reward = self._model.head.formula
        detail = f"read from the weights; {one}, the reward is {reward}; computed in {dtype}"
        return ConformanceItem("head", "pass" if dtype == "float32" else "note", detail)

    def precision(self) -> ConformanceItem:
        """Type, device and quantisation."""
        model = self._model
        quantised = model.checkpoint.quantisation
        detail = f"{model.dtype} on {self._scorer.device}, quantisation {quantised}"
        if model.dtype == "float16" and self._scorer.device.type == "cpu":
            detail += "; float16 on a CPU is slow and overflows at 65504"
        exact = model.dtype == "float32" and quantised == "none"
        return ConformanceItem("precision", "pass" if exact else "note", detail)

    def attention(self) -> ConformanceItem:
        """Which attention runs, and whether it drops soft-capping."""
        used = self._scorer.attention
        if self._model.checkpoint.soft_caps_attention and used != "eager":
            return ConformanceItem(
                "attention",
                "fail",
                f"config.json soft-caps attention and {used} leaves that out; use attention=eager",
            )
        if self._model.checkpoint.soft_caps_attention:
            used += ", since config.json soft-caps attention and sdpa would leave that out"
        return ConformanceItem("attention", "pass", used)

    def template(self) -> ConformanceItem:
        """Where the conversation's form comes from, with the beginning of one text."""
        text = self._model.tokenizer.text(self._samples[0].ids[:40])
        return ConformanceItem(
            "template", "note", f"{self._model.template_source}; begins {text!r}"
        )

    def response_kept(self) -> ConformanceItem:
        """Whether templates that rewrite turns (dropping a thinking part) changed a response."""
        changed = [s for s in self._samples if not s.cut and not self._holds_response(s)]
        if not changed:
            return ConformanceItem(
                "response_kept", "pass", "every response stands in its text as it is"
            )
        named = ", ".join(repr(s.sample.prompt_id) for s in changed[:3])
        return ConformanceItem(
            "response_kept",
            "note",
            f"{len(changed)} of {len(self._samples)} responses are not in their text word for word "
            f"(prompts {named}): the template or the tokenizer rewrites them",
        )

    def tokenizer_file(self) -> ConformanceItem:
        """Whether the tokenizer that transformers builds reads as tokenizer.json says."""
        differing = self._model.tokenizer.differing_from_file(
            self._model.checkpoint.path / "tokenizer.json", [s.sample for s in self._samples]
        )
        if differing is None:
            return ConformanceItem("tokenizer_file", "note", "not compared with tokenizer.json")
        if not differing:
            return ConformanceItem("tokenizer_file", "pass", "same ids as tokenizer.json gives")
        return ConformanceItem(
            "tokenizer_file",
            "note",
            f"{differing} of {len(self._samples)} texts get other ids than tokenizer.json gives: "
            f"transformers builds {self._model.tokenizer.class_name} for this model type. Engines "
            "that read tokenizer.json give other rewards",
        )

    def bos(self) -> ConformanceItem:
        """At most one BOS at the beginning; two are refused when encoding."""
        bos, ids = self._model.tokenizer.bos_id, self._samples[0].ids
        count = int(ids[0] == bos) if bos is not None else 0
        return ConformanceItem(
            "bos", "pass", f"{count} at the beginning; first ids {list(ids[:4])}"
        )

    def eos(self) -> ConformanceItem:
        """How the text ends, and how much the reward hangs on its EOS."""
        tokenizer = self._model.tokenizer
        eos, last = tokenizer.eos_id, self._samples[0].ids[-1]
        detail = f"the text ends with {tokenizer.text([last])!r} (id {last})"
        if eos is None or not self._scorer.reads_last_token:
            return ConformanceItem("eos", "note", detail)
        with_eos = [s.ids[-1] == eos for s in self._samples]
        other = [
            list(s.ids[:-1]) if has else [*s.ids, eos]
            for s, has in zip(self._samples, with_eos, strict=True)
            if len(s.ids) > 1
        ]
        same = [a for s, a in zip(self._samples, self._alone, strict=True) if len(s.ids) > 1]
        change = np.abs(self._rewards_alone(other) - same).mean() if other else 0.0
        name = tokenizer.text([eos])
        verb = "without" if all(with_eos) else "with" if not any(with_eos) else "toggling"
        return ConformanceItem(
            "eos",
            "note",
            f"{detail}; {sum(with_eos)} of {len(with_eos)} end with EOS {name!r}; "
            f"{verb} it rewards change by {change:.3g} on average (their spread is "
            f"{self._spread:.3g})",
        )

    def position(self) -> ConformanceItem:
        """The token at which the reward is read, against the one transformers reads."""
        scorer = self._scorer
        if not scorer.reads_last_token:
            return self._pooling()
        own = np.array([scorer.own_reward(s.ids, s.type_ids) for s in self._samples])
        gap = np.abs(own - self._alone)
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
                f"this architecture ({self._model.checkpoint.architecture})",
            )
        return ConformanceItem(
            "position",
            "fail",
            f"{detail}. Say at which one the model was trained: position=last (OpenRLHF, vLLM) or "
            "position=transformers (trained with transformers or TRL)",
        )

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

    def pad_eos(self) -> ConformanceItem:
        """Whether padding and EOS are one token, which hides the EOS from transformers."""
        pad, eos = self._scorer.pad_id, self._model.tokenizer.eos_id
        if pad is None or pad != eos:
            return ConformanceItem("pad_eos", "pass", f"padding id {pad}, EOS id {eos}")
        return ConformanceItem(
            "pad_eos",
            "note",
            f"padding and EOS are one token, {self._token(pad)}; transformers takes a closing EOS "
            "for padding and reads the reward before it (see position)",
        )

    def batch_invariance(self) -> ConformanceItem:
        """A batch of one against a batch of many."""
        alone = self._alone
        together = self._together(self._samples)
        change = np.abs(together - alone)
        flips = sum(
            (alone[i] - alone[j]) * (together[i] - together[j]) < 0
            for i, j in combinations(range(len(alone)), 2)
        )
        pairs = len(alone) * (len(alone) - 1) // 2
        detail = (
            f"{len(alone)} samples alone and in one batch: rewards change by up to "
            f"{change.max():.2g} (allowed {self._tolerance:.2g}); {flips} of {pairs} pairs flip"
        )
        return ConformanceItem(
            "batch_invariance", "pass" if change.max() <= self._tolerance else "fail", detail
        )

    def shared_prefix(self) -> ConformanceItem:
        """Prompts computed once for all of their responses, against one row at a time."""
        rule = self._model.prefix
        if not self._scorer.reads_last_token:
            return ConformanceItem(
                "shared_prefix", "pass", "off: the model reads a text in both directions"
            )
        if rule == "off":
            return ConformanceItem("shared_prefix", "pass", "off, as prefix=off says")
        rows = [sample.ids for sample in self._samples]
        grafted = _grafted(rows)
        alone = np.concatenate([self._alone, self._rewards_alone(grafted)])
        try:
            shared = self._scorer.packed_rewards([*rows, *grafted], least=1)
        except MemoryError:
            raise
        # An architecture may refuse the packed row in any way that its own code has.
        except Exception as error:
            return self._not_shared(f"it cannot be run packed ({brief(error)})")
        gap = np.abs(shared - alone)
        worst = float(gap.max())
        if not worst <= self._tolerance:
            return self._not_shared(
                f"rewards with shared prompts differ from one by one by up to {worst:.3g} (allowed "
                f"{self._tolerance:.2g}) on {len(alone)} rows"
            )
        self.shares_prefixes = True
        return ConformanceItem(
            "shared_prefix",
            "pass",
            f"a prompt is computed once for all of its responses; on {len(alone)} rows rewards "
            f"change by up to {worst:.2g} (allowed {self._tolerance:.2g})",
        )

    def _not_shared(self, why: str) -> ConformanceItem:
        if self._model.prefix == "shared":
            return ConformanceItem(
                "shared_prefix", "fail", f"prefix=shared, but {why}; use prefix=off"
            )
        self.warning = (
            f"prompts are not shared, every response is computed with its whole prompt: {why}"
        )
        return ConformanceItem("shared_prefix", "note", f"WARNING: {self.warning}")

    def activation(self) -> ConformanceItem:
        """Raw logits, not probabilities."""
        low, high = self._alone.min(), self._alone.max()
        detail = f"raw logits from {low:.3g} to {high:.3g}"
        problem_type = self._model.checkpoint.config.get("problem_type")
        if problem_type:
            detail += f"; problem_type {problem_type}"
        if len(self._alone) > 1 and low > 0 and high < 1:
            detail += "; all lie in (0, 1), as probabilities would"
            return ConformanceItem("activation", "note", detail)
        return ConformanceItem("activation", "pass", detail)

    def length(self) -> ConformanceItem:
        """The limit, and how many of these samples were cut."""
        limit, cut = self._model.max_length, sum(s.cut > 0 for s in self._samples)
        detail = f"at most {limit or 'any number of'} tokens"
        if cut:
            detail += f"; {cut} of {len(self._samples)} of these samples were cut"
        return ConformanceItem("max_length", "note" if cut or limit is None else "pass", detail)

    def normalisation(self) -> ConformanceItem:
        """Whether training normalised rewards by a mean and a standard deviation."""
        config = self._model.checkpoint.config
        stated = {k: config[k] for k in ("mean", "std") if config.get(k) is not None}
        if not stated:
            return ConformanceItem("normalisation", "pass", "config.json states none")
        values = ", ".join(f"{key} {value}" for key, value in stated.items())
        return ConformanceItem(
            "normalisation",
            "note",
            f"training normalised rewards ({values}); these are raw, so compare ranks or "
            "standardise before comparing values",
        )

    def _together(self, samples: Sequence[Encoded]) -> Floats:
        rewards = self._scorer.rewards([s.ids for s in samples], [s.type_ids for s in samples])
        return checked_rewards(rewards, samples, self._model.spec)

    def _rewards_alone(self, rows: Sequence[Sequence[int]]) -> Floats:
        return np.concatenate([self._scorer.rewards([row]) for row in rows])

    def _holds_response(self, encoded: Encoded) -> bool:
        words = "".join(encoded.sample.response.split())
        return words in "".join(self._model.tokenizer.text(encoded.ids).split())

    def _token(self, token: int) -> str:
        return f"{self._model.tokenizer.text([token])!r} (id {token})"


def _grafted(rows: Sequence[Sequence[int]]) -> list[list[int]]:
    """The first half of the longest row with other second halves behind it, four at most.

    Rows of a proof need not share a prompt; these do, and none is longer than the longest.
    """
    ranked = sorted(rows, key=len)
    half = len(ranked[-1]) // 2
    endings = [row[len(row) // 2 :] for row in ranked[:-1][-3:]]
    return [[*ranked[-1][:half], *ending] for ending in [*endings, ranked[-1][half:][::-1]]]
