"""What vLLM's workers can do beside their own; importing it makes our loaders known to vLLM.

vLLM imports it by name in each process that runs a part of the model.
"""

from typing import Any

from rmcheck.models.engines.vllm import loader

loader.register()


class WorkerExtension:
    """Looks at logits as they are computed.

    vLLM draws some token from NaN too, so that a model that overflows its type answers nonsense
    without a word.
    """

    model_runner: Any

    def watch_logits(self) -> None:
        """From now on note logits that are no numbers."""
        self.not_finite: Any = False
        model = self.model_runner.model
        compute = model.compute_logits

        def watched(*arguments: Any, **named: Any) -> Any:
            logits = compute(*arguments, **named)
            # The largest is NaN where one is. Read by the host once a call: no step waits for it.
            if logits is not None and logits.numel():
                self.not_finite = ~logits.amax(dim=-1).isfinite().all() | self.not_finite
            return logits

        model.compute_logits = watched

    def logits_not_finite(self) -> bool:
        """Whether any logits since the last call were NaN or infinite."""
        found, self.not_finite = bool(self.not_finite), False
        return found
