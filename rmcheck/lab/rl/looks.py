"""Looks at a policy in training: responses to the test prompts, their KL, and a checkpoint."""

import json
import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rmcheck.errors import RmcheckError
from rmcheck.lab.rl.language_model import response_logits, sampled, sequence_kl
from rmcheck.lab.rl.reward import Reward
from rmcheck.lab.rl.settings import PolicySource, Rl
from rmcheck.pool.pool import Prompt
from rmcheck.pool.tool_calls import texts_alone

# Of the draws: every policy is judged with the same, so that policies differ and not their luck.
_SEED = 20_240_917
_AT_ONCE = 256
RESPONSES, SUMMARY, POLICY = "responses.jsonl", "summary.json", "policy"


class Diverged(RmcheckError):
    """A run went where no number of it means anything."""


# Texts, nats and tokens of the responses to the test prompts, in order.
Said = tuple[list[str], list[float], list[int]]


@dataclass
class InitialPolicy:
    """The policy before training; every run begins with it.

    Attributes:
        tokenizer: Of the policy.
        model: The policy.
        said: Its responses to the test prompts, once a run has looked.
    """

    tokenizer: Any
    model: Any
    said: Said | None = None


@dataclass
class RlTraining:
    """A run in training, whose policy is looked at every so many steps.

    Attributes:
        folder: Of the run.
        settings: How.
        source: What is optimised.
        prompts: What it is trained on.
        test_prompts: What it is looked at on.
        reward: What it is trained for.
        initial: The policy before training.
        seed: Of prompts and draws.
    """

    folder: Path
    settings: Rl
    source: PolicySource
    prompts: Sequence[Prompt]
    test_prompts: Sequence[Prompt]
    reward: Reward
    initial: InitialPolicy
    seed: int

    def look(self, model: Any, step: int, facts: Mapping[str, float]) -> None:
        """Write a folder with responses, their KL, the proxy's rewards, and the policy.

        Args:
            model: The policy in training.
            step: Updates so far.
            facts: What training logged since the last look.

        Raises:
            Diverged: A number is not finite, or KL is above that of the settings. The look is
                written first.
        """
        said = (self.initial.said if step == 0 else None) or self._said(model)
        if step == 0:
            self.initial.said = said
        rows = self._rows(said)
        kls = np.array([row["kl"] for row in rows])
        summary = {
            "step": step,
            "kl": float(kls.mean()),
            "proxy": float(np.mean([row["proxy"] for row in rows])),
            "tokens": float(np.mean([row["tokens"] for row in rows])),
            **facts,
        }
        self._write(model, step, rows, summary)
        refuse_not_finite(summary)
        if summary["kl"] > (most := self.settings.max_kl):
            raise Diverged(f"step {step}: KL {summary['kl']:.1f} nats, above {most:g}")

    def _asked(self) -> list[Prompt]:
        return [prompt for prompt in self.test_prompts for _ in range(self.source.evaluations)]

    def _said(self, model: Any) -> Said:
        """What a policy answers."""
        import torch

        asked = self._asked()
        texts: list[str] = []
        kls: list[float] = []
        tokens: list[int] = []
        training = model.training
        model.eval()
        with torch.random.fork_rng(), torch.no_grad():
            for at in range(0, len(asked), _AT_ONCE):
                found = sampled(
                    model,
                    self.initial.tokenizer,
                    asked[at : at + _AT_ONCE],
                    max_tokens=self.source.max_tokens,
                    temperature=self.source.temperature,
                    seed=_SEED + at,
                )
                own, initial = (
                    response_logits(
                        each,
                        found.ids,
                        found.attention,
                        found.action.shape[1],
                        self.source.temperature,
                    )
                    for each in (model, self.initial.model)
                )
                texts += found.texts
                kls += sequence_kl(own, initial, found.mask).tolist()
                tokens += found.mask.sum(1).tolist()
        model.train(training)
        return texts, kls, tokens

    def _rows(self, said: Said) -> list[dict[str, Any]]:
        """One row of a native pool for each test prompt."""
        texts, kls, tokens = said
        proxy = self.reward(self._asked(), texts).tolist()
        n = self.source.evaluations
        return [
            {
                "prompt_id": prompt.prompt_id,
                "prompt": texts_alone(prompt),
                "responses": texts[i * n : i * n + n],
                "proxy": proxy[i * n : i * n + n],
                "kl": kls[i * n : i * n + n],
                "tokens": tokens[i * n : i * n + n],
            }
            for i, prompt in enumerate(self.test_prompts)
        ]

    def _write(
        self, model: Any, step: int, rows: Sequence[Mapping[str, Any]], summary: Mapping[str, Any]
    ) -> None:
        final = look_folder(self.folder, step)
        fresh = final.with_name(f"{final.name}.unfinished")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (fresh / RESPONSES).write_text(text, encoding="utf-8")
        (fresh / SUMMARY).write_text(json.dumps(summary), encoding="utf-8")
        model.save_pretrained(fresh / POLICY, safe_serialization=True)
        self.initial.tokenizer.save_pretrained(fresh / POLICY)
        shutil.rmtree(final, ignore_errors=True)
        fresh.replace(final)


def look_folder(run: Path, step: int) -> Path:
    """Where the look at a step stands."""
    return run / "looks" / f"{step:06d}"


def look_steps(run: Path) -> list[int]:
    """The steps that a run was looked at."""
    return sorted(int(path.name) for path in run.glob("looks/*") if path.name.isdecimal())


def refuse_not_finite(facts: Mapping[str, float]) -> None:
    """Stop where a number of a run is NaN or infinite.

    Raises:
        Diverged: One is.
    """
    wrong = [f"{name} {value}" for name, value in facts.items() if not math.isfinite(value)]
    if wrong:
        raise Diverged(f"step {facts.get('step', 0):.0f}: {', '.join(wrong)}")
