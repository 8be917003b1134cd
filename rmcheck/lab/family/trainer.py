"""One reward model, trained by TRL's RewardTrainer with the paper's loss."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rmcheck.errors import UsageError
from rmcheck.lab.family.preferences import Preference
from rmcheck.lab.family.recipe import Recipe
from rmcheck.lab.quiet import quiet_libraries, trainer_config

if TYPE_CHECKING:
    import torch

# Checkpoints of a run, which it resumes from when it was killed.
_CHECKPOINTS = 10


def preference_loss(
    chosen: "torch.Tensor", rejected: "torch.Tensor", regularization: float
) -> "torch.Tensor":
    """Mean of −log σ(r_w − r_l) + λ (r_w² + r_l²): lower is better.

    Args:
        chosen: (B,) rewards of the preferred responses.
        rejected: (B,) rewards of the others.
        regularization: λ, 0 or more; the paper has 0.01.

    Reference:
        Wen et al. 2024, arXiv 2410.05584, eq. 4.
    """
    from torch.nn.functional import logsigmoid

    squares = chosen.square() + rejected.square()
    return -logsigmoid(chosen - rejected).mean() + regularization * squares.mean()


def train_reward_model(
    recipe: Recipe,
    pairs: Sequence[Preference],
    work: Path,
    out: Path,
    step: Callable[[int], object] = lambda _: None,
) -> dict[str, float]:
    """Train one reward model and write it in the Hugging Face format.

    A run that was killed goes on from its last checkpoint in `work`.

    Args:
        recipe: How.
        pairs: With the labels that it learns, right or flipped.
        work: Folder of its checkpoints.
        out: Folder to write, which must not exist.
        step: Called after steps, with their number since the last call.

    Returns:
        What the last steps logged: loss, accuracy on the labels that were learned, mean reward.

    Raises:
        UsageError: The base has no chat template, or conversations are longer than `max_length`.
        MissingDependencyError: TRL is not installed.
    """
    with quiet_libraries():
        trainer = _trainer(recipe, pairs, work, step)
        started = any(work.glob("checkpoint-*"))
        trainer.train(resume_from_checkpoint=True if started else None)
        model = trainer.accelerator.unwrap_model(trainer.model)
        if recipe.lora:
            model = model.merge_and_unload()
        model.save_pretrained(out, safe_serialization=True)
        trainer.processing_class.save_pretrained(out)
    logged = [row for row in trainer.state.log_history if "loss" in row]
    last = logged[-1] if logged else {}
    return {name: float(last[name]) for name in ("loss", "accuracy", "mean_reward") if name in last}


def planned_steps(recipe: Recipe, pairs: int) -> int:
    """Steps of a training run, one at least."""
    return max(1, round(pairs * recipe.epochs / recipe.batch))


def _trainer(
    recipe: Recipe, pairs: Sequence[Preference], work: Path, step: Callable[[int], object]
) -> Any:
    from datasets import Dataset
    from transformers import AutoTokenizer, PrinterCallback

    tokenizer = AutoTokenizer.from_pretrained(recipe.base)
    if recipe.template is not None:
        tokenizer.chat_template = recipe.template.read_text(encoding="utf-8")
    if not tokenizer.chat_template:
        raise UsageError(
            f"{recipe.name}: {recipe.base} has no chat template, and a guessed one would teach "
            "another text than the gate scores. Name one: template: FILE.jinja"
        )
    if tokenizer.pad_token is None:
        raise UsageError(f"{recipe.name}: {recipe.base} has no pad token; give its tokenizer one")
    trainer = _trainer_class()(
        model=str(recipe.base),
        args=_config(recipe, len(pairs), work),
        train_dataset=Dataset.from_list([asdict(pair) for pair in pairs]),
        processing_class=tokenizer,
        peft_config=_adapter(recipe),
        callbacks=[_told(step)],
    )
    trainer.regularization = recipe.regularization
    trainer.remove_callback(PrinterCallback)
    if left_out := len(pairs) - len(trainer.train_dataset):
        raise UsageError(
            f"{recipe.name}: {left_out} of {len(pairs)} pairs are longer than max_length "
            f"{recipe.max_length} tokens, and would be left out. Raise it, or leave them out"
        )
    return trainer


def _config(recipe: Recipe, pairs: int, work: Path) -> Any:
    from trl import RewardConfig

    at_once = recipe.at_once or recipe.batch
    if recipe.batch % at_once:
        raise UsageError(f"{recipe.name}: batch {recipe.batch} is no multiple of at_once {at_once}")
    steps = planned_steps(recipe, pairs)
    return trainer_config(
        RewardConfig,
        work,
        seed=recipe.seed,
        device=recipe.device,
        every=max(1, steps // _CHECKPOINTS),
        per_device_train_batch_size=at_once,
        gradient_accumulation_steps=recipe.batch // at_once,
        max_steps=steps,
        learning_rate=recipe.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=round(recipe.warmup * steps),
        weight_decay=recipe.weight_decay,
        max_length=recipe.max_length,
    )


def _adapter(recipe: Recipe) -> Any:
    if not recipe.lora:
        return None
    from peft import LoraConfig, TaskType

    return LoraConfig(
        task_type=TaskType.SEQ_CLS,
        r=recipe.lora,
        lora_alpha=2 * recipe.lora,
        target_modules="all-linear",
        modules_to_save=["score"],
    )


def _trainer_class() -> Any:
    from trl import RewardTrainer

    class QuadraticRewardTrainer(RewardTrainer):  # type: ignore[misc]
        """TRL's trainer with the paper's regularisation; its own squares r_w + r_l instead."""

        regularization: float

        def compute_loss(
            self,
            model: Any,
            inputs: Any,
            return_outputs: bool = False,
            num_items_in_batch: Any = None,
        ) -> Any:
            _, outputs = super().compute_loss(
                model, inputs, return_outputs=True, num_items_in_batch=num_items_in_batch
            )
            chosen, rejected = outputs.logits.squeeze(-1).chunk(2)
            loss = preference_loss(chosen, rejected, self.regularization)
            return (loss, outputs) if return_outputs else loss

    return QuadraticRewardTrainer


def _told(step: Callable[[int], object]) -> Any:
    from transformers import TrainerCallback

    class Told(TrainerCallback):  # type: ignore[misc]
        """Counts the steps."""

        def on_step_end(self, *_: Any, **__: Any) -> None:
            step(1)

    return Told()
