"""The part of a laboratory's file that says how policies are optimised."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rmcheck.config.document import MapNode, ScalarNode
from rmcheck.config.kinds import Integer, Kind, Number, OneLine, Words, one_of
from rmcheck.config.section import beside, read_keys, refuse_unknown, require_keys
from rmcheck.config.source import Source
from rmcheck.lab.reading import DEVICES, Many, key_span, read_rows, read_section
from rmcheck.lab.rl.settings import (
    GOLDEN,
    Ensemble,
    FromPool,
    Optimization,
    PolicySource,
    Rl,
)
from rmcheck.suite.model_name import ModelName

POSITIVE = Number(0, open=True)
GOLDEN_KEYS: Mapping[str, Kind] = {"model": ModelName()}
POLICY: Mapping[str, Kind] = {
    "model": OneLine(),
    "prompts": OneLine(),
    "test_prompts": OneLine(),
    "max_tokens": Integer(1),
    "temperature": POSITIVE,
    "responses": Integer(2),
    "evaluations": Integer(1),
    "device": one_of(*DEVICES),
}
ENSEMBLE: Mapping[str, Kind] = {
    "name": OneLine(forbidden="/"),
    "members": Words(),
    "combine": one_of("mean", "worst", "uwo"),
    "penalty": Number(0),
}
OWN: Mapping[str, Kind] = {
    "name": OneLine(forbidden="/"),
    "kind": one_of("best_of_n", "tilting", "ppo", "grpo", "rloo"),
}
RL: Mapping[str, Kind] = {
    **OWN,
    "seeds": Many(Integer(0), "[1, 2, 3]"),
    "steps": Integer(1),
    "every": Integer(1),
    "learning_rate": POSITIVE,
    "kl_penalty": Number(0),
    "batch": Integer(2),
    "clip": Number(0, 1, open=True),
    "max_grad_norm": POSITIVE,
    "max_kl": POSITIVE,
}
PPO: Mapping[str, Kind] = {
    **RL,
    "critic_learning_rate": POSITIVE,
    "minibatch": Integer(1),
    "epochs": Integer(1),
    "gamma": Number(0, 1),
    "gae_lambda": Number(0, 1),
}
GROUPED: Mapping[str, Kind] = {**RL, "group": Integer(2)}
TABLES: Mapping[str, Mapping[str, Kind]] = {
    "best_of_n": {**OWN, "n": Many(Integer(2), "[4, 16, 64]")},
    "tilting": {**OWN, "kl": Many(POSITIVE, "[0.5, 1]")},
    "ppo": PPO,
    "grpo": GROUPED,
    "rloo": GROUPED,
}
NEEDED: Mapping[str, tuple[str, ...]] = {"best_of_n": ("n",), "tilting": ("kl",)}


def read_optimization(
    top: MapNode, path: Path, names: Sequence[str], source: Source
) -> Optimization | None:
    """How policies are optimised; None where the file does not say, or something is wrong.

    Args:
        top: The file.
        path: Where it stands.
        names: Of the reward models.
        source: Where problems are noted.
    """
    if not {"policy", "optimizers", "golden", "ensembles"} & top.entries.keys():
        return None
    before = len(source.problems)
    require_keys(top, ("policy", "golden", "optimizers"), top.entries, "the laboratory", source)
    policy = read_section(top, "policy", POLICY, ("model", "prompts", "test_prompts"), source)
    golden = read_section(top, "golden", GOLDEN_KEYS, ("model",), source)
    ensembles = read_rows(
        top, "ensembles", lambda node, named: _ensemble(node, named, names, source), source
    )
    rows: list[tuple[FromPool | Rl, int]] = read_rows(
        top, "optimizers", lambda node, named: _optimizer(node, named, source), source
    )
    found = read_keys(top, {"diverged": one_of("fail", "leave_out")}, "", source)
    if len(source.problems) == before and not rows:
        source.add(top.span, "the laboratory has no optimizers")
    if len(source.problems) > before:
        return None
    for key in ("model", "prompts", "test_prompts"):
        policy[key] = beside(path, policy[key])
    if not (policy["model"] / "config.json").is_file():
        source.add(key_span(top, "policy"), f"no config.json in the folder {policy['model']}")
        return None
    optimization = Optimization(
        policy=PolicySource(**policy),
        golden=golden["model"],
        from_pool=tuple(row for row, _ in rows if isinstance(row, FromPool)),
        rl=tuple(row for row, _ in rows if isinstance(row, Rl)),
        ensembles=tuple(row for row, _ in ensembles),
        diverged=found.get("diverged", "fail"),
        lines={row.name: line for row, line in rows},
    )
    _refuse_reserved(top, (*names, *(e.name for e in optimization.ensembles)), source)
    return optimization if len(source.problems) == before else None


def _optimizer(node: MapNode, named: str, source: Source) -> FromPool | Rl | None:
    kind = node.entries.get("kind", (None, None))[1]
    table = TABLES.get(kind.text, OWN) if isinstance(kind, ScalarNode) else OWN
    place = f" in {named}"
    if table is not OWN:
        refuse_unknown(node, table, place, source, f"It takes: {', '.join(table)}.")
    needed = NEEDED.get(kind.text if isinstance(kind, ScalarNode) else "", ("seeds", "steps"))
    needed = needed if table is not OWN else ()
    require_keys(node, ("name", "kind", *needed), table, named, source)
    found = read_keys(node, table, place, source)
    if not found.keys() >= {"name", "kind", *needed} or table is OWN:
        return None
    if found["kind"] in NEEDED:
        (at,) = (found.pop(key) for key in needed)
        return FromPool(at=tuple(map(float, at)), **found)
    if found.get("batch", 64) % found.get("group", 8) and found["kind"] != "ppo":
        source.add(node.span, f"{named}: batch is no multiple of group, the responses a prompt")
        return None
    return Rl(**found)


def _ensemble(node: MapNode, named: str, names: Sequence[str], source: Source) -> Ensemble | None:
    refuse_unknown(node, ENSEMBLE, f" in {named}", source, f"It takes: {', '.join(ENSEMBLE)}.")
    require_keys(node, ("name", "members"), ENSEMBLE, named, source)
    found: dict[str, Any] = read_keys(node, ENSEMBLE, f" in {named}", source)
    if not found.keys() >= {"name", "members"}:
        return None
    strange = [member for member in found["members"] if member not in names]
    if strange or len(found["members"]) < 2:
        told = f"no reward model {strange[0]!r}" if strange else "an ensemble has two members"
        source.add(
            key_span(node, "members"), f"{named}: {told}", f"Reward models: {', '.join(names)}."
        )
        return None
    return Ensemble(**found)


def _refuse_reserved(top: MapNode, names: Sequence[str], source: Source) -> None:
    repeated = {name for name in names if names.count(name) > 1}
    for name in sorted(repeated | ({GOLDEN} & set(names))):
        source.add(key_span(top, "reward_models"), f"the name {name!r} stands for two rewards")
