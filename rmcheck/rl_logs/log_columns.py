"""Which column of an RL log is the step, the KL, the training RM and the test RM.

The names are those that trainers write (TRL 1.16, OpenRLHF 0.11, verl 0.9, slime), and plain ones.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from rmcheck.errors import Problem, near_miss
from rmcheck.wording import listed

Role = Literal["step", "kl", "proxy", "golden"]
ROLES: tuple[Role, ...] = ("step", "kl", "proxy", "golden")

# Patterns of names, the most telling first, of a whole name in lower case. Not here, because they
# are something else: policy/approxkl_avg and actor/ppo_kl, the KL from the policy of the step
# before and not from the initial one.
KNOWN: Mapping[Role, tuple[str, ...]] = {
    "step": (
        r"rollout/step|training/global_step",
        r"global_step",
        r"step",
        r"trainer/global_step|_step",
        r"steps|iteration",
    ),
    "kl": (
        r"objective/kl",
        r"kl_nats|kl_to_ref",
        r"kl|rollout/kl",
        r"actor/kl_loss|kl_loss",
    ),
    "proxy": (
        r"proxy|proxy_reward",
        r"objective/scores|critic/score/mean|rollout/raw_reward",
        r"env/reward_mean|reward_mean|mean_reward",
        r"reward|rewards",
    ),
    "golden": (
        r"golden|gold|golden_reward|gold_reward|true_reward",
        r"gold_acc|true_acc|eval_golden|eval/golden|rewards/golden/mean",
        r"val-core/.+/mean@\d+",
        r"(eval/)?eval_.+_pass1",
        r"eval_(?!loss$|runtime$|.*per_second$|reward_std$|num_|.*length|.*rate$)\w*reward",
        r"eval/(?!loss$|runtime$|epoch$|step$|global_step$|.*per_second$|.*std$|.*len|.*ratio$)[^/]+",
    ),
}
# Rows of an evaluation, where they have a step of their own.
EVALUATION_STEPS = r"eval/global_step|eval/step"
PENALISED = r"objective/rlhf_reward|return|critic/rewards/mean"
# What the trainer's own reward says on other prompts.
SAME_REWARD = r"eval[_/]reward"
# Where these are logged, a KL of the names above but the first two is the mean of a token.
PER_TOKEN = r"kl|actor/kl_loss|kl_loss|rollout/kl"
LENGTHS = (
    r"completions/mean_length|response_length|completion_length"
    r"|response_length/mean|rollout/response_len/mean"
)
# Beside its value, a Weights & Biases export has columns of these for every series.
RANGE_SUFFIXES = ("__MIN", "__MAX")


@dataclass(frozen=True)
class LogColumns:
    """Columns of a log.

    Attributes:
        role: Role to the name of its column; KL may have none.
        evaluation_step: Column of the step in rows of an evaluation, where it is another.
        length: Column of the mean length in tokens by which the KL must be multiplied, if any.
        notes: What a reader of the numbers must know about them.
    """

    role: Mapping[Role, str]
    evaluation_step: str | None
    length: str | None
    notes: tuple[str, ...]


def find_columns(
    path: str, names: Sequence[str], given: Mapping[Role, str], problems: list[Problem]
) -> LogColumns:
    """The column of each role, or a problem for each that has none or several."""
    found: dict[Role, str] = {}
    shown = listed((name for name in names if not name.endswith(RANGE_SUFFIXES)), 100)
    for role in ROLES:
        name = given.get(role)
        if name is not None and name not in names:
            message = f"no column {name!r} for {role}.{near_miss(name, names)} Columns: {shown}."
            problems.append(Problem(path, message))
            continue
        matches = [name] if name is not None else _known(role, names)
        if len(matches) == 1:
            found[role] = matches[0]
        elif matches:
            problems.append(Problem(path, _ambiguous(role, matches)))
        elif role != "kl":
            problems.append(Problem(path, _missing(role, names, shown)))
    length = None
    if "kl" in found and "kl" not in given and _is(PER_TOKEN, found["kl"]):
        length = next((name for name in names if _is(LENGTHS, name)), None)
    steps = [name for name in names if _is(EVALUATION_STEPS, name)]
    apart = next((name for name in steps if name != found.get("step")), None)
    return LogColumns(found, apart, length, _notes(found, length))


def _known(role: Role, names: Sequence[str]) -> list[str]:
    """Columns of the first of the known patterns that occurs."""
    for pattern in KNOWN[role]:
        matches = [name for name in names if _is(pattern, name)]
        if matches:
            return matches
    return []


def _is(pattern: str, name: str) -> bool:
    return re.fullmatch(pattern, _plain(name)) is not None


def _plain(name: str) -> str:
    """A column name without the run's name and the `train/` that loggers put before it."""
    if name.endswith(RANGE_SUFFIXES):
        return name
    return name.rsplit(" - ", 1)[-1].lower().removeprefix("train/")


def _ambiguous(role: Role, matches: Sequence[str]) -> str:
    return f"{role} could be {listed(matches, 6, ' or ')}; name one with --{role}"


def _missing(role: Role, names: Sequence[str], shown: str) -> str:
    if role == "step" and "Wall time" in names:
        return (
            "a TensorBoard export holds one series a file; join the files of proxy and golden by "
            "their step"
        )
    said = f"no column for {role}. Columns: {shown}."
    penalised = [name for name in names if _is(PENALISED, name)]
    if role == "proxy" and penalised:
        said += f" {penalised[0]} has the KL penalty in it and is not what the RM said."
    functions = [name for name in names if _is(r"rewards/.+/mean", name)]
    if role == "golden" and functions:
        said += f" A reward function of weight 0 in training can be golden: {functions[0]}."
    return f"{said} Name one with --{role}."


def _notes(found: Mapping[Role, str], length: str | None) -> tuple[str, ...]:
    notes = []
    if length is not None:
        notes.append(
            f"{found['kl']!r} is a mean per token in such a log; multiplied by {length!r}. "
            "--kl takes a column as nats a sequence"
        )
    golden = found.get("golden")
    if golden is not None and _is(SAME_REWARD, golden):
        notes.append(
            f"{golden!r} is what the reward of the training says on other prompts, not another "
            "reward: it shows what the policy learnt by heart, not what the reward is wrong about"
        )
    if golden is not None and golden == found.get("proxy"):
        notes.append("proxy and golden are one column, so that the transfer is 1 by construction")
    return tuple(notes)
