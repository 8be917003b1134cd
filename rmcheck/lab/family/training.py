"""Trains what a family lacks: a finished reward model is never trained again."""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rmcheck.errors import ModelError, UsageError
from rmcheck.lab.family import trainer
from rmcheck.lab.family.flips import flipped_labels
from rmcheck.lab.family.preferences import Preference, PreferenceData, preference_data
from rmcheck.lab.family.recipe import Family, Recipe
from rmcheck.lab.family.trainer import planned_steps
from rmcheck.lab.sharing import shared
from rmcheck.pool.reading import read_pool
from rmcheck.scoring.progress import progress_in
from rmcheck.store.folder import write_whole

# Says, inside the folder of a reward model, how it was made; written with the weights.
FACTS = "lab.json"


@dataclass(frozen=True)
class Trained:
    """One reward model of a family.

    Attributes:
        name: Its name.
        folder: Where it is; `hf:FOLDER` opens it.
        pairs: Pairs that it saw.
        flipped: How many of them with the wrong label.
        accuracy: On the labels of the last steps, right or flipped.
        new: Whether it was trained now.
    """

    name: str
    folder: Path
    pairs: int
    flipped: int
    accuracy: float
    new: bool


def train_family(
    family: Family,
    out: Path,
    told: Callable[[Trained], object] = lambda _: None,
    step: Callable[[int], object] = lambda _: None,
) -> list[Trained]:
    """Train every reward model that is not finished yet.

    A run that was killed goes on where it stopped: finished reward models are kept, and the one
    that was being trained resumes from its last checkpoint. Several processes, such as one for
    each GPU, share the family.

    Args:
        family: What to train.
        out: Folder; each reward model gets `reward_models/NAME` in it.
        told: Called with each reward model as soon as it is there.
        step: Called after each step of a training run.

    Raises:
        PoolError: The preference data cannot be read.
        UsageError: There are no pairs; a folder holds a reward model that was made otherwise.
        ModelError: Two reward models came out with the same weights.
        MissingDependencyError: TRL is not installed.
    """
    lessons = _lessons(family)
    done = {}
    for recipe in shared(family.recipes, lambda each: out / "unfinished" / f"{each.name}.lock"):
        done[recipe.name] = _trained(recipe, family, *lessons[recipe.name], out, step)
        told(done[recipe.name])
    found = [done[recipe.name] for recipe in family.recipes]
    _refuse_equal_weights(found)
    return found


def model_folder(out: Path, name: str) -> Path:
    """Where a reward model of a family stands."""
    return out / "reward_models" / name


def _lessons(family: Family) -> Mapping[str, tuple[PreferenceData, NDArray[np.bool_]]]:
    """Name of a reward model to its pairs, and which of them are flipped.

    How the flips of two reward models lie to each other means something on the same pairs alone.
    """
    found: dict[str, tuple[PreferenceData, NDArray[np.bool_]]] = {}
    for path, column in dict.fromkeys(map(family.data_of, family.recipes)):
        taught = [each for each in family.recipes if family.data_of(each) == (path, column)]
        pool = read_pool(path, format=family.format)
        data = preference_data(pool, column, family.pairs, family.pair_seed)
        names, rates = [each.name for each in taught], [each.flip for each in taught]
        flips = flipped_labels(names, rates, len(data.pairs), family.overlap, family.flip_seed)
        found |= {name: (data, flipped) for name, flipped in zip(names, flips, strict=True)}
    return found


def _trained(
    recipe: Recipe,
    family: Family,
    data: PreferenceData,
    flipped: NDArray[np.bool_],
    out: Path,
    step: Callable[[int], object],
) -> Trained:
    folder = model_folder(out, recipe.name)
    seen = data.shard(*recipe.shard, family.flip_seed) if recipe.shard else np.ones_like(flipped)
    taken = np.flatnonzero(seen)
    pairs = [data.pairs[i].flipped() if flipped[i] else data.pairs[i] for i in taken]
    wrong = int(flipped[seen].sum())
    facts = {
        "recipe": recipe.facts(),
        "data": {
            "path": str(family.data_of(recipe)[0]),
            "pairs": len(pairs),
            "digest": _digest(pairs),
        },
        "flipped": wrong,
    }
    new = not folder.exists()
    if new:
        _train(recipe, pairs, facts, out, step)
    known = json.loads((folder / FACTS).read_text(encoding="utf-8"))
    if different := [key for key in facts if known.get(key) != _plain(facts[key])]:
        raise UsageError(
            f"{folder} holds a reward model with another {' and '.join(different)} than the file "
            "says. Choose another --out, or remove that folder to train it again"
        )
    accuracy = known["last"].get("accuracy", float("nan"))
    return Trained(recipe.name, folder, len(pairs), wrong, accuracy, new)


def _train(
    recipe: Recipe,
    pairs: Sequence[Preference],
    facts: dict[str, Any],
    out: Path,
    step: Callable[[int], object],
) -> None:
    work, folder = out / "unfinished" / recipe.name, model_folder(out, recipe.name)
    plan = work / FACTS
    if plan.exists() and json.loads(plan.read_text(encoding="utf-8")) != _plain(facts):
        shutil.rmtree(work)  # checkpoints of another recipe
    work.mkdir(parents=True, exist_ok=True)
    write_whole(plan, json.dumps(facts).encode())
    fresh = work / "finished"
    shutil.rmtree(fresh, ignore_errors=True)
    steps = planned_steps(recipe, len(pairs))
    with progress_in(f"training {recipe.name}", f"{len(pairs):,} pairs", steps, "steps") as bar:

        def stepped(count: int) -> None:
            bar.update(count)
            step(count)

        last = trainer.train_reward_model(recipe, pairs, work / "checkpoints", fresh, stepped)
    (fresh / FACTS).write_text(json.dumps({**facts, "last": last}, indent=1), encoding="utf-8")
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh.replace(folder)
    shutil.rmtree(work)


def _plain(facts: Any) -> Any:
    """As JSON gives it back."""
    return json.loads(json.dumps(facts))


def _digest(pairs: Sequence[Preference]) -> str:
    import hashlib

    found = hashlib.blake2b(digest_size=16)
    for pair in pairs:
        found.update(json.dumps([pair.prompt, pair.chosen, pair.rejected]).encode())
    return found.hexdigest()


def _refuse_equal_weights(found: Sequence[Trained]) -> None:
    import hashlib

    seen: dict[str, str] = {}
    for each in found:
        files = sorted(each.folder.glob("*.safetensors"))
        digest = hashlib.blake2b(b"".join(f.read_bytes() for f in files)).hexdigest()
        other = seen.setdefault(digest, each.name)
        if other != each.name:
            raise ModelError(
                f"{each.folder} and {other!r} have the same weights: two reward models that are "
                "one would count twice. Leave one out"
            )
