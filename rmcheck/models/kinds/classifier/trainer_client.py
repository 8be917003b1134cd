"""A server asked as a trainer asks it: `http:URL?client=verl`."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rmcheck.errors import ScoringError, UnknownModelError, UsageError
from rmcheck.models.checkpoint.fingerprint import fingerprint
from rmcheck.models.engines.http.address import address, api_key
from rmcheck.models.engines.http.asking import Part, asked, rewards_of
from rmcheck.models.engines.http.client import Client, Patience, UnreachableError, WrongAnswerError
from rmcheck.models.engines.http.families import identified
from rmcheck.models.engines.http.trainers import (
    OpenRlhfRequest,
    SlimeRequest,
    TrainerRequest,
    TrainerText,
    VerlOnSglang,
    VerlOnVllm,
)
from rmcheck.models.model import ConformanceItem, EngineFacts, Proven, RewardModel, Session
from rmcheck.models.sample import Encoded, Sample, TooLong, checked_rewards
from rmcheck.models.spec import ModelSpec, whole_number
from rmcheck.models.text.checkpoint_tokenizer import (
    chosen_template,
    load_tokenizer,
    tokenizer_folder,
)
from rmcheck.models.text.tokenization import ConversationTokenizer, conversation
from rmcheck.pool.asked import AskedColumns
from rmcheck.pool.pool import Prompt

CLIENTS = ("verl", "openrlhf", "slime", "trl")
_VERL: Mapping[str, type[TrainerRequest]] = {"vllm": VerlOnVllm, "sglang": VerlOnSglang}
# Settings of a server that no trainer has.
_OURS = ("endpoint", "eos", "head", "max_length")


class TrainerClientModel(RewardModel):
    """A reward model behind a server, which gets what a trainer sends.

    Nothing is put right on the way: an EOS that is lost, a template that differs, a sigmoid that is
    left on is what training gets, and so is its reward here. Compared with the checkpoint
    (`serving:`, `rmcheck parity`) it says what that costs.

    verl writes the conversation by the reward model's template (`tokenizer`) without the policy's
    EOS, and takes one BOS away; OpenRLHF sends what the policy read and wrote, by the policy's
    template (`policy`) and with its EOS; slime sends prompt, as the policy's template writes it,
    and response with its EOS, which SGLang leaves there. Labels are the column `label`.

    Args:
        spec: The address, for OpenRLHF and slime with its path.
        values: Its settings.

    Raises:
        UnknownModelError: No server of verl's engines answers there.
        UsageError: A setting is one that the trainer has not, or is missing.
    """

    scheme = "http"

    def __init__(self, spec: ModelSpec, values: Mapping[str, str]) -> None:
        self.spec, self._spec = spec.text, spec
        self.trainer = values["client"]
        if self.trainer == "trl":
            raise UsageError(
                f"{spec.text}: TRL asks no server; it loads the checkpoint, as hf:DIR does"
            )
        if wrong := [name for name in _OURS if name in spec.settings]:
            raise UsageError(f"{spec.text}: {self.trainer} has no {wrong[0]}; remove {wrong[0]}=")
        counts = {
            name: whole_number(spec, name, values[name], least=1)
            for name in ("batch", "concurrency", "timeout", "tries", "deadline")
        }
        self.batch, self.concurrency = counts["batch"], counts["concurrency"]
        patience = Patience(counts["timeout"], counts["tries"], counts["deadline"])
        self.client = Client(address(spec), api_key(spec), patience)
        policy = values["policy"] or values["tokenizer"]
        folders = {"tokenizer": values["tokenizer"] or policy, "policy": policy}
        if not policy:
            raise UsageError(
                f"{spec.text}: {self.trainer} writes texts by a chat template; name its "
                f"tokenizer's folder: {spec.with_setting('tokenizer', 'DIR')!r}"
            )
        self._folders = {
            name: tokenizer_folder(spec, spec.resolve(folder)) for name, folder in folders.items()
        }
        self._templates = {
            name: chosen_template(spec, folder, values["template"] if name == "tokenizer" else "")
            for name, folder in self._folders.items()
        }
        self.request, self.served, server = self._identified(values)
        self.kept = bool(values["version"])
        rm, writer = self._folders["tokenizer"], self._folders["policy"]
        facts = {
            "scheme": self.scheme,
            "client": self.trainer,
            "url": self.client.url,
            "server": server,
            "model": self.served,
            "version": values["version"],
            "templates": {name: one.facts for name, one in self._templates.items()},
            "policy": fingerprint({}, writer.read_files, root=writer.path),
        }
        self.fingerprint = fingerprint(facts, rm.read_files, root=rm.path)

    @property
    def asked(self) -> AskedColumns:
        """The label, where the trainer sends one and the pool has it."""
        return AskedColumns(optional=() if self.trainer == "verl" else ("label",))

    @property
    def name(self) -> str:
        """The address, and whose requests it gets."""
        return f"{self.client.url} as {self.trainer} asks"

    @property
    def description(self) -> Mapping[str, str]:
        """What is sent, and by which template."""
        return {
            "client": f"{self.trainer}: {self.request.sent}",
            "url": self.client.url,
            "device": "server",
            "model": self.served or "not told",
            **{name: str(folder.path) for name, folder in self._folders.items()},
        }

    def load(self) -> "TrainerClientSession":
        """Read the tokenizers.

        Raises:
            MissingDependencyError: transformers is not installed.
            ModelError: One cannot be loaded.
        """
        read = {
            name: ConversationTokenizer(load_tokenizer(folder), template=self._templates[name])
            for name, folder in self._folders.items()
        }
        return TrainerClientSession(self, read["tokenizer"], read["policy"])

    def _identified(self, values: Mapping[str, str]) -> tuple[TrainerRequest, str, list[Any]]:
        """The request, the model's name and what the server tells."""
        if self.trainer != "verl":
            found = OpenRlhfRequest() if self.trainer == "openrlhf" else SlimeRequest()
            return found, "", []
        try:
            family, identity = identified(self.client, values["server"], values["model"])
        except UnreachableError as error:
            raise UnknownModelError(f"{self.spec}: no server to score with. {error}") from error
        except (UnknownModelError, UsageError) as error:
            raise type(error)(f"{self.spec}: {error}") from error
        finally:
            self.client.close()
        if family.name not in _VERL:
            raise UsageError(f"{self.spec}: verl asks vLLM or SGLang, and this is {family.name}")
        told = [family.name, identity.version, identity.root]
        return _VERL[family.name](), identity.model, told


@dataclass(eq=False)
class TrainerClientSession(Session):
    """The tokenizers of the reward model and of the policy, and the server."""

    model: TrainerClientModel
    tokenizer: ConversationTokenizer
    policy: ConversationTokenizer

    @property
    def facts(self) -> EngineFacts:
        """The server's machine computes."""
        return EngineFacts("server")

    def encode(self, samples: Sequence[Sample], too_long: TooLong = "error") -> list[Encoded]:
        """The text of each sample; the server decides what is too long.

        Raises:
            ScoringError: A template refuses a conversation.
        """
        encoded = []
        for sample, text in zip(samples, self.texts(samples), strict=True):
            key = repr((text.text, text.prompt, text.response)).encode("utf-8", "surrogatepass")
            digest = hashlib.blake2b(key, digest_size=16).digest()
            encoded.append(Encoded(digest, max(1, len(text.text) // 4), (), (), 0, sample))
        return encoded

    def texts(self, samples: Sequence[Sample]) -> list[TrainerText]:
        """What the trainer has of each sample.

        Raises:
            ScoringError: A template refuses a conversation.
        """
        rm, policy = self.tokenizer, self.policy
        eos = "" if policy.eos_id is None else policy.text([policy.eos_id])
        if self.model.trainer == "verl":
            return [_of_verl(rm, eos, sample) for sample in samples]
        prompts = [Prompt(s.prompt_id, s.messages, (), {}) for s in samples]
        return [
            TrainerText(
                policy.reread(f"{prompt}{s.response}{eos}"),
                prompt,
                s.response + eos,
                s.columns.get("label"),
            )
            for prompt, s in zip(policy.prompt_texts(prompts), samples, strict=True)
        ]

    def prove(self, encoded: Sequence[Encoded]) -> Proven:
        """Say what is sent; that it is right is for the comparison with the checkpoint to show."""
        (text,) = self.texts([encoded[0].sample])
        item = partial(ConformanceItem, status="note")
        items = (
            item(name="client", detail=f"{self.model.trainer}: {self.model.request.sent}"),
            item(name="text", detail=f"begins {text.text[:60]!r}, ends {text.text[-60:]!r}"),
            item(
                name="raw_logits",
                detail="not asked for twice: what comes back is what training gets; compare it "
                "with the checkpoint (serving:, rmcheck parity)",
            ),
        )
        return Proven(items)

    def score(self, batch: Sequence[Encoded]) -> NDArray[np.float64]:
        """(len(batch),) what the trainer would read of the answers.

        Raises:
            PartialScoringError: Some texts have no reward; it holds the rewards of the others.
        """
        if not batch:
            return np.zeros(0)
        texts = self.texts([encoded.sample for encoded in batch])
        size = self.model.request.batch or self.model.batch
        places = range(len(batch))
        parts = [tuple(places[at : at + size]) for at in range(0, len(batch), size)]
        answer = partial(self._answer, texts)
        replies = asked(self.model.client, parts, answer, concurrency=self.model.concurrency)
        return checked_rewards(
            np.array(rewards_of(replies, self.model.spec, batch)), batch, self.model.spec
        )

    def close(self) -> None:
        """Close the connections."""
        self.model.client.close()

    def _answer(
        self, texts: Sequence[TrainerText], part: Part, again: bool
    ) -> dict[int, float | ScoringError]:
        path, body = self.model.request.body([texts[place] for place in part], self.model.served)
        answer = self.model.client.post(path, body, again=again)
        try:
            rewards = self.model.request.rewards(answer, len(part))
        except WrongAnswerError as error:
            what = self.model.client.without_key(str(error)) + self.model.client.says(str(answer))
            raise WrongAnswerError(f"{self.model.client.url}{path}: {what}") from None
        return {
            place: reward if isfinite(reward) else ScoringError(f"the server's score is {reward}")
            for place, reward in zip(part, rewards, strict=True)
        }


def _of_verl(rm: ConversationTokenizer, eos: str, sample: Sample) -> TrainerText:
    """The reward model's template over the answer without the policy's EOS, less one BOS."""
    turns = conversation(sample)
    if eos:
        turns[-1]["content"] = turns[-1]["content"].replace(eos, "")
    (text,) = rm.written([turns])
    bos = "" if rm.bos_id is None else rm.text([rm.bos_id])
    text = text.removeprefix(bos) if bos else text
    return TrainerText(text, turns[:-1], turns[-1]["content"])
