"""Whether what vLLM samples from are numbers.

vLLM draws some token from NaN too, so that a model that overflows its type answers nonsense
without a word.
"""

from typing import Any

from rmcheck.models.engines.vllm.engine import VllmEngine


class LogitsWatch:
    """Looks at the logits of a loaded language model as they are computed.

    Args:
        engine: A loaded language model. It is watched until it is closed.
    """

    def __init__(self, engine: VllmEngine) -> None:
        self._not_finite: Any = False
        engine.on_model(self._attach)

    def not_finite(self) -> bool:
        """Whether any logits since the last call were NaN or infinite."""
        found, self._not_finite = bool(self._not_finite), False
        return found

    def _attach(self, model: Any) -> None:
        compute = model.compute_logits

        def watched(*arguments: Any, **named: Any) -> Any:
            logits = compute(*arguments, **named)
            # The largest is NaN where one is. Read by the host once a call: no step waits for it.
            if logits is not None and logits.numel():
                self._not_finite = ~logits.amax(dim=-1).isfinite().all() | self._not_finite
            return logits

        model.compute_logits = watched
