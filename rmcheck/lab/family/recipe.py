"""How the reward models of a family are made."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rmcheck.lab.family.flips import Overlap

DEVICES = ("auto", "cpu", "cuda")


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one reward model is trained.

    The defaults are those of the paper (arXiv 2410.05584, table 8), for models of 8B parameters.

    Attributes:
        name: Names the folder of the reward model.
        base: Folder that the weights start from: a language model or a sequence classifier.
        seed: Of the head's first weights and the order of the data.
        flip: Share of labels that are flipped.
        shard: Which part of the prompts it sees, as `(number, of)`; None means all of them.
        preferences: Preference data of its own; None means the family's.
        golden: Label column of its own, such as one with a bias; None means the family's.
        learning_rate: Its highest value, after the warm-up; a cosine takes it to 0.
        warmup: Share of the steps in which the learning rate rises.
        batch: Pairs a step.
        at_once: Pairs in memory; gradients are summed up to a batch. 0 means a whole batch.
        epochs: How often each pair is seen.
        regularization: λ of λ · mean(r_chosen² + r_rejected²), which holds rewards near 0.
        weight_decay: Of AdamW.
        max_length: Most tokens of a conversation; longer ones are refused.
        lora: Rank of LoRA adapters, merged at the end; 0 trains all weights.
        template: Chat template for a base that has none.
        device: Where it is trained; `auto` is CUDA where there is one.
    """

    name: str
    base: Path
    seed: int
    flip: float = 0.0
    shard: tuple[int, int] | None = None
    preferences: Path | None = None
    golden: str | None = None
    learning_rate: float = 5e-6
    warmup: float = 0.1
    batch: int = 256
    at_once: int = 0
    epochs: float = 1.0
    regularization: float = 0.01
    weight_decay: float = 0.0
    max_length: int = 2048
    lora: int = 0
    template: Path | None = None
    device: str = "auto"

    def facts(self) -> dict[str, Any]:
        """Everything but the pairs that decides the weights, for JSON; not the name."""
        found = asdict(self)
        for key in ("name", "preferences", "golden", "device"):
            del found[key]
        return {k: str(v) if isinstance(v, Path) else v for k, v in found.items()}


@dataclass(frozen=True)
class Family:
    """Reward models that are trained on one set of preferences, but for those that have their own.

    Attributes:
        path: The preference data: a pool in any format.
        recipes: One for each reward model.
        overlap: How the flips of two reward models lie to each other.
        flip_seed: Of the flips and the shards.
        format: Name of the reader; None where it can be told apart.
        column: The label whose larger value is preferred.
        pairs: Most pairs of a prompt; None means all.
        pair_seed: Of the draw of pairs.
        lines: Reward model to its line in the file, for messages.
    """

    path: Path
    recipes: tuple[Recipe, ...]
    overlap: Overlap
    flip_seed: int
    format: str | None
    column: str
    pairs: int | None
    pair_seed: int
    lines: Mapping[str, int]

    def data_of(self, recipe: Recipe) -> tuple[Path, str]:
        """Path and label column of what a reward model is trained on."""
        return recipe.preferences or self.path, recipe.golden or self.column
