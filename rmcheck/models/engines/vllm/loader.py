"""Loading weights into vLLM so that one that is missing is noticed.

vLLM joins tensors (the three of attention into one) and tracks the joined name, so that it starts
without a word on a checkpoint that lacks a part. Here every weight is NaN until it is read.
"""

from functools import cache
from typing import Any

from rmcheck.errors import ConformanceError
from rmcheck.wording import listed

LOAD_FORMAT = "rmcheck-safetensors"
# The same without the tensors of a head, for a model of which vLLM has none.
BODY_FORMAT = "rmcheck-safetensors-body"
# What tensors of a head begin with.
HEADS = ("score.", "lm_head.")
NAMES_SHOWN = 6


@cache
def register() -> None:
    """Make the loaders known to vLLM, as `LOAD_FORMAT` and `BODY_FORMAT`.

    Loading raises `ConformanceError` where weights stay unread, and whatever vLLM raises where
    there are no safetensors.
    """
    from vllm.model_executor.model_loader import register_model_loader
    from vllm.model_executor.model_loader.default_loader import DefaultModelLoader

    class CheckedLoader(DefaultModelLoader):  # type: ignore[misc]
        def __init__(self, load_config: Any) -> None:
            load_config.load_format = "safetensors"
            super().__init__(load_config)

        def load_weights(self, model: Any, model_config: Any) -> None:
            if model_config.quantization is not None:
                super().load_weights(model, model_config)
                return
            _empty(model)
            super().load_weights(model, model_config)
            _check(model, model_config.model)

    class BodyLoader(CheckedLoader):
        def get_all_weights(self, *arguments: Any) -> Any:
            weights = super().get_all_weights(*arguments)
            return ((name, one) for name, one in weights if not name.startswith(HEADS))

    register_model_loader(LOAD_FORMAT)(CheckedLoader)
    register_model_loader(BODY_FORMAT)(BodyLoader)


def _empty(model: Any) -> None:
    for parameter in model.parameters():
        if parameter.is_floating_point():
            parameter.data.fill_(float("nan"))


def _check(model: Any, path: str) -> None:
    unread = [
        name
        for name, parameter in model.named_parameters()
        if parameter.is_floating_point() and bool(parameter.data.isnan().any())
    ]
    if unread:
        raise ConformanceError(
            f"{path}: its weights leave NaN in {listed(unread, NAMES_SHOWN)} (names of vLLM, "
            "which joins tensors): tensors are missing, or hold NaN. Its answers would mean nothing"
        )
