"""GRPO and RLOO by TRL, looked at in the same way as every other run."""

from collections.abc import Callable, Sequence
from typing import Any

from rmcheck.lab.quiet import trainer_config
from rmcheck.lab.rl.looks import RlTraining, refuse_not_finite
from rmcheck.pool.tool_calls import texts_alone


def train_grouped(run: RlTraining, stepped: Callable[[int], object]) -> None:
    """One run of GRPO or RLOO; a run that was killed goes on from TRL's last checkpoint.

    Args:
        run: What is trained, and how.
        stepped: Called after each step with 1.

    Raises:
        Diverged: Numbers are not finite, or KL is too large.
    """
    import trl
    from datasets import Dataset
    from transformers import PrinterCallback

    name = run.settings.kind.upper()
    by_text = {_key(texts_alone(prompt)): prompt for prompt in run.prompts}

    def rewards(prompts: list[Any], completions: list[Any], **_: Any) -> list[float]:
        asked = [by_text[_key(prompt)] for prompt in prompts]
        texts = [turn[0]["content"].strip() for turn in completions]
        return list(map(float, run.reward(asked, texts)))

    trainer = getattr(trl, f"{name}Trainer")(
        model=str(run.source.model),
        reward_funcs=[rewards],
        args=_config(getattr(trl, f"{name}Config"), run),
        train_dataset=Dataset.from_list([{"prompt": texts_alone(p)} for p in run.prompts]),
        processing_class=run.initial.tokenizer,
        callbacks=[_looking(run, stepped)],
    )
    trainer.remove_callback(PrinterCallback)
    started = any((run.folder / "checkpoints").glob("checkpoint-*"))
    trainer.train(resume_from_checkpoint=True if started else None)


def _key(conversation: Sequence[Any]) -> str:
    return "\0".join(f"{turn['role']}\0{turn['content']}" for turn in conversation)


def _config(cls: Any, run: RlTraining) -> Any:
    settings = run.settings
    return trainer_config(
        cls,
        run.folder / "checkpoints",
        seed=run.seed,
        device=run.source.device,
        every=settings.every,
        max_steps=settings.steps,
        per_device_train_batch_size=settings.batch,
        gradient_accumulation_steps=1,
        num_generations=settings.group,
        max_completion_length=run.source.max_tokens,
        temperature=run.source.temperature,
        top_k=0,
        beta=settings.kl_penalty,
        epsilon=settings.clip,
        learning_rate=settings.learning_rate,
        lr_scheduler_type="constant",
        weight_decay=0.0,
        max_grad_norm=settings.max_grad_norm,
    )


def _looking(run: RlTraining, stepped: Callable[[int], object]) -> Any:
    from transformers import TrainerCallback

    class Looking(TrainerCallback):  # type: ignore[misc]
        """Looks at the policy; stops where a number is not finite."""

        facts: dict[str, float]

        def on_train_begin(self, _: Any, state: Any, __: Any, **about: Any) -> None:
            self.facts = {}
            if state.global_step == 0:
                run.look(about["model"], 0, {})

        def on_log(self, _: Any, state: Any, __: Any, logs: Any = None, **___: Any) -> None:
            names = {"loss": "policy_loss", "grad_norm": "gradient", "reward": "training_reward"}
            self.facts = {new: float(logs[old]) for old, new in names.items() if old in logs}
            refuse_not_finite({"step": state.global_step, **self.facts})

        def on_step_end(self, _: Any, state: Any, __: Any, **about: Any) -> None:
            step = state.global_step
            if step % run.settings.every == 0 or step == run.settings.steps:
                run.look(about["model"], step, self.facts)
            stepped(1)

    return Looking()
