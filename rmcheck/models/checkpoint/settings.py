"""Settings that every engine in this process has for a checkpoint folder."""

import ctypes
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Literal, cast

from rmcheck.errors import UsageError
from rmcheck.models.checkpoint.folder import Checkpoint
from rmcheck.models.spec import ModelSpec, Setting

Dtype = Literal["float32", "bfloat16", "float16"]
PrefixRule = Literal["auto", "shared", "off"]

# Type of weights and activations; see `chosen_dtype`.
DTYPE = Setting("dtype", ("float32", "bfloat16", "float16"), closed=True)
DEVICE = Setting("device", ("auto", "cpu", "cuda", "cuda:N"), "auto")
# Where the base of an adapter is, if not where its config says.
BASE = Setting("base", ("DIR",))
ENGINE = Setting("engine", ("hf", "vllm"), "hf", closed=True)
MAX_LENGTH = Setting("max_length", ("N",))
TEMPLATE = Setting("template", ("FILE.jinja",))
TEMPLATE_OR_PAIR = Setting("template", ("FILE.jinja", "pair"))
# The day that a template with a clock reads.
DATE = Setting("date", ("YYYY-MM-DD",))
EOS = Setting("eos", ("keep", "append", "strip"), "keep", closed=True)
HEAD = Setting("head", ("NAME", "INDEX", "NAME:WEIGHT,NAME:WEIGHT"))
POSITION = Setting("position", ("auto", "last", "transformers"), "auto", closed=True)
ATTENTION = Setting("attention", ("auto", "sdpa", "eager"), "auto", closed=True)
PREFIX = Setting("prefix", ("auto", "shared", "off"), "auto", closed=True)
TRUST_REMOTE_CODE = Setting("trust_remote_code", ("no", "yes"), "no", closed=True)


# Of a GPU's memory, where nobody says: vLLM's own default.
VLLM_SHARE = 0.9
# Settings that one engine has and the other has not.
_OF_ENGINE = {
    "hf": ("device", "attention", "prefix"),
    "vllm": ("gpu_memory", "tensor_parallel", "pipeline_parallel", "quantization"),
}


def check_engine(spec: ModelSpec, engine: str) -> None:
    """Refuse settings of another engine than the chosen one.

    Raises:
        UsageError: There are some; all of them are named.
    """
    strange = [
        f"{name} is for engine={other}; remove {name}="
        for other, names in _OF_ENGINE.items()
        for name in names
        if other != engine and name in spec.settings
    ]
    if strange:
        raise UsageError(f"{spec.text}: " + "\n".join(strange))


def chosen_dtype(settings: Mapping[str, str], checkpoint: Checkpoint) -> Dtype:
    """The type that `dtype` names; without it the checkpoint's own on a GPU, float32 on a CPU.

    There float32 is exact and costs little; on a GPU it is about ten times as slow.

    Args:
        settings: Of the model, with `device` where its engine has that.
        checkpoint: Its weights.
    """
    device = settings.get("device", "auto")
    on_gpu = device.startswith("cuda") or (device == "auto" and has_gpu())
    return cast(Dtype, settings["dtype"] or (checkpoint.dtype if on_gpu else "float32"))


@cache
def has_gpu() -> bool:
    """Whether torch sees a GPU; it is imported only where there is a driver for one."""
    if not (_has_driver() or Path("/dev/kfd").exists()):
        return False
    try:
        import torch
    except ImportError:
        return False
    return torch.cuda.is_available()


def _has_driver() -> bool:
    for name in ("libcuda.so.1", "nvcuda.dll"):
        try:
            ctypes.CDLL(name)
        except OSError:
            continue
        return True
    return False
