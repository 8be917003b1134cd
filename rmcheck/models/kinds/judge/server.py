"""Judges behind an OpenAI-compatible server: `http:URL?model=NAME` as the engine of a judge."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

from rmcheck.errors import UsageError
from rmcheck.models.checkpoint import settings as known
from rmcheck.models.checkpoint.fingerprint import fingerprint
from rmcheck.models.checkpoint.folder import Checkpoint
from rmcheck.models.engines.asked import Way
from rmcheck.models.engines.http.asking import Replies
from rmcheck.models.engines.http.chat import CHAT, COMPLETIONS, PATIENCE, ChatServer, Turns
from rmcheck.models.engines.writing import Answer
from rmcheck.models.kinds.judge.engine import (
    AnswersSession,
    JudgeEngine,
    JudgeSession,
    OddsSession,
    answer_seed,
)
from rmcheck.models.kinds.judge.file import JudgeFile
from rmcheck.models.kinds.judge.read import Odds, Written, YesNo, shown_odds
from rmcheck.models.kinds.judge.tokenizer import JudgeTokenizer
from rmcheck.models.model import ConformanceItem
from rmcheck.models.sample import Encoded, Sample, TooLong
from rmcheck.models.spec import ModelSpec, Setting, check_settings
from rmcheck.models.text.chat_template import ChatTemplate
from rmcheck.models.text.checkpoint_tokenizer import (
    chosen_template,
    installed_version,
    load_tokenizer,
    tokenizer_folder,
)

# Between two computations of one question by a server whose type is not known to us, in nats.
_TOLERANCE = 0.25


@dataclass(frozen=True)
class ServerJudge(JudgeEngine):
    """A language model at `/v1/chat/completions`, or by token ids at `/v1/completions`.

    Without `tokenizer` the server applies its chat template and tokenises, so that special tokens
    spelt in a response are its matter. With `tokenizer=DIR` the token ids are made here, as for the
    engines in this process.

    The API key is read from the environment variable `RMCHECK_API_KEY` and stands nowhere else. No
    address says which weights stand behind it, so scores are not kept between sessions, unless
    `version` is given, which its author changes with the weights.

    Attributes:
        judge: What is asked and how the answer is read.
        server: Which model of which server.
        version: What the user calls its weights; empty for nothing.
        folder: The tokenizer's; None where the server tokenises.
        template: What writes a conversation, where there is a tokenizer.
    """

    settings: ClassVar[tuple[Setting, ...]] = (
        Setting("model", ("NAME",)),
        Setting("tokenizer", ("DIR",)),
        known.TEMPLATE,
        known.DATE,
        Setting("version", ("ANYTHING",)),
        *PATIENCE,
    )
    judge: JudgeFile
    server: ChatServer
    version: str
    folder: Checkpoint | None
    template: ChatTemplate

    @classmethod
    def opened(cls, spec: ModelSpec, judge: JudgeFile) -> Self:
        """The server at the address of a spec, which is asked for its models.

        Raises:
            UnknownModelError: No server answers there, or it has no such model.
            UsageError: A setting's value is impossible, or `model` is needed.
            ModelError, ConformanceError: The tokenizer's folder holds no tokenizer, or no template.
        """
        values = check_settings(spec, cls.settings)
        folder, template = _tokenizer_folder(spec, values)
        server = ChatServer.named(spec, values)
        return cls(judge, server, values["version"], folder, template)

    @property
    def kept(self) -> bool:
        """Whether the user has named the weights."""
        return bool(self.version)

    @property
    def name(self) -> str:
        """The address and the model."""
        return self.server.name

    @property
    def fingerprint(self) -> str:
        """What the server tells, the address where no version is given, and the tokenizer."""
        facts = {
            "scheme": "judge:http",
            **self.server.identity(self.version),
            **self.template.facts,
        }
        if self.folder is None:
            return fingerprint(facts)
        facts["transformers"] = installed_version("transformers")
        return fingerprint(facts, self.folder.read_files, root=self.folder.path)

    @property
    def description(self) -> Mapping[str, str]:
        """The server, what it tells of its model, and who tokenises."""
        return {
            "engine": "http",
            "url": self.server.client.url,
            "device": "server",
            "endpoint": COMPLETIONS if self.folder else CHAT,
            "model": self.server.model,
            "root": self.server.root or "not told",
            "tokenizer": str(self.folder.path) if self.folder else "the server's",
            "version": self.version or "none; scores live for one session",
        }

    def for_odds(self, read: YesNo) -> "ServerOdds":
        questions = self._questions(1)
        if isinstance(questions, JudgeTokenizer):
            questions.words(read)  # refuses what is not one token
        return ServerOdds(self.server, questions, read)

    def for_answers(self, read: Written) -> "ServerAnswers":
        return ServerAnswers(self.server, self._questions(read.max_tokens), read)

    def _questions(self, room: int) -> "ChatQuestions | JudgeTokenizer":
        if self.folder is None:
            return ChatQuestions(self.judge)
        return JudgeTokenizer(
            load_tokenizer(self.folder),
            chat_template=self.template,
            question=self.judge.question,
            system=self.judge.system,
            max_length=self.server.max_length,
            room=room,
        )


@dataclass(frozen=True)
class ChatQuestions:
    """Questions as turns, which the server makes tokens of."""

    judge: JudgeFile

    def encode(self, samples: Sequence[Sample], too_long: TooLong) -> list[Encoded]:
        """The text of the question names it."""
        return [
            _encoded(sample, text)
            for sample, text in zip(samples, self.judge.question.texts(samples), strict=True)
        ]

    def of(self, one: Encoded) -> Turns:
        """What the server is sent."""
        system = [{"role": "system", "content": self.judge.system}] if self.judge.system else []
        return [*system, {"role": "user", "content": self._text(one)}]

    def items(self, first: Encoded) -> tuple[ConformanceItem, ...]:
        """The question as it is sent, and who makes its tokens."""
        text = self._text(first)
        specials = (
            "the server tokenises: special tokens that a response spells may become real ones; "
            "tokenizer=DIR makes the ids here and prevents that"
        )
        return (
            ConformanceItem("question", "note", f"begins {text[:60]!r}, ends {text[-60:]!r}"),
            ConformanceItem("special_tokens", "note", specials),
        )

    def _text(self, one: Encoded) -> str:
        (text,) = self.judge.question.texts([one.sample])
        return text


@dataclass(frozen=True)
class ServerSession(JudgeSession):
    """A server that is asked these questions.

    Attributes:
        weights: Which model of which server.
        questions: How they are sent.
    """

    weights: ChatServer
    questions: ChatQuestions | JudgeTokenizer

    def encode(self, samples: Sequence[Sample], too_long: TooLong) -> list[Encoded]:
        return self.questions.encode(samples, too_long)

    def items(self, samples: Sequence[Encoded]) -> tuple[ConformanceItem, ...]:
        """The server, the question as it is sent, and who makes its tokens."""
        key = "sent" if self.weights.client.has_key else "none is set"
        detail = f"{self.weights.client.url} answers as {self.weights.model}; API key: {key}"
        return (ConformanceItem("server", "note", detail), *self.questions.items(samples[0]))


@dataclass(frozen=True)
class ServerOdds(ServerSession, OddsSession):
    """A server that is asked for its likeliest next tokens.

    Attributes:
        read: The words of both sides.
    """

    read: YesNo
    tolerance: ClassVar[float] = _TOLERANCE

    def odds(self, batch: Sequence[Encoded], way: Way = "padded", **how: int) -> Replies[Odds]:
        """See `OddsSession.odds`; sides that are not shown are bounded (`shown_odds`)."""
        return self.weights.each(len(batch), lambda i: shown_odds(self.read, self._shown(batch[i])))

    def likeliest(self, batch: Sequence[Encoded], count: int) -> list[dict[str, float]]:
        """See `OddsSession.likeliest`.

        Raises:
            ScoringError: The server does not show them.
        """
        rows = self.weights.each(len(batch), lambda i: self._shown(batch[i]))
        return [
            dict(sorted(row.items(), key=lambda pair: -pair[1])[:count])
            for row in rows.every(self.weights.spec, batch)
        ]

    def _shown(self, one: Encoded) -> dict[str, float]:
        return self.weights.next_tokens(self.questions.of(one), self.read.top_logprobs)


@dataclass(frozen=True)
class ServerAnswers(ServerSession, AnswersSession):
    """A server that is asked for texts, each a request of its own.

    Attributes:
        read: How many answers, and how they are drawn.
    """

    read: Written
    exact: ClassVar[bool] = False

    def items(self, samples: Sequence[Encoded]) -> tuple[ConformanceItem, ...]:
        """Also whether answers are held to their schema."""
        if self.read.schema is None:
            return super().items(samples)
        detail = "the server is asked to hold answers to the criteria's JSON schema"
        return (*super().items(samples), ConformanceItem("schema", "note", detail))

    def answers(self, batch: Sequence[Encoded], numbers: Sequence[int]) -> Replies[Answer]:
        """See `AnswersSession.answers`; the server is told the schema of an answer."""
        fields: dict[str, object] = {
            "temperature": self.read.temperature,
            "max_tokens": self.read.max_tokens,
        }
        if self.read.schema:
            schema = {"name": "grades", "strict": True, "schema": self.read.schema}
            fields["response_format"] = {"type": "json_schema", "json_schema": schema}

        def answer(place: int) -> Answer:
            seed = answer_seed(batch[place].key, numbers[place])
            return self.weights.written(self.questions.of(batch[place]), seed=seed, **fields)

        return self.weights.each(len(batch), answer)


def _tokenizer_folder(
    spec: ModelSpec, values: Mapping[str, str]
) -> tuple[Checkpoint | None, ChatTemplate]:
    if not values["tokenizer"]:
        given = [name for name in ("template", "date") if values[name]]
        if given:
            raise UsageError(f"{spec.text}: {given[0]} is for token ids made here; name tokenizer=")
        return None, ChatTemplate(None)
    folder = tokenizer_folder(spec, spec.resolve(values["tokenizer"]))
    if values["template"] == "pair":
        raise UsageError(f"{spec.text}: a judge needs a chat template; template is a file")
    return folder, chosen_template(spec, folder, values["template"], values["date"])


def _encoded(sample: Sample, text: str) -> Encoded:
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16)
    return Encoded(digest.digest(), max(1, len(text) // 4), (), (), 0, sample)
