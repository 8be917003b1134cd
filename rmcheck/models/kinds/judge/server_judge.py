"""Judges behind an OpenAI-compatible server: `http:URL?model=NAME` as the engine of a judge."""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from sys import float_info
from typing import Any, ClassVar, TypeVar
from urllib.parse import urlsplit

from rmcheck.errors import ScoringError, UsageError
from rmcheck.models.checkpoint import settings as known
from rmcheck.models.checkpoint.fingerprint import fingerprint
from rmcheck.models.checkpoint.folder import Checkpoint
from rmcheck.models.engines.http.chat import CHAT, COMPLETIONS, PATIENCE, ChatServer, chat_client
from rmcheck.models.engines.http.client import UnreachableError, WrongAnswerError
from rmcheck.models.kinds.checkpoint_model import loaded
from rmcheck.models.kinds.judge.engine import Answer, JudgeEngine, Replies, answer_seed
from rmcheck.models.kinds.judge.file import JudgeFile
from rmcheck.models.kinds.judge.read import Odds, Score, YesNo, log_sum, shown_odds
from rmcheck.models.kinds.judge.tokenizer import JudgeTokenizer
from rmcheck.models.model import ConformanceItem, Encoded, EngineFacts, Sample, TooLong
from rmcheck.models.spec import ModelSpec, Setting, check_settings
from rmcheck.models.text.chat_template import ChatTemplate
from rmcheck.models.text.checkpoint_tokenizer import (
    chosen_template,
    installed_version,
    load_tokenizer,
    tokenizer_folder,
)

_T = TypeVar("_T")
# Between two computations of one question by a server whose type is not known to us.
_TOLERANCE = 0.25


class ServerJudge(JudgeEngine):
    """A language model at `/v1/chat/completions`, or by token ids at `/v1/completions`.

    Without `tokenizer` the server applies its chat template and tokenises, so that special tokens
    spelt in a response are its matter. With `tokenizer=DIR` the token ids are made here, as for the
    engines in this process.

    The API key is read from the environment variable `RMCHECK_API_KEY` and stands nowhere else. No
    address says which weights stand behind it, so scores are not kept between sessions, unless
    `version` is given, which its author changes with the weights.

    Args:
        spec: The address, and settings that differ from the defaults.
        judge: What is asked and how the answer is read.

    Raises:
        UnknownModelError: No server answers there, or it has no such model.
        UsageError: A setting's value is impossible, or `model` is needed.
        ModelError, ConformanceError: The tokenizer's folder holds no tokenizer, or no template.
    """

    scheme: ClassVar[str] = "http"
    settings: ClassVar[tuple[Setting, ...]] = (
        Setting("model", ("NAME",)),
        Setting("tokenizer", ("DIR",)),
        known.TEMPLATE,
        known.DATE,
        Setting("version", ("ANYTHING",)),
        *PATIENCE,
    )
    exact = False
    tolerance = _TOLERANCE

    def __init__(self, spec: ModelSpec, judge: JudgeFile) -> None:
        self._set = check_settings(spec, self.settings)
        self.spec = spec.text
        self._judge = judge
        self._client, self._concurrency = chat_client(spec, self._set)
        self._folder, self._template = self._tokenizer_folder(spec)
        self._server = ChatServer(self._client, self._set["model"], spec.text)
        self.kept = bool(self._set["version"])
        self._tokenizer: JudgeTokenizer | None = None

    @property
    def name(self) -> str:
        """The address and the model."""
        return f"{urlsplit(self._client.url).netloc}/{self._server.model.rpartition('/')[2]}"

    @property
    def fingerprint(self) -> str:
        """What the server tells, the address where no version is given, and the tokenizer."""
        facts: dict[str, object] = {
            "scheme": "judge:http",
            "model": self._server.model,
            "root": self._server.root,
            "version": self._set["version"],
            **self._template.facts,
        }
        if not self._set["version"]:
            facts["address"] = self._client.url
        if self._folder is None:
            return fingerprint(facts)
        facts["transformers"] = installed_version("transformers")
        return fingerprint(facts, self._folder.read_files, root=self._folder.path)

    @property
    def description(self) -> Mapping[str, str]:
        """The server, what it tells of its model, and who tokenises."""
        return {
            "engine": "http",
            "url": self._client.url,
            "device": "server",
            "endpoint": COMPLETIONS if self._folder else CHAT,
            "model": self._server.model,
            "root": self._server.root or "not told",
            "tokenizer": str(self._folder.path) if self._folder else "the server's",
            "version": self._set["version"] or "none; scores live for one session",
        }

    @property
    def facts(self) -> EngineFacts:
        """The server's machine computes."""
        return EngineFacts("server")

    def load(self) -> None:
        """See `JudgeEngine.load`: reads the tokenizer where one is named."""
        if self._folder is None or self._tokenizer is not None:
            return
        read = self._judge.read
        self._tokenizer = JudgeTokenizer(
            load_tokenizer(self._folder),
            chat_template=self._template,
            question=self._judge.question,
            system=self._judge.system,
            max_length=self._server.max_length,
            room=read.max_tokens if isinstance(read, Score) else 1,
        )
        if isinstance(read, YesNo):
            self._tokenizer.words(read)

    def encode(self, samples: Sequence[Sample], too_long: TooLong) -> list[Encoded]:
        """Token ids where there is a tokenizer; else the text of the question names it."""
        if self._folder is not None:
            return loaded(self._tokenizer, self.spec).encode(samples, too_long)
        texts = self._judge.question.texts(samples)
        return [_encoded(sample, text) for sample, text in zip(samples, texts, strict=True)]

    def odds(self, batch: Sequence[Encoded], read: YesNo) -> Replies[Odds]:
        """See `JudgeEngine.odds`; sides that are not shown are bounded (`shown_odds`)."""
        return self._asked(batch, lambda one: shown_odds(read, self._shown(one)))

    def answers(self, batch: Sequence[Encoded], read: Score) -> Replies[tuple[Answer, ...]]:
        """See `JudgeEngine.answers`: each answer is a request of its own."""
        asked = [one for one in batch for _ in range(read.samples)]
        numbers = [i for _ in batch for i in range(read.samples)]
        each = self._asked(asked, self._answer, numbers)
        n = read.samples
        found: Replies[tuple[Answer, ...]] = Replies(
            faults={place // n: fault for place, fault in each.faults.items()},
            stopped=each.stopped,
            stopped_at=tuple(place // n for place in each.stopped_at),
        )
        for i in range(len(batch)):
            places = range(i * n, (i + 1) * n)
            if all(place in each.found for place in places):
                found.found[i] = tuple(each.found[place] for place in places)
        return found

    def likeliest(self, batch: Sequence[Encoded], count: int) -> list[dict[str, float]]:
        """See `JudgeEngine.likeliest`.

        Raises:
            ScoringError: The server does not show them.
        """
        asked = self._asked(batch, self._shown)
        if len(asked.found) < len(batch):
            raise ScoringError(f"{self.spec}: {asked.stopped or next(iter(asked.faults.values()))}")
        rows = [asked.found[i] for i in range(len(batch))]
        return [dict(sorted(row.items(), key=lambda pair: -pair[1])[:count]) for row in rows]

    def items(self, samples: Sequence[Encoded]) -> tuple[ConformanceItem, ...]:
        """The question as it is sent, and who makes its tokens."""
        key = "sent" if self._client.has_key else "none is set"
        detail = f"{self._client.url} answers as {self._server.model}; API key: {key}"
        server = ConformanceItem("server", "note", detail)
        if self._tokenizer is None:
            (text,) = self._judge.question.texts([samples[0].sample])
            return (
                server,
                ConformanceItem("question", "note", f"begins {text[:60]!r}, ends {text[-60:]!r}"),
                ConformanceItem(
                    "special_tokens",
                    "note",
                    "the server tokenises: special tokens that a response spells may become real "
                    "ones; tokenizer=DIR makes the ids here and prevents that",
                ),
            )
        text = self._tokenizer.text(samples[0].ids)
        return (
            server,
            ConformanceItem(
                "question", "pass", f"begins {text[:60]!r}, and the answer follows {text[-60:]!r}"
            ),
            ConformanceItem(
                "special_tokens", "pass", "token ids are made here; those of the chat template only"
            ),
        )

    def close(self) -> None:
        """Close the connections and release the tokenizer."""
        self._client.close()
        self._tokenizer = None

    def _asked(
        self,
        batch: Sequence[Encoded],
        one: Callable[..., _T],
        numbers: Sequence[int] | None = None,
    ) -> Replies[_T]:
        """One request each, side by side.

        Where the server cannot be reached, or answers what is no answer, the requests on their way
        are waited for and no other is begun.
        """
        judged: Replies[_T] = Replies()
        further = [(n,) for n in numbers] if numbers is not None else [()] * len(batch)

        def ask(place: int) -> None:
            if judged.stopped:
                return
            try:
                judged.found[place] = one(batch[place], *further[place])
            except (UnreachableError, WrongAnswerError) as error:
                if not judged.stopped:
                    judged.stopped, judged.stopped_at = str(error), (place,)
                self._client.stop()
            except ScoringError as error:
                judged.faults[place] = str(error)

        self._client.start()
        with ThreadPoolExecutor(self._concurrency) as threads:
            try:
                for done in [threads.submit(ask, place) for place in range(len(batch))]:
                    done.result()
            except BaseException:
                judged.stopped = "interrupted"
                self._client.stop()
                threads.shutdown(cancel_futures=True)
                raise
        return judged

    def _answer(self, one: Encoded, number: int) -> Answer:
        read = self._judge.read
        assert isinstance(read, Score)  # answers are asked for where a score is read
        fields = {
            "seed": answer_seed(one.key, number),
            "temperature": read.temperature,
            "max_tokens": read.max_tokens,
        }
        if one.ids:
            choice = self._server.ids(one.ids, **fields)
            text: Any = choice.get("text")
        else:
            choice = self._server.turns(self._turns(one), **fields)
            message = choice.get("message")
            text = message.get("content", 0) if isinstance(message, dict) else 0
        # Null is what some servers write for an empty text.
        if not isinstance(text, str | None):
            raise self._server.wrong(COMPLETIONS if one.ids else CHAT, "no text", choice)
        return Answer(text or "", choice.get("finish_reason") == "length")

    def _shown(self, one: Encoded) -> dict[str, float]:
        """The likeliest next tokens that the server shows."""
        read = self._judge.read
        top = read.top_logprobs if isinstance(read, YesNo) else 5
        try:
            if one.ids:
                choice = self._server.ids(one.ids, max_tokens=1, logprobs=top)
                shown = dict(choice["logprobs"]["top_logprobs"][0])
            else:
                turns = self._turns(one)
                choice = self._server.turns(turns, max_tokens=1, logprobs=True, top_logprobs=top)
                tokens = choice["logprobs"]["content"][0]["top_logprobs"]
                shown = _summed((token["token"], token["logprob"]) for token in tokens)
        except (KeyError, TypeError, ValueError, IndexError, AttributeError):
            shown = {}
        if not shown or not all(
            isinstance(t, str) and isinstance(p, int | float) and abs(p) <= float_info.max
            for t, p in shown.items()
        ):
            path = COMPLETIONS if one.ids else CHAT
            raise self._server.wrong(
                path, f"no log-probabilities of the next token ({top} were asked for)", choice
            )
        return {token: float(value) for token, value in shown.items()}

    def _turns(self, one: Encoded) -> list[dict[str, str]]:
        system = [{"role": "system", "content": self._judge.system}] if self._judge.system else []
        (question,) = self._judge.question.texts([one.sample])
        return [*system, {"role": "user", "content": question}]

    def _tokenizer_folder(self, spec: ModelSpec) -> tuple[Checkpoint | None, ChatTemplate]:
        named = self._set["tokenizer"]
        if not named:
            given = [name for name in ("template", "date") if self._set[name]]
            if given:
                raise UsageError(
                    f"{spec.text}: {given[0]} is for token ids made here; name tokenizer="
                )
            return None, ChatTemplate(None)
        folder = tokenizer_folder(spec, spec.resolve(named))
        if self._set["template"] == "pair":
            raise UsageError(f"{spec.text}: a judge needs a chat template; template is a file")
        template, day = self._set["template"], self._set["date"]
        return folder, chosen_template(spec, folder, template, "keep", day)


def _encoded(sample: Sample, text: str) -> Encoded:
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16)
    return Encoded(digest.digest(), max(1, len(text) // 4), (), (), 0, sample)


def _summed(tokens: Iterable[tuple[str, float]]) -> dict[str, float]:
    """Log-probability of each text; tokens of one text, such as parts of a letter, are summed."""
    found: dict[str, list[float]] = {}
    for text, value in tokens:
        found.setdefault(text, []).append(value)
    return {text: log_sum(values) for text, values in found.items()}
