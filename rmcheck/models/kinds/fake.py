"""Fake reward models with known faults, for tests of suites and checks."""

import hashlib
from collections.abc import Sequence
from statistics import NormalDist
from typing import ClassVar, Literal, Self, get_args

import numpy as np
from numpy.typing import NDArray

from rmcheck.errors import ScoringError, UnknownModelError, UsageError, near_miss
from rmcheck.models.checkpoint.fingerprint import fingerprint
from rmcheck.models.model import ReadyModel
from rmcheck.models.sample import Encoded, named_prompts
from rmcheck.models.spec import ModelSpec, Setting, stated_settings, whole_number

FakeKind = Literal["perfect", "constant", "random", "length_biased", "reversed", "nan"]
FAKE_KINDS: tuple[FakeKind, ...] = get_args(FakeKind)


class FakeRewardModel(ReadyModel):
    """A reward model whose fault is known, so that a test can show that a suite catches it.

    | kind | reward | what should fail |
    |---|---|---|
    | `perfect` | the golden reward | nothing |
    | `constant` | 0 | accuracy, ranking, best-of-n: it prefers nothing |
    | `random` | standard normal, unrelated to the text | accuracy, ranking, best-of-n, regret |
    | `length_biased` | characters of the response | probes and slices of length; accuracy where \
good answers are short |
    | `reversed` | minus the golden reward | everything, worse than `random` |
    | `nan` | NaN | the session: it is an error, not a low score |

    Rewards depend on the text alone (and its golden reward), never on order or batch.
    Scores are not kept between sessions, since computing them costs nothing.

    Args:
        kind: One of the above.
        seed: Changes the random part.
        noise: Standard deviation of normal noise added to every reward.

    Raises:
        UnknownModelError: There is no such kind.
        UsageError: `noise` is negative or not finite.

    Example:
        >>> FakeRewardModel("length_biased").name
        'fake:length_biased'
    """

    scheme: ClassVar[str] = "fake"
    settings: ClassVar[tuple[Setting, ...]] = (
        Setting("seed", ("N",), "0"),
        Setting("noise", ("SD",), "0"),
    )
    kept = False

    def __init__(self, kind: FakeKind, *, seed: int = 0, noise: float = 0.0) -> None:
        if kind not in FAKE_KINDS:
            raise UnknownModelError(
                f"there is no fake {kind!r}.{near_miss(kind, FAKE_KINDS)} "
                f"Fakes: {', '.join(FAKE_KINDS)}."
            )
        if not (np.isfinite(noise) and noise >= 0):
            raise UsageError(
                f"fake:{kind}: noise is {noise}; it is a standard deviation, 0 or more"
            )
        self.kind: FakeKind = kind
        self.seed = seed
        self.noise = noise
        self.reads_golden = kind in {"perfect", "reversed"}
        stated = {"seed": seed, "noise": noise}
        given = "&".join(f"{name}={value:g}" for name, value in stated.items() if value)
        self.spec = f"fake:{kind}" + (f"?{given}" if given else "")
        self.fingerprint = fingerprint({"scheme": self.scheme, "kind": kind, **stated})

    @classmethod
    def from_spec(cls, spec: ModelSpec) -> Self:
        """The fake that a spec names."""
        values = stated_settings(spec, cls.settings)
        try:
            noise = float(values["noise"])
        except ValueError:
            raise UsageError(f"{spec.text}: noise is {values['noise']!r}, not a number") from None
        seed = whole_number(spec, "seed", values["seed"], least=0)
        # The constructor refuses a kind that is none.
        model = cls(spec.location, seed=seed, noise=noise)  # type: ignore[arg-type]
        model.spec = spec.text
        return model

    def score(self, batch: Sequence[Encoded]) -> NDArray[np.float64]:
        """(len(batch),) rewards with the known fault.

        Raises:
            ScoringError: `perfect` or `reversed`, and samples have no golden reward.
        """
        if self.reads_golden:
            blind = [e.sample for e in batch if e.sample.golden is None]
            if blind:
                raise ScoringError(
                    f"{self.spec} needs the golden reward of every response; prompts without: "
                    f"{named_prompts(blind)}"
                )
        rewards = np.array([self._reward(e) for e in batch], dtype=np.float64)
        if self.noise:
            rewards += self.noise * np.array([self._normal(e, b"noise") for e in batch])
        return rewards

    def _reward(self, encoded: Encoded) -> float:
        golden = encoded.sample.golden
        match self.kind:
            case "perfect" | "reversed":
                assert golden is not None  # `score` refused it otherwise
                return golden if self.kind == "perfect" else -golden
            case "constant":
                return 0.0
            case "random":
                return self._normal(encoded, b"reward")
            case "length_biased":
                return float(len(encoded.sample.response))
            case "nan":
                return float("nan")

    def _normal(self, encoded: Encoded, purpose: bytes) -> float:
        """A standard normal number that only seed, purpose and text decide."""
        content = b"%d %b " % (self.seed, purpose) + encoded.sample.text_key
        bits = int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "big")
        return NormalDist().inv_cdf((bits + 0.5) / 2**64)
