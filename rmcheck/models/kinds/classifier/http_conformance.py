"""What a server must prove before its rewards count: the conformance page of `http:`."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import exp
from typing import Any, ClassVar
from urllib.parse import urlsplit

import numpy as np

from rmcheck.errors import ScoringError
from rmcheck.models.engines.asked import Floats, Way
from rmcheck.models.engines.http.address import is_loopback
from rmcheck.models.engines.http.scorer import ServerScorer
from rmcheck.models.model import ConformanceItem
from rmcheck.models.proof.compared import TokensProof
from rmcheck.models.proof.conformance import (
    FLOAT32_TOLERANCE,
    HALF_TOLERANCE,
    Checks,
    Status,
)
from rmcheck.models.sample import Encoded
from rmcheck.models.text.tokenization import ConversationTokenizer
from rmcheck.stats.functions import logistic

Logits = Mapping[str, float]
# Two answers about one text differ by the rounding of the server's type; a probability less so.
_SAME_PROBABILITY = 0.05


class ServerProof(TokensProof):
    """The checks, over the samples that the server scores one at a time.

    Args:
        template: Where the chat template comes from.
        tokenizer: Of the served model.
        scorer: The server.
        encoded: Samples of the run; at most 8 of different lengths are scored.
        version: What the user says of the weights.
        takes_types: Whether the model tells a pair's texts apart by type ids; None if nothing says.

    Raises:
        ScoringError: There are no samples.
    """

    limited: ClassVar[str] = ", checked before anything is sent"

    def __init__(
        self,
        template: str,
        tokenizer: ConversationTokenizer,
        scorer: ServerScorer,
        encoded: Sequence[Encoded],
        *,
        version: str,
        takes_types: bool | None,
    ) -> None:
        self._scorer = scorer
        self._client = scorer.client
        self._version, self._takes_types = version, takes_types
        super().__init__(scorer.spec.text, template, tokenizer, encoded, share=FLOAT32_TOLERANCE)

    def checks(self) -> Checks:
        """In the order of the page."""
        return (
            self.server,
            self.identity,
            self.key,
            self.head,
            self.template,
            self.tokens,
            self.types,
            self.bos,
            self.eos,
            self.activation,
            self.batch_invariance,
            self.length,
        )

    def server(self) -> ConformanceItem:
        """Which family answers, and how many samples it refused."""
        server = self._scorer.server
        name = f"{server.name} {server.identity.version}".strip()
        detail = f"{name} at {self._client.url}, endpoint /{server.endpoint}"
        if self._refused:
            total = self._refused + len(self._samples)
            return _item("server", "note", f"{detail}; it refused {self._refused} of {total} texts")
        return _item("server", "pass", detail)

    def identity(self) -> ConformanceItem:
        """Which weights are served, as far as anyone can tell from here."""
        identity = self._scorer.server.identity
        known = f"model {identity.model or 'not told'}, from {identity.root or 'nowhere told'}"
        return _item(
            "identity",
            "note",
            f"{known}; version: {self._version}. dtype and weights of a server cannot be seen from "
            "here",
        )

    def key(self) -> ConformanceItem:
        """Whether a key goes over the wire in the open."""
        if not self._client.has_key:
            return _item("key", "pass", "none is sent")
        if self._client.url.startswith("https:") or is_loopback(
            urlsplit(self._client.url).hostname or ""
        ):
            return _item("key", "pass", "sent to this address only")
        return _item("key", "note", "sent over plain http: whoever is on the way can read it")

    def head(self) -> ConformanceItem:
        """One logit, or a named one."""
        names = list(self._logits[0])
        if len(names) == 1:
            return _item("head", "pass", "the server gives one logit")
        return _item(
            "head",
            "pass",
            f"{len(names)} logits ({', '.join(names)}); reward {self._scorer.head!r}",
        )

    def tokens(self) -> ConformanceItem:
        """Who tokenises, and whether the server reads what rmcheck reads."""
        if self._scorer.server.takes == "ids":
            return _item("tokens", "pass", "rmcheck tokenises; the server gets token ids")
        read = [self._scorer.read_by_server(sample) for sample in self._samples]
        pairs = list(zip(self._samples, read, strict=True))
        differing = [(s, ids) for s, ids in pairs if list(s.ids) != ids]
        if not differing:
            return _item(
                "tokens",
                "pass",
                "the server tokenises the text it is sent; with the local tokenizer that gives the "
                "same ids",
            )
        sample, ids = differing[0]
        ends = any(s.ids[:1] != tuple(i[:1]) or s.ids[-1:] != tuple(i[-1:]) for s, i in differing)
        doubled = any(i[:1] == i[1:2] == [self._tokenizer.bos_id] for _, i in differing)
        detail = (
            f"the server tokenises; with the local tokenizer {len(differing)} of {len(pairs)} "
            f"texts become other ids: {_ends(sample.ids)} here, {_ends(ids)} there (prompt "
            f"{sample.sample.prompt_id!r})"
        )
        if ends or doubled:
            return _item(
                "tokens",
                "fail",
                f"{detail}. Special tokens at the ends decide rewards: name the template and eos= "
                "(append where the server adds one) that give what the server reads",
            )
        return _item("tokens", "note", detail)

    def types(self) -> ConformanceItem:
        """Whether the server tells the texts of a pair apart as the model was trained to."""
        takes = self._takes_types
        if not self._scorer.server.pair or takes is False:
            return _item("types", "pass", "all tokens have one type")
        untyped = self._scorer.server.untyped()
        if untyped is None:
            return _item("types", "note", "the server makes the token type ids; nothing shows them")
        plain = np.concatenate(self._rewards(self._logits_of(server=untyped)))
        change = float(np.abs(plain - self._alone).max())
        if change > self._tolerance:
            return _item(
                "types",
                "pass",
                f"prompt and response have types of their own; with one rewards change by up to "
                f"{change:.3g}",
            )
        return _item(
            "types",
            "fail" if takes else "note",
            "prompt and response are read with one type: rewards are those of token ids without "
            "types. The served tokenizer makes none (model_input_names in tokenizer_config.json "
            "lacks token_type_ids), and a model that was trained with them gives other rewards",
        )

    def eos(self) -> ConformanceItem:
        """How the texts end, and that a server which takes text leaves the end as it is."""
        tokenizer = self._tokenizer
        eos, last = tokenizer.eos_id, self._samples[0].ids[-1]
        ended = sum(sample.ids[-1] == eos for sample in self._samples)
        if self._scorer.server.takes == "text" and not ended and eos is not None:
            longer = [replace(sample, ids=(*sample.ids, eos)) for sample in self._samples]
            change = np.abs(np.concatenate(self._read(longer)) - self._alone)
            if float(change.max()) <= self._tolerance:
                return _item(
                    "eos",
                    "fail",
                    f"with {tokenizer.text([eos])!r} behind it no text has another reward: the "
                    "server adds one where there is none; say eos=append",
                )
        return _item(
            "eos",
            "note",
            f"the text ends with {tokenizer.text([last])!r} (id {last}); {ended} of "
            f"{len(self._samples)} end with EOS",
        )

    def activation(self) -> ConformanceItem:
        """Raw logits, not probabilities: asked both ways where the server has the choice."""
        server = self._scorer.server
        values = np.array([value for logits in self._logits for value in logits.values()])
        shown = f"{values.min():.3g} to {values.max():.3g}"
        inside = bool((values >= 0).all() and (values <= 1).all())
        if not server.switches_activation:
            detail = f"{server.raw_by}; values from {shown}"
            if inside:
                return _item("activation", "note", f"{detail}; all lie in [0, 1], as probabilities")
            return _item("activation", "note", detail)
        given = self._logits_of(raw=False)
        from_raw = max(map(_apart, map(_probabilities, self._logits), given))
        unchanged = max(map(_apart, self._logits, given))
        if from_raw <= _SAME_PROBABILITY and from_raw < unchanged:
            return _item(
                "activation",
                "pass",
                f"raw logits from {shown} with {server.raw_by}; without it the server gives their "
                f"probabilities ({from_raw:.2g} apart)",
            )
        if not inside and unchanged <= self._allowed(HALF_TOLERANCE):
            return _item(
                "activation",
                "pass",
                f"logits from {shown}, with and without {server.raw_by}: this model has no "
                "activation",
            )
        return _item(
            "activation",
            "fail",
            f"{server.raw_by} gives {shown}, and without it values that are neither their "
            f"probabilities ({from_raw:.3g} apart) nor raw logits. The server ignores the field or "
            "applies an activation of its own; start it with raw logits (vLLM: --pooler-config "
            "'{\"use_activation\": false}')",
        )

    def _compared(self, alone: Floats, together: Floats, count: int) -> tuple[Status, str]:
        """The type of the server's weights is not known: half precision may be all of it."""
        change = float(np.abs(together - alone).max())
        rounding = self._allowed(HALF_TOLERANCE)
        status: Status = (
            "pass" if change <= self._tolerance else "note" if change <= rounding else "fail"
        )
        return status, (
            f"{count} texts in requests of their own and in one: rewards change by up to "
            f"{change:.2g} (float32 allows {self._tolerance:.2g}, half precision {rounding:.2g})"
        )

    def _read(
        self, samples: Sequence[Encoded], way: Way = "padded", **how: int
    ) -> Sequence[Floats]:
        return self._rewards(self._scorer.asked(samples).every(self._spec, samples))

    def _read_alone(self) -> Sequence[Floats]:
        """Also leaves out samples that the server refuses, and counts them."""
        samples = self._samples
        replies = self._scorer.asked(samples, size=1)
        if replies.stopped or not replies.found:
            raise ScoringError(replies.complaint(self._spec, samples))
        self._refused = len(samples) - len(replies.found)
        self._samples = [samples[i] for i in sorted(replies.found)]
        self._logits = [replies.found[i] for i in sorted(replies.found)]
        return self._rewards(self._logits)

    def _logits_of(self, **asked: Any) -> list[Logits]:
        """What the server says when it is asked about the samples in another way."""
        return self._scorer.asked(self._samples, **asked).every(self._spec, self._samples)

    def _rewards(self, logits: Sequence[Logits]) -> list[Floats]:
        return [np.array([self._scorer.reward(one)]) for one in logits]


def _ends(ids: Sequence[int]) -> str:
    """The first and last ids, for a message."""
    return f"{list(ids[:3])} … {list(ids[-3:])}"


def _probabilities(logits: Logits) -> dict[str, float]:
    """Sigmoid of a single logit, softmax of several, as servers apply them."""
    if len(logits) == 1:
        return {name: float(logistic(np.array(value))) for name, value in logits.items()}
    top = max(logits.values())
    weights = {name: exp(value - top) for name, value in logits.items()}
    total = sum(weights.values())
    return {name: weight / total for name, weight in weights.items()}


def _apart(a: Logits, b: Logits) -> float:
    """Largest difference by name; infinite where the names differ."""
    if a.keys() != b.keys():
        return float("inf")
    return max(abs(a[name] - b[name]) for name in a)


def _item(name: str, status: Status, detail: str) -> ConformanceItem:
    return ConformanceItem(name, status, detail)
