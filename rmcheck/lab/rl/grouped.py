"""GRPO and RLOO by TRL, looked at in the same way as every other run."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rmcheck.lab.quiet import on_one_gpu
from rmcheck.lab.rl.language_model import conversation_of
from rmcheck.lab.rl.looks import Looker, refuse_not_finite
from rmcheck.lab.rl.reward import Reward
from rmcheck.lab.rl.settings import PolicySource, Rl
from rmcheck.models.engines.torch.device import chosen_device
from rmcheck.pool.pool import Prompt


def train_grouped(
    folder: Path,
    settings: Rl,
    source: PolicySource,
    prompts: Sequence[Prompt],
    reward: Reward,
    looker: Looker,
    seed: int,
    stepped: Callable[[int], object],
) -> None:
    """One run of GRPO or RLOO; a run that was killed goes on from TRL's last checkpoint.

    Args:
        folder: Of the run.
        settings: How.
        source: What is optimised.
        prompts: What it is trained on.
        reward: What it is trained for.
        looker: Looks at it.
        seed: Of prompts and draws.
        stepped: Called after each step with 1.

    Raises:
        Diverged: Numbers are not finite, or KL is too large.
    """
    import trl
    from datasets import Dataset
    from transformers import PrinterCallback

    name = settings.kind.upper()
    by_text = {_key(conversation_of(prompt)): prompt for prompt in prompts}

    def rewards(prompts: list[Any], completions: list[Any], **_: Any) -> list[float]:
        asked = [by_text[_key(prompt)] for prompt in prompts]
        texts = [turn[0]["content"].strip() for turn in completions]
        return list(map(float, reward(asked, texts)))

    trainer = getattr(trl, f"{name}Trainer")(
        model=str(source.model),
        reward_funcs=[rewards],
        args=_config(getattr(trl, f"{name}Config"), folder, settings, source, seed),
        train_dataset=Dataset.from_list([{"prompt": conversation_of(p)} for p in prompts]),
        processing_class=looker.initial.tokenizer,
        callbacks=[_looking(looker, settings, stepped)],
    )
    trainer.remove_callback(PrinterCallback)
    started = any((folder / "checkpoints").glob("checkpoint-*"))
    trainer.train(resume_from_checkpoint=True if started else None)


def _key(conversation: Sequence[Any]) -> str:
    return "\0".join(f"{turn['role']}\0{turn['content']}" for turn in conversation)


def _config(cls: Any, folder: Path, settings: Rl, source: PolicySource, seed: int) -> Any:
    import torch

    gpu = chosen_device(source.device).type == "cuda"
    config = cls(
        output_dir=str(folder / "checkpoints"),
        seed=seed,
        data_seed=seed,
        max_steps=settings.steps,
        per_device_train_batch_size=settings.batch,
        gradient_accumulation_steps=1,
        num_generations=settings.group,
        max_completion_length=source.max_tokens,
        temperature=source.temperature,
        top_k=0,
        beta=settings.kl_penalty,
        epsilon=settings.clip,
        learning_rate=settings.learning_rate,
        lr_scheduler_type="constant",
        weight_decay=0.0,
        max_grad_norm=settings.max_grad_norm,
        save_steps=settings.every,
        save_total_limit=1,
        logging_steps=settings.every,
        use_cpu=not gpu,
        bf16=gpu and torch.cuda.is_bf16_supported(),
        gradient_checkpointing=False,
        model_init_kwargs={"dtype": "float32"},
        report_to=[],
        disable_tqdm=True,
        dataloader_pin_memory=gpu,
    )
    return on_one_gpu(config)


def _looking(looker: Looker, settings: Rl, stepped: Callable[[int], object]) -> Any:
    from transformers import TrainerCallback

    class Looking(TrainerCallback):  # type: ignore[misc]
        """Looks at the policy; stops where a number is not finite."""

        facts: dict[str, float]

        def on_train_begin(self, _: Any, state: Any, __: Any, **about: Any) -> None:
            self.facts = {}
            if state.global_step == 0:
                looker.look(about["model"], 0, {})

        def on_log(self, _: Any, state: Any, __: Any, logs: Any = None, **___: Any) -> None:
            names = {"loss": "policy_loss", "grad_norm": "gradient", "reward": "training_reward"}
            self.facts = {new: float(logs[old]) for old, new in names.items() if old in logs}
            refuse_not_finite({"step": state.global_step, **self.facts})

        def on_step_end(self, _: Any, state: Any, __: Any, **about: Any) -> None:
            step = state.global_step
            if step % settings.every == 0 or step == settings.steps:
                looker.look(about["model"], step, self.facts)
            stepped(1)

    return Looking()
