"""All RL runs of a laboratory: each reward × optimiser × seed, each at most once."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any

from rmcheck.errors import UsageError
from rmcheck.lab.rl.looks import Diverged, InitialPolicy, RlTraining, look_steps
from rmcheck.lab.rl.reward import Reward
from rmcheck.lab.rl.settings import Optimization, PolicySource, Rl
from rmcheck.lab.sharing import shared
from rmcheck.pool.pool import Prompt
from rmcheck.scoring.progress import progress_in
from rmcheck.store.folder import write_whole

STATUS = "status.json"


@dataclass(frozen=True, slots=True)
class RlRun:
    """One policy in training.

    Attributes:
        settings: How.
        seed: Of the run.
        reward: Name of what it is trained for: a reward model, an ensemble, or `golden`.
        folder: Where its looks are.
    """

    settings: Rl
    seed: int
    reward: str
    folder: Path

    @property
    def status(self) -> dict[str, Any]:
        """How it ended: `status` is `finished` or `diverged`, with `reason`; empty before that."""
        path = self.folder / STATUS
        found: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.is_file() else {}
        return found

    def __str__(self) -> str:
        return f"{self.settings.name}, seed {self.seed}, against {self.reward}"


def planned_runs(optimization: Optimization, rewards: Sequence[str], out: Path) -> list[RlRun]:
    """Every run, first those of the first seed: early results are whole.

    Runs for one reward stand together, so that it is loaded once for all optimisers.
    """
    most = max((len(settings.seeds) for settings in optimization.rl), default=0)
    return [
        RlRun(settings, seed, name, out / "runs" / settings.name / f"seed-{seed}" / name)
        for turn in range(most)
        for name in rewards
        for settings in optimization.rl
        for seed in settings.seeds[turn : turn + 1]
    ]


def train_runs(
    runs: Sequence[RlRun],
    source: PolicySource,
    prompts: Sequence[Prompt],
    test_prompts: Sequence[Prompt],
    opened: Callable[[str], Reward],
    identity: Mapping[str, str],
) -> Iterator[RlRun]:
    """Train what is not finished; gives each run when it ended. Several processes share them.

    Args:
        runs: Which.
        source: What is optimised.
        prompts: What policies are trained on.
        test_prompts: What they are judged on.
        opened: Name of a reward to the reward.
        identity: Name of a reward to what decides it, so that a run against another is refused.

    Raises:
        UsageError: A folder holds a run that was made with other settings.
    """
    sampling = {key: getattr(source, key) for key in ("max_tokens", "temperature", "evaluations")}
    initial = cache(lambda: _loaded(source))
    turns = shared(runs, lambda run: run.folder / "run.lock")
    for name, same in groupby(turns, key=lambda run: run.reward):
        with closing(opened(name)) as reward:
            for run in same:
                facts = {**run.settings.facts(), "seed": run.seed, "reward": identity[name]}
                facts |= {**sampling, "policy": str(source.model)}
                facts |= {"prompts": _digest(prompts), "test_prompts": _digest(test_prompts)}
                _refuse_other(run, facts)
                if not run.status:
                    status = _trained(run, source, prompts, test_prompts, reward, initial)
                    text = json.dumps({**status, "looks": look_steps(run.folder)})
                    write_whole(run.folder / STATUS, text.encode())
                yield run


def _trained(
    run: RlRun,
    source: PolicySource,
    prompts: Sequence[Prompt],
    test_prompts: Sequence[Prompt],
    reward: Reward,
    initial: Callable[[], InitialPolicy],
) -> dict[str, str]:
    from rmcheck.lab.quiet import quiet_libraries

    with (
        quiet_libraries(),
        progress_in(f"training {run}", "", run.settings.steps, "steps") as bar,
    ):
        parts = (run.folder, run.settings, source, prompts, test_prompts, reward, initial())
        try:
            if run.settings.kind == "ppo":
                from rmcheck.lab.rl.ppo import PpoRun

                for _ in PpoRun(*parts, run.seed).train():
                    bar.update(1)
            else:
                from rmcheck.lab.rl.grouped import train_grouped

                train_grouped(RlTraining(*parts, run.seed), bar.update)
        except Diverged as error:
            return {"status": "diverged", "reason": str(error)}
    return {"status": "finished", "reason": ""}


def _loaded(source: PolicySource) -> InitialPolicy:
    from rmcheck.lab.rl.language_model import load_policy, load_tokenizer

    tokenizer = load_tokenizer(source.model)
    return InitialPolicy(tokenizer, load_policy(source.model, source.device))


def _digest(prompts: Sequence[Prompt]) -> str:
    """Of what is asked, in order."""
    asked = [[(m.role, m.content) for m in prompt.messages] for prompt in prompts]
    return hashlib.blake2b(json.dumps(asked).encode(), digest_size=8).hexdigest()


def _refuse_other(run: RlRun, facts: Mapping[str, Any]) -> None:
    path = run.folder / "settings.json"
    text = json.dumps(facts)
    if path.is_file():
        known = json.loads(path.read_text("utf-8"))
        now = json.loads(text)
        different = [key for key in known.keys() & now.keys() if known[key] != now[key]]
        if different:
            raise UsageError(
                f"{run.folder} holds a run with another {', '.join(sorted(different))}. "
                "Choose another --out, or remove that folder to run it again"
            )
    run.folder.mkdir(parents=True, exist_ok=True)
    write_whole(path, text.encode())
