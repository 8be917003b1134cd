"""Process reward models, which judge each step of a response: `process:DIR?aggregate=…`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from rmcheck.errors import ConformanceError, UsageError
from rmcheck.models.checkpoint import settings as known
from rmcheck.models.engines.asked import Floats, Way
from rmcheck.models.engines.vllm.placement import SETTINGS as PLACEMENT
from rmcheck.models.kinds.checkpoint_model import CheckpointModel, CheckpointSession
from rmcheck.models.kinds.process.aggregation import AGGREGATES, aggregated
from rmcheck.models.kinds.process.checkpoint import ProcessCheckpoint
from rmcheck.models.kinds.process.conformance import TorchProcessProof, VllmProcessProof
from rmcheck.models.kinds.process.scorer import ProcessScorer
from rmcheck.models.kinds.process.settings import ProcessSettings
from rmcheck.models.kinds.process.tokenizer import Join, ProcessTokenizer, response_steps
from rmcheck.models.kinds.process.vllm_labels import VllmLabels
from rmcheck.models.kinds.process.vllm_scorer import VllmSteps
from rmcheck.models.model import Combined
from rmcheck.models.sample import Encoded, Sample, TooLong
from rmcheck.models.spec import ModelSpec, Setting
from rmcheck.models.text.checkpoint_tokenizer import (
    chosen_template,
    installed_version,
    load_tokenizer,
    token_limit,
)

# Column of `Combined`: how many steps each response has.
STEPS = "steps"


@dataclass(frozen=True, slots=True)
class StepReward:
    """What a process reward model says of one step.

    Attributes:
        text: The step.
        log_odds: Logit of the right answer less that of the wrong one; higher is better.
    """

    text: str
    log_odds: float

    @property
    def probability(self) -> float:
        """That the step is right, by the model: softmax over both answers."""
        return float(0.5 * (1 + np.tanh(self.log_odds / 2)))


Scorer = ProcessScorer | VllmSteps | VllmLabels


class ProcessSession(CheckpointSession["ProcessRewardModel", Scorer, ProcessTokenizer]):
    """A process reward model, ready to judge steps."""

    def step_log_odds(self, batch: Sequence[Encoded], way: Way = "padded") -> list[Floats]:
        """(K,) log-odds of each sample's steps, in order; higher is better.

        Raises:
            MemoryError: The batch does not fit.
        """
        if not batch:
            return []
        rows, marks = [e.ids for e in batch], [e.type_ids for e in batch]
        return self.scorer.log_odds(rows, marks, way)

    def step_rewards(
        self, samples: Sequence[Sample], too_long: TooLong = "error"
    ) -> list[tuple[StepReward, ...]]:
        """Each sample's steps with what the loaded model says of them; one sample at a time.

        The worst step is `min(steps, key=lambda step: step.log_odds)`.

        Raises:
            ScoringError: See `encode`.
        """
        encoded = self.encode(samples, too_long)
        found = [self.step_log_odds([one])[0] for one in encoded]
        return [
            tuple(map(StepReward, self.tokenizer.steps(sample), log_odds.tolist()))
            for sample, log_odds in zip(samples, found, strict=True)
        ]

    def _proof(self, encoded: Sequence[Encoded]) -> TorchProcessProof | VllmProcessProof:
        model = self.model
        if isinstance(self.scorer, ProcessScorer):
            return TorchProcessProof(model, self.tokenizer, self.scorer, model.formula, encoded)
        self.scorer.reads_cache = False
        return VllmProcessProof(model, self.tokenizer, self.scorer, model.formula, encoded)

    def _rewards(self, batch: Sequence[Encoded], way: Way) -> Floats:
        """Log-odds."""
        steps = self.step_log_odds(batch, way)
        return np.array([aggregated(log_odds, self.model.aggregate) for log_odds in steps])


class ProcessRewardModel(CheckpointModel):
    r"""A model that judges each step of a response, and how its judgements become one reward.

    Read are two labels at a token of each step (`...ForTokenClassification`, as TRL's PRMTrainer
    saves, and Qwen2.5-Math-PRM), or the logits of two answer tokens behind a step tag
    (`...ForCausalLM`, as Math-Shepherd). Which of both it is follows from config.json. The reward
    is the log-odds of the probability that `aggregate` makes of the steps' (`aggregated`).

    The conversation is what the chat template writes before the response, then the steps, each
    with the tag behind it (`ProcessTokenizer`). Texts of settings know the escapes `\n`, `\r`,
    `\t` and `\\`.

    Args:
        spec: Where the folder is, and the settings. Without a default are `aggregate` and `tag`,
            since every guess gives other rewards. `good` and `bad` are labels or tokens; by
            default label 1 and 0 where labels have no names, or the tokens `+` and `-`. `join`
            is `tokens` for labels and `text` for answer tokens by default.

    Raises:
        UnknownModelError: No folder, no config.json, or no weights.
        UsageError: `aggregate` or `tag` is missing, or a setting's value is impossible.
        ModelError: The weights are pickled, damaged, or an adapter; or there is no tokenizer.
        ConformanceError: The folder holds no process reward model, its labels do not say which
            one is a right step, or it has no chat template.

    Reference:
        Lightman et al. 2023, arXiv 2305.20050 (product and min); Wang et al. 2024, arXiv
        2312.08935 (Math-Shepherd); Zhang et al. 2025, arXiv 2501.07301 (Qwen2.5-Math-PRM).
    """

    scheme: ClassVar[str] = "process"
    form = ProcessSettings
    _set: ProcessSettings
    checkpoint: ProcessCheckpoint
    settings: ClassVar[tuple[Setting, ...]] = (
        Setting("aggregate", tuple(AGGREGATES), closed=True),
        Setting("tag", ("TEXT",)),
        Setting("step", ("TEXT",), r"\n\n"),
        Setting("between", ("TEXT",)),
        Setting("join", ("tokens", "text"), closed=True),
        Setting("good", ("LABEL", "INDEX", "TOKEN")),
        Setting("bad", ("LABEL", "INDEX", "TOKEN")),
        known.ENGINE,
        known.BASE,
        known.DTYPE,
        known.DEVICE,
        known.MAX_LENGTH,
        known.TEMPLATE,
        known.DATE,
        known.ATTENTION,
        known.PREFIX,
        *PLACEMENT,
        known.TRUST_REMOTE_CODE,
    )

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec)
        self.aggregate = self._set.aggregate
        self.checkpoint = ProcessCheckpoint.of(spec, remote_code=self._set.remote_code)
        self.checkpoint.check()
        if self.on_vllm and self.checkpoint.kind == "head" and not self.checkpoint.head_layers:
            raise UsageError(
                f"{spec.text}: with vLLM labels are read behind a decoder, by linear layers named "
                f"score, and {self.checkpoint.architecture} has none; remove engine=vllm"
            )
        self._settle(spec, self.checkpoint)
        self.join = self._set.join or _default_join(self.checkpoint)
        self.max_length = token_limit(spec, self.checkpoint, self._set.max_length)
        if self._set.template == "pair":
            raise UsageError(f"{spec.text}: a text pair has no place for tags; name a template")
        self._template = chosen_template(spec, self.checkpoint, self._set.template, self._set.date)
        self._answer_texts = self._named_answers()
        self.fingerprint = self._fingerprint(
            self.checkpoint,
            ("dtype", "attention"),
            aggregate=self.aggregate,
            answers=self._answer_texts,
            join=self.join,
            step=self._set.step,
            tag=self._set.tag,
            between=self._set.between,
            **self._set.versions,
        )

    @property
    def name(self) -> str:
        """The last two parts of the path and the aggregate, as in `prm-7b/step-400 (min)`."""
        return f"{self.checkpoint.short_name} ({self.aggregate})"

    @property
    def description(self) -> Mapping[str, str]:
        """Architecture, formula, tag, dtype, device."""
        return {
            "architecture": self.checkpoint.architecture,
            **self.checkpoint.described,
            "reward": self.formula,
            "steps": f"between {self._set.step!r}; tag {self.tag!r}; joined as {self.join}",
            "dtype": self.dtype,
            **self._run,
            "quantisation": self.checkpoint.quantisation,
            "max_length": str(self.max_length or "no limit"),
            "template": self.template_source,
            "transformers": installed_version("transformers"),
        }

    @property
    def formula(self) -> str:
        """The reward as a person writes it."""
        good, bad = self._answer_texts
        kind = "label" if self.checkpoint.kind == "head" else "token"
        return (
            f"log-odds, {self.aggregate} over steps ({AGGREGATES[self.aggregate]}); "
            f"a step's: {kind} {good!r} against {bad!r}"
        )

    @property
    def tag(self) -> str:
        """What is written behind each step."""
        return self._set.tag

    def combined(self, scores: Floats, samples: Sequence[Sample]) -> Combined:
        """The rewards, how many steps each response has, and a warning where all have one."""
        counts = [len(response_steps(s.response, self._set.step)) for s in samples]
        warning = ""
        if counts and max(counts) == 1:
            separator = self._set.written_step
            warning = f"every response has one step: is step={separator} what separates steps?"
        return Combined(scores, {STEPS: np.array(counts, dtype=np.float64)}, warning)

    def load(self) -> ProcessSession:
        tokenizer = ProcessTokenizer(
            load_tokenizer(self.checkpoint),
            template=self._template,
            max_length=self.max_length,
            step=self._set.step,
            tag=self.tag,
            between=self._set.between,
            join=self.join,
        )
        good, bad = self._answers(tokenizer)
        if self.on_vllm:
            engine = VllmLabels if self.checkpoint.kind == "head" else VllmSteps
            scorer = engine(
                self.checkpoint,
                dtype=self.dtype,
                max_length=self.max_length,
                place=self._set.place,
                answers=(good, bad),
            )
            return ProcessSession(self, scorer, tokenizer)
        own = ProcessScorer(
            self.checkpoint,
            dtype=self.dtype,
            device=self._set.device,
            attention=self._set.attention,
            good=good,
            bad=bad,
        )
        if self.prefix == "shared" and not own.is_decoder:
            own.close()
            raise ConformanceError(
                f"{self.spec}: {self.checkpoint.architecture} reads a text in both directions, so "
                "responses cannot share their prompt; remove prefix=shared"
            )
        return ProcessSession(self, own, tokenizer)

    def _named_answers(self) -> tuple[str, str]:
        """Names of both answers: labels of the head, or texts of tokens."""
        good, bad = self._set.good, self._set.bad
        if self.checkpoint.kind == "head":
            at = self.checkpoint.answers(good, bad, self.spec)
            return self.checkpoint.labels[at[0]], self.checkpoint.labels[at[1]]
        return good or "+", bad or "-"

    def _answers(self, tokenizer: ProcessTokenizer) -> tuple[int, int]:
        """Index of both labels, or id of both tokens."""
        if self.checkpoint.kind == "head":
            return self.checkpoint.answers(self._set.good, self._set.bad, self.spec)
        found = [tokenizer.ids(text) for text in self._answer_texts]
        for name, text, ids in zip(("good", "bad"), self._answer_texts, found, strict=True):
            if len(ids) != 1:
                pieces = ", ".join(repr(tokenizer.text([one])) for one in ids) or "none"
                raise ConformanceError(
                    f"{self.spec}: {name} is {text!r}, which is {len(ids)} tokens ({pieces}); an "
                    "answer is one token"
                )
        if found[0] == found[1]:
            raise ConformanceError(
                f"{self.spec}: good {self._answer_texts[0]!r} and bad {self._answer_texts[1]!r} "
                f"are one token (id {found[0][0]})"
            )
        return found[0][0], found[1][0]


def _default_join(checkpoint: ProcessCheckpoint) -> Join:
    # As those are trained: TRL joins tokens, Math-Shepherd tokenises whole texts.
    return "tokens" if checkpoint.kind == "head" else "text"
