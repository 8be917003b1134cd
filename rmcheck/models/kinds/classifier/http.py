"""Reward models behind a server: `http:http://host:port`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self, cast
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from rmcheck.errors import ScoringError, UnknownModelError, UsageError
from rmcheck.models.checkpoint import settings as known
from rmcheck.models.checkpoint.fingerprint import fingerprint
from rmcheck.models.checkpoint.folder import Checkpoint
from rmcheck.models.engines.asked import Way
from rmcheck.models.engines.http.address import address, api_key
from rmcheck.models.engines.http.asking import rewards_of
from rmcheck.models.engines.http.client import Client, Patience, UnreachableError
from rmcheck.models.engines.http.families import FAMILY_NAMES, identified
from rmcheck.models.engines.http.scorer import ServerScorer
from rmcheck.models.engines.http.server import Server
from rmcheck.models.engines.http.wording import Wording
from rmcheck.models.kinds.classifier.http_conformance import ServerProof
from rmcheck.models.kinds.classifier.trainer_client import CLIENTS, TrainerClientModel
from rmcheck.models.kinds.engine_session import TokensSession
from rmcheck.models.model import RewardModel
from rmcheck.models.sample import Encoded, Sample, TooLong, named_prompts
from rmcheck.models.spec import ModelSpec, Setting, stated_settings, whole_number
from rmcheck.models.text.checkpoint_tokenizer import (
    chosen_template,
    installed_version,
    load_tokenizer,
    tokenizer_folder,
)
from rmcheck.models.text.tokenization import ConversationTokenizer, EosRule


@dataclass(frozen=True)
class HttpSettings:
    """Values of the settings, each read once; empty and None where one is not given."""

    family: str
    model: str
    tokenizer: str
    template: str
    date: str
    eos: EosRule
    head: str
    max_length: int | None
    endpoint: str
    version: str
    batch: int
    concurrency: int
    patience: Patience

    @classmethod
    def read(cls, spec: ModelSpec, settings: Sequence[Setting]) -> Self:
        """What a spec says.

        Raises:
            UsageError: A setting is unknown or has a value that it cannot have.
        """
        values = stated_settings(spec, settings)

        def count(name: str) -> int:
            return whole_number(spec, name, values[name], least=1)

        return cls(
            family=values["server"],
            model=values["model"],
            tokenizer=values["tokenizer"],
            template=values["template"],
            date=values["date"],
            eos=cast(EosRule, values["eos"]),
            head=values["head"],
            max_length=count("max_length") if values["max_length"] else None,
            endpoint=values["endpoint"],
            version=values["version"],
            patience=Patience(count("timeout"), count("tries"), count("deadline")),
            batch=count("batch"),
            concurrency=count("concurrency"),
        )


class HttpSession(TokensSession["HttpRewardModel", ServerScorer, ConversationTokenizer]):
    """A server with the tokenizer of its model."""

    def encode(self, samples: Sequence[Sample], too_long: TooLong = "error") -> list[Encoded]:
        """Token ids of each sample; see `ConversationTokenizer.encode`.

        Raises:
            ScoringError: A text pair would have to be cut, which no server does for us.
        """
        encoded = super().encode(samples, too_long)
        cut = [item.sample for item in encoded if item.cut]
        if cut and self.model.server.pair:
            raise ScoringError(
                f"{self.model.spec}: {len(cut)} text pairs are longer than {self.model.max_length} "
                f"tokens, and a server takes pairs whole; prompts: {named_prompts(cut)}. Shorten "
                "them"
            )
        return encoded

    def _proof(self, encoded: Sequence[Encoded]) -> ServerProof:
        model = self.model
        return ServerProof(
            model.template_source,
            self.tokenizer,
            self.scorer,
            encoded,
            version=model.version,
            takes_types=model.takes_types,
        )

    def _rewards(self, batch: Sequence[Encoded], way: Way) -> NDArray[np.float64]:
        replies = self.scorer.asked(batch).mapped(self.scorer.reward)
        return np.array(rewards_of(replies, self.model.spec, batch))


class HttpRewardModel(RewardModel):
    """A reward model that a server scores with.

    Opening one asks the server who it is; nothing is scored. The conversation is tokenised here,
    and servers that take token ids get these; others get the text that their tokenizer turns into
    the same ids. The API key is read from the environment variable `RMCHECK_API_KEY`, stands
    nowhere else, and goes only where `rmcheck.models.engines.http.address` says.

    No address says which weights stand behind it, so scores are not kept between sessions, unless
    the spec states a `version` that its author changes with the weights. What the server tells (its
    model, where the weights came from, its version) is part of the fingerprint as well.

    Args:
        spec: The address, and settings that differ from the defaults.

    Raises:
        UnknownModelError: No server answers there, or one of no known family.
        UsageError: A setting's value is impossible, or one that is needed is not given.
        ModelError: The tokenizer's folder holds none.
        ConformanceError: The tokenizer has no chat template and none is named.
    """

    scheme: ClassVar[str] = "http"
    settings: ClassVar[tuple[Setting, ...]] = (
        Setting("server", ("auto", *sorted(FAMILY_NAMES)), "auto", closed=True),
        Setting("model", ("NAME",)),
        Setting("tokenizer", ("DIR",)),
        known.TEMPLATE_OR_PAIR,
        known.DATE,
        Setting("eos", ("keep", "append", "strip"), "keep", closed=True),
        Setting("head", ("NAME", "INDEX")),
        Setting("max_length", ("N",)),
        Setting("endpoint", ("classify", "pooling"), closed=True),
        Setting("version", ("ANYTHING",)),
        Setting("batch", ("N",), "32"),
        Setting("concurrency", ("N",), "8"),
        Setting("timeout", ("SECONDS",), "60"),
        Setting("tries", ("N",), "6"),
        Setting("deadline", ("SECONDS",), "600"),
        Setting("client", CLIENTS, closed=True),
        Setting("policy", ("DIR",)),
    )

    def __init__(self, spec: ModelSpec) -> None:
        self._spec, self.spec = spec, spec.text
        self._set = HttpSettings.read(spec, self.settings)
        self._client = Client(address(spec), api_key(spec), self._set.patience)
        self.server = self._identified()
        self._checkpoint = self._tokenizer_folder()
        named = self._set.template
        self._template = chosen_template(
            spec, self._checkpoint, named, self._set.date, self._set.eos
        )
        self.template_source = self._template.described(named)
        self.max_length = self._max_length()
        self.kept = bool(self._set.version)
        self.fingerprint = self._fingerprint()

    @classmethod
    def from_spec(cls, spec: ModelSpec) -> Self:
        """The model that a spec names; its server is asked who it is.

        With `client` it is asked as that trainer asks it.
        """
        values = stated_settings(spec, cls.settings)
        if values["client"]:
            return cast(Self, TrainerClientModel(spec, values))
        if values["policy"]:
            raise UsageError(f"{spec.text}: policy is for client=; remove policy=")
        return cls(spec)

    @property
    def name(self) -> str:
        """The address, and the model that the server names."""
        model = self.server.identity.model
        short = model.rstrip("/").rpartition("/")[2]
        return f"{urlsplit(self._client.url).netloc}{'/' if short else ''}{short}"

    @property
    def description(self) -> Mapping[str, str]:
        """The server, what it tells of its model, and who tokenises."""
        identity = self.server.identity
        return {
            "server": f"{self.server.name} {identity.version}".strip(),
            "url": self._client.url,
            "device": "server",
            "endpoint": self.server.endpoint,
            "model": identity.model or "not told",
            "root": identity.root or "not told",
            "tokenizer": str(self._checkpoint.path),
            "template": self.template_source,
            "eos": self._set.eos,
            "head": self._set.head or "the only logit",
            "max_length": str(self.max_length or "no limit known"),
            "version": self.version,
            "transformers": installed_version("transformers"),
        }

    @property
    def takes_types(self) -> bool | None:
        """Whether the model tells a pair's texts apart by type ids; None if nothing here says."""
        has_config = (self._checkpoint.path / "config.json").is_file()
        return self._checkpoint.takes_type_ids if has_config else None

    def load(self) -> HttpSession:
        plain = load_tokenizer(self._checkpoint)
        tokenizer = ConversationTokenizer(
            plain,
            template=self._template,
            eos=self._set.eos,
            max_length=self.max_length,
        )
        scorer = ServerScorer(
            self._spec,
            self._client,
            self.server,
            plain,
            Wording(plain, special=self.server.adds_special),
            self._set.head,
            batch=self._set.batch,
            concurrency=self._set.concurrency,
        )
        return HttpSession(self, scorer, tokenizer)

    @property
    def version(self) -> str:
        """What the user says of the weights, for people."""
        return self._set.version or "none; scores live for one session"

    def _identified(self) -> Server:
        try:
            family, identity = identified(self._client, self._set.family, self._set.model)
            endpoint = self._set.endpoint
            if endpoint and endpoint not in family.endpoints:
                raise UsageError(f"a {family.name} server has one endpoint only; remove endpoint=")
            return family(identity, pair=self._set.template == "pair", endpoint=endpoint)
        except UnreachableError as error:
            raise UnknownModelError(f"{self.spec}: no server to score with. {error}") from error
        except UnknownModelError as error:
            raise UnknownModelError(f"{self.spec}: {error}") from error
        except UsageError as error:
            raise UsageError(f"{self.spec}: {error}") from error
        finally:
            self._client.close()

    def _tokenizer_folder(self) -> Checkpoint:
        named, root = self._set.tokenizer, self.server.identity.root
        path = self._spec.resolve(named) if named else Path(root or "-")
        if not named and not (root and path.is_dir()):
            raise UsageError(
                f"{self.spec}: rmcheck makes the token ids itself and needs the model's tokenizer; "
                f"name its folder: {self._spec.with_setting('tokenizer', 'DIR')!r}"
            )
        return tokenizer_folder(self._spec, path)

    def _max_length(self) -> int | None:
        of_server, wanted = self.server.identity.max_length, self._set.max_length
        if wanted is not None:
            if of_server is not None and wanted > of_server:
                raise UsageError(
                    f"{self.spec}: max_length is {wanted}, but the server takes {of_server} tokens"
                )
            return wanted
        if self.server.cuts_silently:
            raise UsageError(
                f"{self.spec}: a {self.server.name} server cuts long texts without a word; say "
                f"the --data.max_len that it was started with: "
                f"{self._spec.with_setting('max_length', '2048')!r}"
            )
        of_tokenizer = self._checkpoint.tokenizer_config.get("model_max_length")
        limits = [of_server]
        # A tokenizer without a limit says so with 1e30.
        if isinstance(of_tokenizer, int) and 0 < of_tokenizer < 10**9:
            limits.append(of_tokenizer)
        return min((limit for limit in limits if limit is not None), default=None)

    def _fingerprint(self) -> str:
        identity = self.server.identity
        facts: dict[str, object] = {
            "scheme": self.scheme,
            "url": self._client.url,
            "server": [self.server.name, self.server.endpoint, identity.version],
            "model": [identity.model, identity.root],
            "max_length": self.max_length,
            **self._template.facts,
            "transformers": installed_version("transformers"),
        }
        facts |= {"version": self._set.version, "eos": self._set.eos, "head": self._set.head}
        return fingerprint(facts, self._checkpoint.read_files, root=self._checkpoint.text_path)
