"""What a server must prove before its rewards count: the conformance page of `http:`."""

import ipaddress
from collections.abc import Callable, Mapping, Sequence
from math import exp
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from rmcheck.errors import ScoringError
from rmcheck.models.engines.http.asking import complaint
from rmcheck.models.engines.http.scorer import ServerScorer
from rmcheck.models.model import ConformanceItem, Encoded
from rmcheck.models.proof.conformance import (
    FLOAT32_TOLERANCE,
    HALF_TOLERANCE,
    Proof,
    Provable,
    Status,
)
from rmcheck.models.text.tokenization import ConversationTokenizer

Logits = Mapping[str, float]
# Two answers about one text differ by the rounding of the server's type; a probability less so.
_SAME_PROBABILITY = 0.05


class ServerProof(Proof):
    """The checks, over the samples that the server scores one at a time.

    Args:
        model: Loaded.
        scorer: The server with its tokenizer.
        encoded: Samples of the run; at most 8 of different lengths are scored.
        version: What the user says of the weights.
        takes_types: Whether the model tells a pair's texts apart by type ids; None if nothing says.

    Raises:
        ScoringError: There are no samples, or the server scores none of them.
    """

    def __init__(
        self,
        model: Provable[ConversationTokenizer],
        scorer: ServerScorer,
        encoded: Sequence[Encoded],
        *,
        version: str,
        takes_types: bool | None,
    ) -> None:
        super().__init__(model, encoded)
        samples = self._samples
        self._scorer = scorer
        self._client = scorer.client
        self._version, self._takes_types = version, takes_types
        outcome = scorer.asked(samples, size=1)
        if outcome.stopped or not outcome.logits:
            raise ScoringError(complaint(model.spec, outcome, samples))
        self._refused = len(samples) - len(outcome.logits)
        self._samples = [samples[i] for i in sorted(outcome.logits)]
        self._logits = [outcome.logits[i] for i in sorted(outcome.logits)]
        self._alone = np.array([scorer.reward(logits) for logits in self._logits])

    def checks(self) -> tuple[Callable[[], ConformanceItem], ...]:
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
        if self._client.url.startswith("https:") or _is_loopback(self._client.url):
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
        doubled = any(i[:1] == i[1:2] == [self._model.tokenizer.bos_id] for _, i in differing)
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
        outcome = self._scorer.asked(self._samples, server=untyped)
        if len(outcome.logits) < len(self._samples):
            raise ScoringError(complaint(self._model.spec, outcome, self._samples))
        plain = np.array([self._scorer.reward(outcome.logits[i]) for i in range(len(self._alone))])
        change = float(np.abs(plain - self._alone).max())
        if change > _tolerance(self._alone, FLOAT32_TOLERANCE):
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
        """How the texts end."""
        tokenizer = self._model.tokenizer
        eos, last = tokenizer.eos_id, self._samples[0].ids[-1]
        ended = sum(sample.ids[-1] == eos for sample in self._samples)
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
        outcome = self._scorer.asked(self._samples, raw=False)
        if len(outcome.logits) < len(self._samples):
            raise ScoringError(complaint(self._model.spec, outcome, self._samples))
        given = [outcome.logits[i] for i in range(len(self._samples))]
        from_raw = max(map(_apart, map(_probabilities, self._logits), given))
        unchanged = max(map(_apart, self._logits, given))
        if from_raw <= _SAME_PROBABILITY and from_raw < unchanged:
            return _item(
                "activation",
                "pass",
                f"raw logits from {shown} with {server.raw_by}; without it the server gives their "
                f"probabilities ({from_raw:.2g} apart)",
            )
        if not inside and unchanged <= _tolerance(self._alone, HALF_TOLERANCE):
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

    def batch_invariance(self) -> ConformanceItem:
        """A request of one text against a request of many."""
        outcome = self._scorer.asked(self._samples)
        if len(outcome.logits) < len(self._samples):
            raise ScoringError(complaint(self._model.spec, outcome, self._samples))
        together = np.array(
            [self._scorer.reward(outcome.logits[i]) for i in range(len(self._alone))]
        )
        change = float(np.abs(together - self._alone).max())
        exact = _tolerance(self._alone, FLOAT32_TOLERANCE)
        rounding = _tolerance(self._alone, HALF_TOLERANCE)
        status: Status = "pass" if change <= exact else "note" if change <= rounding else "fail"
        detail = (
            f"{len(self._alone)} texts in requests of their own and in one: rewards change by up "
            f"to {change:.2g} (float32 allows {exact:.2g}, half precision {rounding:.2g})"
        )
        return _item("batch_invariance", status, detail)

    def length(self) -> ConformanceItem:
        """The limit, and how many of these samples were cut."""
        limit, cut = self._model.max_length, sum(s.cut > 0 for s in self._samples)
        detail = f"at most {limit or 'any number of'} tokens, checked before anything is sent"
        if cut:
            detail += f"; {cut} of {len(self._samples)} of these samples were cut"
        return _item("max_length", "note" if cut or limit is None else "pass", detail)


def _ends(ids: Sequence[int]) -> str:
    """The first and last ids, for a message."""
    return f"{list(ids[:3])} … {list(ids[-3:])}"


def _probabilities(logits: Logits) -> dict[str, float]:
    """Sigmoid of a single logit, softmax of several, as servers apply them."""
    if len(logits) == 1:
        return {name: 1 / (1 + exp(-max(-700.0, value))) for name, value in logits.items()}
    top = max(logits.values())
    weights = {name: exp(value - top) for name, value in logits.items()}
    total = sum(weights.values())
    return {name: weight / total for name, weight in weights.items()}


def _apart(a: Logits, b: Logits) -> float:
    """Largest difference by name; infinite where the names differ."""
    if a.keys() != b.keys():
        return float("inf")
    return max(abs(a[name] - b[name]) for name in a)


def _tolerance(rewards: NDArray[np.float64], share: float) -> float:
    """A tolerance is a share of how far rewards lie apart, and below a spread of 1 it stays."""
    return share * max(1.0, float(rewards.std()))


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _item(name: str, status: Status, detail: str) -> ConformanceItem:
    return ConformanceItem(name, status, detail)
