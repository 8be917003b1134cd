"""What `rmcheck study` takes of a laboratory: a pool with rewards, and a file."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from rmcheck.lab.rl.reward import Floats
from rmcheck.pool.pool import Prompt
from rmcheck.pool.tool_calls import turns

POOL, FILE, RL = "study_pool.jsonl", "study.yaml", "rl.csv"


def write_study(
    out: Path,
    prompts: Sequence[Prompt],
    rewards: Mapping[str, Floats],
    groups: Mapping[str, str],
    has_rl: bool,
    leave_out: Sequence[str],
) -> None:
    """Write the pool and the file: `rmcheck study OUT/study.yaml` needs no model and runs no code.

    Args:
        out: Folder of the laboratory, with `rl.csv` in it where policies were trained.
        prompts: P prompts with N responses of the initial policy.
        rewards: Name of a model to its (P, N) rewards; `golden` among them.
        groups: Name of a reward model to what it learned from: its lineage.
        has_rl: Whether policies were trained.
        leave_out: Faults that the study leaves out in place of an error.
    """
    with (out / POOL).open("w", encoding="utf-8") as file:
        for i, prompt in enumerate(prompts):
            row = {
                "prompt_id": prompt.prompt_id,
                "prompt": turns(prompt.messages),
                "responses": list(prompt.responses),
                **{_column(name): of[i].tolist() for name, of in rewards.items()},
            }
            file.write(json.dumps(row) + "\n")
    members = {
        name: {"column": _column(name), **({"group": groups[name]} if name in groups else {})}
        for name in rewards
    }
    sections = {
        "study": 1,
        "pool": {"path": POOL},
        "golden": "each",
        "models": members,
        **({"rl": RL} if has_rl else {}),
        **({"leave_out": list(leave_out)} if leave_out else {}),
    }
    # Each section is JSON, which YAML takes, so that no name needs care.
    lines = [f"{key}: {json.dumps(value)}" for key, value in sections.items()]
    (out / FILE).write_text("\n".join(lines) + "\n", encoding="utf-8")


def _column(name: str) -> str:
    """A column that no name of a reward model makes a field of the pool."""
    return f"rm:{name}"
