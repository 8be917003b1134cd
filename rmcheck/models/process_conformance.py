"""What a process reward model must prove before its rewards count."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from rmcheck.errors import ScoringError
from rmcheck.models.conformance import (
    FLOAT32_TOLERANCE,
    HALF_TOLERANCE,
    Proven,
    require_passed,
    spread_of_lengths,
)
from rmcheck.models.model import ConformanceItem, Encoded
from rmcheck.models.process_tokenizer import TAG
from rmcheck.models.torch_scorer import brief

if TYPE_CHECKING:
    from rmcheck.models.process_model import ProcessRewardModel

Floats = NDArray[np.float64]


def prove(model: "ProcessRewardModel", encoded: Sequence[Encoded]) -> Proven:
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
    proof = ProcessProof(model, spread_of_lengths(encoded))
    items = tuple(check() for check in proof.checks())
    require_passed(model.spec, items)
    return Proven(items, proof.shares_prefixes, proof.warning)


class ProcessProof:
    """The checks, over one set of samples and the log-odds of their steps one at a time."""

    def __init__(self, model: "ProcessRewardModel", samples: Sequence[Encoded]) -> None:
        if not samples:
            raise ScoringError(f"{model.spec}: no samples to prove the model on")
        self._model = model
        self._scorer = model.scorer
        self._samples = samples
        self.shares_prefixes = False
        self.warning = ""
        self._steps = self._one_by_one(samples)
        self._alone = np.concatenate(self._steps)
        if not np.isfinite(self._alone).all():
            raise ScoringError(f"{model.spec}: log-odds of steps are NaN or infinite")
        half = model.dtype != "float32"
        share = HALF_TOLERANCE if half else FLOAT32_TOLERANCE
        # A share of how far log-odds lie apart, so a scaled head changes nothing.
        self._tolerance = share * max(1.0, float(self._alone.std()))

    def checks(self) -> tuple[Callable[[], ConformanceItem], ...]:
        """In the order of the page."""
        return (
            self.reward,
            self.head,
            self.answers,
            self.precision,
            self.attention,
            self.template,
            self.bos,
            self.tag,
            self.tags,
            self.steps,
            self.logits,
            self.batch_invariance,
            self.shared_prefix,
            self.length,
        )

    def reward(self) -> ConformanceItem:
        """The formula."""
        return ConformanceItem("reward", "note", self._model.formula)

    def head(self) -> ConformanceItem:
        """Loaded, not random; loading has refused what is not."""
        what = "labels" if self._model.checkpoint.kind == "head" else "output layer"
        return ConformanceItem("head", "pass", f"{what} read from the weights; float32")

    def answers(self) -> ConformanceItem:
        """Which two logits a step's log-odds are the difference of."""
        good, bad = self._scorer.answers
        if self._model.checkpoint.kind == "head":
            labels = self._model.checkpoint.labels
            detail = f"right step {labels[good]!r} ({good}), wrong step {labels[bad]!r} ({bad})"
        else:
            detail = f"right step {self._token(good)}, wrong step {self._token(bad)}"
        return ConformanceItem("answers", "pass", detail)

    def precision(self) -> ConformanceItem:
        """Type, device and quantisation."""
        quantised = self._model.checkpoint.quantisation
        detail = f"{self._model.dtype} on {self._scorer.device}, quantisation {quantised}"
        exact = self._model.dtype == "float32" and quantised == "none"
        return ConformanceItem("precision", "pass" if exact else "note", detail)

    def attention(self) -> ConformanceItem:
        """Which attention runs, and whether it drops soft-capping."""
        used = self._scorer.attention
        if self._model.checkpoint.soft_caps_attention and used != "eager":
            return ConformanceItem(
                "attention",
                "fail",
                f"the model soft-caps attention and {used} leaves that out; use attention=eager",
            )
        return ConformanceItem("attention", "pass", used)

    def template(self) -> ConformanceItem:
        """Where the conversation's form comes from, with the beginning of one text."""
        text = self._model.tokenizer.text(self._samples[0].ids[:40])
        return ConformanceItem(
            "template", "note", f"{self._model.template_source}; begins {text!r}"
        )

    def bos(self) -> ConformanceItem:
        """At most one BOS at the beginning; two are refused when encoding."""
        ids = self._samples[0].ids
        count = int(ids[0] == self._model.tokenizer.bos_id)
        return ConformanceItem(
            "bos", "pass", f"{count} at the beginning; first ids {list(ids[:4])}"
        )

    def tag(self) -> ConformanceItem:
        """The tokens of the tag; of several the last is read."""
        ids = self._model.tokenizer.tag_ids
        pieces = ", ".join(map(self._token, ids))
        if len(ids) == 1:
            return ConformanceItem("tag", "pass", f"one token, {pieces}")
        return ConformanceItem(
            "tag", "note", f"{self._model.tag!r} is {len(ids)} tokens ({pieces}); read at the last"
        )

    def tags(self) -> ConformanceItem:
        """As many tags as steps, and at each of them one token."""
        read = [self._read_tokens(e) for e in self._samples]
        wanted = [len(self._model.tokenizer.steps(e.sample)) for e in self._samples]
        wrong = [i for i, tokens in enumerate(read) if len(tokens) != wanted[i]]
        if wrong:
            first = wrong[0]
            return ConformanceItem(
                "tags",
                "fail",
                f"prompt {self._samples[first].sample.prompt_id!r}: {len(read[first])} tags for "
                f"{wanted[first]} steps",
            )
        different = sorted({token for tokens in read for token in tokens})
        detail = f"{sum(wanted)} tags for as many steps, read at " + ", ".join(
            map(self._token, different[:4])
        )
        return ConformanceItem("tags", "pass" if len(different) == 1 else "fail", detail)

    def steps(self) -> ConformanceItem:
        """How many steps responses have, and the worst of one."""
        counts = [len(steps) for steps in self._steps]
        if max(counts) == 1:
            detail = "every response has one step: is `step` right?"
            return ConformanceItem("steps", "note", f"{detail} ({len(counts)} responses)")
        longest = int(np.argmax(counts))
        values = self._steps[longest]
        text = self._model.tokenizer.steps(self._samples[longest].sample)[int(values.argmin())]
        return ConformanceItem(
            "steps",
            "pass",
            f"{min(counts)} to {max(counts)} a response, log-odds from {self._alone.min():.3g} to "
            f"{self._alone.max():.3g}; the worst of {len(values)} is {text[:60]!r}",
        )

    def logits(self) -> ConformanceItem:
        """Two logits made at the tags only, against the model's own forward."""
        shortest = self._samples[0]
        own = self._scorer.own_log_odds(shortest.ids, shortest.type_ids)
        gap = float(np.abs(own - self._steps[0]).max())
        detail = f"{gap:.2g} from the model's own forward"
        if gap <= self._tolerance:
            return ConformanceItem("logits", "pass", detail)
        return ConformanceItem(
            "logits",
            "fail",
            f"{detail} (allowed {self._tolerance:.2g}); more than its last layer makes its logits, "
            f"and rmcheck cannot read this architecture ({self._model.checkpoint.architecture})",
        )

    def batch_invariance(self) -> ConformanceItem:
        """A batch of one against a batch of many."""
        together = self._scorer.log_odds(*_rows(self._samples))
        change = np.abs(np.concatenate(together) - self._alone).max()
        detail = (
            f"{len(self._samples)} samples alone and in one batch: log-odds change by up to "
            f"{change:.2g} (allowed {self._tolerance:.2g})"
        )
        return ConformanceItem(
            "batch_invariance", "pass" if change <= self._tolerance else "fail", detail
        )

    def shared_prefix(self) -> ConformanceItem:
        """Prompts computed once for all of their responses, against one row at a time."""
        if not self._scorer.is_decoder:
            return ConformanceItem(
                "shared_prefix", "pass", "off: the model reads a text in both directions"
            )
        if self._model.prefix == "off":
            return ConformanceItem("shared_prefix", "pass", "off, as prefix=off says")
        grafted = _grafted(self._samples)
        alone = np.concatenate([self._alone, *self._one_by_one(grafted)])
        try:
            shared = self._scorer.packed_log_odds(*_rows([*self._samples, *grafted]), least=1)
        except MemoryError:
            raise
        # An architecture may refuse the packed row in any way that its own code has.
        except Exception as error:
            return self._not_shared(f"it cannot be run packed ({brief(error)})")
        worst = float(np.abs(np.concatenate(shared) - alone).max())
        detail = f"log-odds change by up to {worst:.2g} (allowed {self._tolerance:.2g})"
        if not worst <= self._tolerance:
            return self._not_shared(f"{detail} against one by one")
        self.shares_prefixes = True
        return ConformanceItem(
            "shared_prefix", "pass", f"a prompt is computed once for all of its responses; {detail}"
        )

    def length(self) -> ConformanceItem:
        """The limit, and how many of these samples were cut."""
        limit, cut = self._model.max_length, sum(s.cut > 0 for s in self._samples)
        detail = f"at most {limit or 'any number of'} tokens"
        if cut:
            detail += f"; {cut} of {len(self._samples)} of these prompts were cut"
        return ConformanceItem("max_length", "note" if cut or limit is None else "pass", detail)

    def _not_shared(self, why: str) -> ConformanceItem:
        if self._model.prefix == "shared":
            return ConformanceItem(
                "shared_prefix", "fail", f"prefix=shared, but {why}; use prefix=off"
            )
        self.warning = (
            f"prompts are not shared, every response is computed with its whole prompt: {why}"
        )
        return ConformanceItem("shared_prefix", "note", f"WARNING: {self.warning}")

    def _one_by_one(self, samples: Sequence[Encoded]) -> list[Floats]:
        return [self._scorer.log_odds([s.ids], [s.type_ids])[0] for s in samples]

    def _read_tokens(self, encoded: Encoded) -> list[int]:
        marked = zip(encoded.ids, encoded.type_ids, strict=True)
        return [token for token, mark in marked if mark == TAG]

    def _token(self, token: int) -> str:
        return f"{self._model.tokenizer.text([token])!r} (id {token})"


def _rows(samples: Sequence[Encoded]) -> tuple[list[tuple[int, ...]], list[tuple[int, ...]]]:
    return [s.ids for s in samples], [s.type_ids for s in samples]


def _grafted(samples: Sequence[Encoded]) -> list[Encoded]:
    """The longest sample, and three others' last tokens behind its beginning.

    Rows of a proof need not share a prompt; these share three quarters of the longest, with the
    tags in it, and none is longer.
    """
    longest = samples[-1]
    shared = max(1, longest.length * 3 // 4)
    found = [longest]
    for other in samples[:-1][-3:]:
        behind = other.length - min(other.length, longest.length - shared)
        ids = longest.ids[:shared] + other.ids[behind:]
        types = longest.type_ids[:shared] + other.type_ids[behind:]
        found.append(replace(longest, ids=ids, type_ids=types, length=len(ids)))
    return found
