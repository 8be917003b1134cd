"""Several reward models as one: `ensemble:SPEC,SPEC,…` or `ensemble:FILE.yaml`."""

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal, Self, cast

import numpy as np
from numpy.typing import NDArray

from rmcheck.errors import ModelError, RmcheckError, ScoringError, UsageError
from rmcheck.metrics.ensemble import DISAGREEMENT
from rmcheck.models.checkpoint.fingerprint import fingerprint
from rmcheck.models.kinds.ensemble_file import Member, read_ensemble_file
from rmcheck.models.model import Combined, MembersModel, RewardModel
from rmcheck.models.sample import Sample
from rmcheck.models.spec import ModelSpec, Setting, stated_settings
from rmcheck.models.trust import trusting

Floats = NDArray[np.float64]
Combine = Literal["mean", "worst", "uwo"]
Scale = Literal["raw", "prompt"]

# Raw rewards whose spreads differ by more than this are worth a warning.
SPREAD_RATIO = 3.0


class EnsembleRewardModel(MembersModel):
    """Several reward models, combined response by response.

    | combine | reward |
    |---|---|
    | `mean` | mean of the members |
    | `worst` | the lowest member: worst-case optimisation (WCO) |
    | `uwo` | mean − penalty × population variance: uncertainty-weighted optimisation |

    With `scale=raw`, the formulas of the literature, members are combined as they are. But a
    reward's offset is arbitrary, prompt by prompt, and members trained apart differ in scale too:
    the lowest member may be the one with the lowest offset, and the widest one decides a mean.
    With `scale=prompt` each member's mean over a prompt's responses is taken off first, and the
    rest is divided by the member's pooled within-prompt standard deviation. Such a reward exists
    only beside the other responses of a pool; texts scored one by one have none.

    An ensemble scores nothing itself: its `members` are scored as any model is, one after another,
    and what is known of them is not scored again.

    Members that have settings, or a comma in their location, are named in a file:

        members:
          - hf:runs/a?dtype=bfloat16
          - hf:runs/b?dtype=bfloat16
        combine: uwo
        penalty: 0.5

    Settings in the spec win over those of the file. Relative paths in both are relative to the
    current directory, as in every spec.

    Args:
        members: Two or more different models.
        combine: How their rewards become one.
        penalty: λ of `uwo`, in 1 / (unit of the rewards that are combined); 0 or more.
        scale: Whether members are standardised first.

    Raises:
        UsageError: Fewer than two members, one of them twice, an ensemble among them, or a penalty
            that is none.

    Reference:
        Coste et al. 2023, arXiv 2310.02743, section 3.
    """

    scheme: ClassVar[str] = "ensemble"
    settings: ClassVar[tuple[Setting, ...]] = (
        Setting("combine", ("mean", "worst", "uwo"), "mean", closed=True),
        Setting("penalty", ("LAMBDA",), "0.5"),
        Setting("scale", ("raw", "prompt"), "raw", closed=True),
    )

    def __init__(
        self,
        members: Sequence[RewardModel],
        *,
        combine: Combine = "mean",
        penalty: float = 0.5,
        scale: Scale = "raw",
    ) -> None:
        if not (np.isfinite(penalty) and penalty >= 0):
            raise UsageError(f"ensemble: penalty is {penalty}; it is a number, 0 or more")
        _check_members(members)
        self._parts = tuple(members)
        self.combine: Combine = combine
        self.penalty = penalty
        self.scale: Scale = scale
        named = {"combine": combine, "penalty": f"{penalty:g}", "scale": scale}
        if combine != "uwo":
            del named["penalty"]
        query = "&".join(f"{name}={value}" for name, value in named.items())
        self.spec = f"ensemble:{','.join(m.spec for m in members)}?{query}"
        self.kept = all(member.kept for member in members)
        self.reads_golden = any(member.reads_golden for member in members)
        self.compares = any(member.compares for member in members)
        # Every way to combine forgets the order of the members.
        self.fingerprint = fingerprint(
            {"scheme": self.scheme, "members": sorted(m.fingerprint for m in members), **named}
        )

    @classmethod
    def from_spec(cls, spec: ModelSpec) -> Self:
        """The ensemble that a spec names; its members are opened, which reads no weights.

        Raises:
            UsageError, ModelError: A setting is wrong, or members cannot be opened; all of these
                are named.
        """
        listed, stated = _listed(spec, cls.settings)
        given = {**stated, **spec.settings}
        values = stated_settings(spec, cls.settings) | given
        # A file's penalty waits where the spec tries another combination.
        named = spec.settings if "combine" in spec.settings else given
        if "penalty" in named and values["combine"] != "uwo":
            raise UsageError(
                f"{spec.text}: penalty is for combine=uwo, and combine is {values['combine']}"
            )
        try:
            penalty = float(values["penalty"])
        except ValueError:
            raise UsageError(
                f"{spec.text}: penalty is {values['penalty']!r}, not a number"
            ) from None
        members = _opened(listed, spec)
        try:
            model = cls(
                members,
                combine=cast(Combine, values["combine"]),
                penalty=penalty,
                scale=cast(Scale, values["scale"]),
            )
        except UsageError as error:
            raise UsageError(f"{spec.text}: {error}") from error
        model.spec = spec.text
        return model

    @property
    def parts(self) -> tuple[RewardModel, ...]:
        """The models that are combined, in the order in which they were named."""
        return self._parts

    @property
    def name(self) -> str:
        """How many members there are and how they are combined."""
        return f"ensemble of {len(self._parts)} ({self.combine})"

    @property
    def description(self) -> Mapping[str, str]:
        """The combination, and each member with the start of its fingerprint."""
        penalty = f", penalty {self.penalty:g}" if self.combine == "uwo" else ""
        return {
            "combine": f"{self.combine}{penalty}",
            "scale": self.scale,
            "members": ", ".join(f"{m.name} ({m.fingerprint[:8]})" for m in self._parts),
        }

    def together(self, parts: Sequence[Combined], samples: Sequence[Sample]) -> Combined:
        """Rewards of the ensemble, and the column `disagreement`.

        The disagreement on a response is the population standard deviation across members of their
        rewards less each one's mean over the prompt, in the unit of what is combined. Where a
        prompt has one response only it is 0, and so is a reward with `scale=prompt`.

        Args:
            parts: What each member gives.
            samples: The M samples; those with one `prompt_id` are the responses of a prompt.

        Raises:
            UsageError: `scale=prompt`, and no prompt has two responses.
            ScoringError: `scale=prompt`, and a member has one reward for all responses of a prompt,
                in every prompt.
        """
        scores = np.stack([part.rewards for part in parts])
        prompts = _prompt_numbers(samples)
        within = _centred(scores, prompts)
        freedom = len(samples) - len(np.unique(prompts))
        spread = np.sqrt(np.sum(within**2, axis=1) / max(freedom, 1))
        if self.scale == "prompt":
            self._check_spread(spread, freedom)
            scores = within = within / spread[:, None]
        # In order of size, so that rounding forgets the order of the members as well.
        return Combined(
            self._reward(np.sort(scores, axis=0)),
            {DISAGREEMENT: np.sort(within, axis=0).std(axis=0)},
            "; ".join(filter(None, [*self.warnings(parts), self._warning(spread)])),
        )

    def _reward(self, scores: Floats) -> Floats:
        match self.combine:
            case "mean":
                return np.asarray(scores.mean(axis=0))
            case "worst":
                return np.asarray(scores.min(axis=0))
            case "uwo":
                return np.asarray(scores.mean(axis=0) - self.penalty * scores.var(axis=0))

    def _check_spread(self, spread: Floats, freedom: int) -> None:
        if not freedom:
            raise UsageError(
                f"{self.spec}: scale=prompt compares the responses of a prompt, and no prompt here "
                "has two (texts that a test scores are a prompt each); use a pool, or scale=raw"
            )
        constant = [m.spec for m, s in zip(self._parts, spread, strict=True) if s == 0]
        if constant:
            raise ScoringError(
                f"{self.spec}: scale=prompt divides by a member's spread inside prompts, and "
                f"{', '.join(constant)} gives all responses of a prompt the same reward"
            )

    def _warning(self, spread: Floats) -> str:
        if self.scale == "prompt" or spread.max() <= SPREAD_RATIO * spread.min():
            return ""
        each = ", ".join(f"{m.name} {s:.3g}" for m, s in zip(self._parts, spread, strict=True))
        return (
            f"members differ more than {SPREAD_RATIO:g} times in scale (s.d. inside prompts: "
            f"{each}), so the widest decides; scale=prompt makes them equal"
        )


def _listed(
    spec: ModelSpec, known: Sequence[Setting]
) -> tuple[Sequence[Member], Mapping[str, str]]:
    """Members and settings, from the file where the location is one."""
    if "," not in spec.location and spec.location.endswith((".yaml", ".yml")):
        return read_ensemble_file(spec.path, known)
    texts = spec.location.split(",")
    named = (f"{spec.text}: member {i}" for i in range(1, len(texts) + 1))
    return [Member(t.strip(), at, given=True) for t, at in zip(texts, named, strict=True)], {}


def _opened(listed: Sequence[Member], spec: ModelSpec) -> list[RewardModel]:
    """The members; what is wrong with any of them is said of all."""
    opened: list[RewardModel] = []
    errors: list[RmcheckError] = []
    texts: list[str] = []
    for member in listed:
        try:
            if not member.spec:
                raise UsageError("has no text; write scheme:location between two commas")
            # Not opened: a file could name itself.
            if member.spec.partition(":")[0] == EnsembleRewardModel.scheme:
                raise UsageError(_nested(member.spec))
            # A file that the user named is the user's word about code, and not about the key.
            with trusting(spec.given):
                opened.append(
                    spec.open(member.spec, base=spec.base, given=spec.given and member.given)
                )
        except (UsageError, ModelError) as error:
            errors.append(error)
            texts.append(f"{member.where}: {error}")
    if errors:
        raise type(errors[0])("\n".join(texts)) from errors[0]
    return opened


def _check_members(members: Sequence[RewardModel]) -> None:
    if len(members) < 2:
        named = ", ".join(m.spec for m in members) or "none"
        raise UsageError(f"an ensemble has two members or more; this one has {named}")
    nested = [m.spec for m in members if isinstance(m, EnsembleRewardModel)]
    if nested:
        raise UsageError(_nested(nested[0]))
    first: dict[str, RewardModel] = {}
    for member in members:
        known = first.setdefault(member.fingerprint, member)
        if known is not member:
            raise UsageError(f"{member.spec} is the same model as {known.spec}; name it once")


def _nested(spec: str) -> str:
    return f"{spec} is an ensemble itself; name its members instead"


def _prompt_numbers(samples: Sequence[Sample]) -> NDArray[np.int64]:
    """(M,) number of each sample's prompt."""
    numbers: dict[str, int] = {}
    return np.asarray(
        [numbers.setdefault(sample.prompt_id, len(numbers)) for sample in samples], dtype=np.int64
    )


def _centred(scores: Floats, prompts: NDArray[np.int64]) -> Floats:
    """(K, M) scores less each member's mean over the prompt."""
    counts = np.bincount(prompts)
    means = [np.bincount(prompts, weights=row) / counts for row in scores]
    centred = scores - np.stack(means)[:, prompts]
    # What is constant in a prompt is exactly so, whatever its mean was rounded to.
    return np.where(np.abs(centred) <= 1e-12 * np.abs(scores), 0.0, centred)
