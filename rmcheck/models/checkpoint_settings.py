"""Settings that every engine in this process has for a checkpoint folder."""

from typing import Literal

from rmcheck.models.spec import Setting

Dtype = Literal["float32", "bfloat16", "float16"]
PrefixRule = Literal["auto", "shared", "off"]

# Type of weights and activations.
DTYPE = Setting("dtype", ("float32", "bfloat16", "float16"), "float32", closed=True)
DEVICE = Setting("device", ("auto", "cpu", "cuda", "cuda:N"), "auto")
GPU_MEMORY = Setting("gpu_memory", ("SHARE",))
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
