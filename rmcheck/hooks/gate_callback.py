"""A gate at every checkpoint that a transformers Trainer saves."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rmcheck.hooks.checkpoint_gate import CheckpointGate

if TYPE_CHECKING:
    from transformers import Trainer

_LOG = logging.getLogger(__name__)


def gate_checkpoints(trainer: "Trainer", *suites: Path | str, **how: Any) -> CheckpointGate:
    """Gate each checkpoint that a trainer saves, TRL's RewardTrainer included.

    The checks go to the trainer's loggers as `rmcheck/SUITE/CHECK`, with `/lower`, `/upper` and
    `/passed`. With `stop_on` a failing check ends training after `patience` checkpoints. With
    `keep` the best checkpoint is `trainer.state.best_model_checkpoint`, which `save_total_limit`
    never removes; leave `load_best_model_at_end` off, which would say otherwise.

    The checkpoint is loaded beside the model in training: `model="hf:{checkpoint}?device=cpu"`
    keeps it off the GPU. With several processes the first gates and the others wait. A checkpoint
    that cannot be gated is logged as a warning and stops nothing.

    Args:
        trainer: Before `train()`.
        *suites: Files of suites.
        **how: See `CheckpointGate`.

    Returns:
        The gate, which remembers what it found (`gated`, `best`).

    Raises:
        SuiteError, PoolError, UsageError: See `CheckpointGate`.
        UsageError: The trainer saves no checkpoints.
    """
    from transformers import TrainerCallback

    gate = CheckpointGate(suites, **how)

    class GateCallback(TrainerCallback):  # type: ignore[misc]
        """Gates in `on_save`."""

        def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> Any:
            """Gate the checkpoint that was just saved."""
            stop = False
            if state.is_world_process_zero:
                folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
                _gate(trainer, gate, folder)
                stop = gate.should_stop
            if _agreed(stop):
                control.should_training_stop = True
            return control

    trainer.add_callback(GateCallback())
    return gate


def _gate(trainer: "Trainer", gate: CheckpointGate, folder: Path) -> None:
    import torch
    from transformers import Trainer

    # Training goes on as if nothing had been loaded.
    with torch.random.fork_rng():
        found = gate.gate(folder, trainer.state.global_step)
    if found.errors:
        _LOG.warning("%s", found)
    else:
        _LOG.info("%s", found)
    # TRL's own `log` would empty its running means.
    Trainer.log(trainer, found.logs())
    if gate.best is not None and gate.keep is not None:
        trainer.state.best_model_checkpoint = str(gate.best.folder)
        trainer.state.best_global_step = gate.best.step
        trainer.state.best_metric = gate.best.records[gate.keep].value


def _agreed(stop: bool) -> bool:
    """What the first process decided, in all of them."""
    from torch import distributed

    if not (distributed.is_available() and distributed.is_initialized()):
        return stop
    said = [stop]
    distributed.broadcast_object_list(said)
    return said[0]
