"""The part of a laboratory's file that says how policies are optimised."""

from collections.abc import Mapping, Sequence

from rmcheck.config.document import MapNode
from rmcheck.config.kinds import Integer, Kind, Number, OneLine, Words, one_of
from rmcheck.config.mapping import FileName, ListOf, NamedRow, Rows, Section, key_span
from rmcheck.config.section import read_keys, require_keys
from rmcheck.config.source import Source
from rmcheck.lab.family.recipe import DEVICES, Family
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


def _numbers(kind: Kind, example: str) -> ListOf:
    return ListOf(kind, example, distinct=True, least=1)


POLICY = Section(
    PolicySource,
    {
        "model": FileName(),
        "prompts": FileName(),
        "test_prompts": FileName(),
        "max_tokens": Integer(1),
        "temperature": POSITIVE,
        "responses": Integer(2),
        "evaluations": Integer(1),
        "device": one_of(*DEVICES),
    },
    ("model", "prompts", "test_prompts"),
)
ENSEMBLE = Section(
    Ensemble,
    {
        "name": OneLine(forbidden="/"),
        "members": Words(),
        "combine": one_of("mean", "worst", "uwo"),
        "penalty": Number(0),
    },
    ("name", "members"),
    noun="It",
)
RL: Mapping[str, Kind] = {
    "seeds": _numbers(Integer(0), "[1, 2, 3]"),
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
# What policies from a pool are made for: each n, or each KL.
AT = {"best_of_n": "n", "tilting": "kl"}


def _optimizer(kind: str, table: Mapping[str, Kind], *needed: str) -> Section:
    own = {"name": OneLine(forbidden="/"), "kind": one_of(kind)}
    about = FromPool if kind in AT else Rl
    return Section(about, {**own, **table}, ("name", "kind", *needed), noun="It")


OPTIMIZERS = Rows(
    {
        "best_of_n": _optimizer("best_of_n", {"n": _numbers(Integer(2), "[4, 16, 64]")}, "n"),
        "tilting": _optimizer("tilting", {"kl": _numbers(POSITIVE, "[0.5, 1]")}, "kl"),
        "ppo": _optimizer("ppo", PPO, "seeds", "steps"),
        "grpo": _optimizer("grpo", GROUPED, "seeds", "steps"),
        "rloo": _optimizer("rloo", GROUPED, "seeds", "steps"),
    }
)
# What the file of a laboratory says of policies.
KEYS = {
    "ensembles": Rows({"": ENSEMBLE}),
    "golden": Section(Optimization, {"model": ModelName()}, ("model",)),
    "policy": POLICY,
    "optimizers": OPTIMIZERS,
    "diverged": one_of("fail", "leave_out"),
}


def read_optimization(top: MapNode, family: Family | None, source: Source) -> Optimization | None:
    """How policies are optimised; None where the file does not say, or something is wrong.

    Args:
        top: The file.
        family: The reward models; None where something is wrong with them.
        source: Where problems are noted.
    """
    before = len(source.problems)
    found = read_keys(top, KEYS, "", source)
    if family is None or not {"policy", "optimizers", "golden", "ensembles"} & top.entries.keys():
        return None
    needed = ("policy", "golden", "optimizers")
    require_keys(top, needed, top.entries, "the laboratory", source)
    names = [recipe.name for recipe in family.recipes]
    ensembles = [_ensemble(row, names, source) for row in found.get("ensembles", ())]
    rows: Sequence[NamedRow] = found.get("optimizers", ())
    made = [_made(row, source) for row in rows]
    if len(source.problems) > before:
        return None
    policy = PolicySource(**found["policy"])
    if not (policy.model / "config.json").is_file():
        source.add(key_span(top, "policy"), f"no config.json in the folder {policy.model}")
    optimization = Optimization(
        policy=policy,
        golden=found["golden"]["model"],
        from_pool=tuple(each for each in made if isinstance(each, FromPool)),
        rl=tuple(each for each in made if isinstance(each, Rl)),
        ensembles=tuple(filter(None, ensembles)),
        diverged=found.get("diverged", "fail"),
        lines={row.values["name"]: row.node.span.line for row in rows},
    )
    _refuse_reserved(top, (*names, *(e.name for e in optimization.ensembles)), source)
    return optimization


def _made(row: NamedRow, source: Source) -> FromPool | Rl | None:
    values = dict(row.values)
    if values["kind"] in AT:
        return FromPool(at=tuple(map(float, values.pop(AT[values["kind"]]))), **values)
    if values.get("batch", 64) % values.get("group", 8) and values["kind"] != "ppo":
        message = f"{row.named}: batch is no multiple of group, the responses a prompt"
        source.add(row.node.span, message)
        return None
    return Rl(**values)


def _ensemble(row: NamedRow, names: Sequence[str], source: Source) -> Ensemble | None:
    members = row.values["members"]
    strange = [member for member in members if member not in names]
    if strange or len(members) < 2:
        told = f"no reward model {strange[0]!r}" if strange else "an ensemble has two members"
        valid = f"Reward models: {', '.join(names)}."
        source.add(row.span("members"), f"{row.named}: {told}", valid)
        return None
    return Ensemble(**row.values)


def _refuse_reserved(top: MapNode, names: Sequence[str], source: Source) -> None:
    repeated = {name for name in names if names.count(name) > 1}
    for name in sorted(repeated | ({GOLDEN} & set(names))):
        source.add(key_span(top, "reward_models"), f"the name {name!r} stands for two rewards")
