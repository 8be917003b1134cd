"""A real vLLM server on loopback."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from real_server import needs, running

PYTHON = "RMCHECK_VLLM_PYTHON"

needs_server = needs(PYTHON, "vLLM")


@contextmanager
def serving(checkpoint: Path, log: Path, *options: str) -> Iterator[str]:
    """Address of a server of this checkpoint, in float32 and under the name `tiny`."""
    command = ["vllm.entrypoints.openai.api_server", "--model", str(checkpoint), *options]
    command += ["--served-model-name", "tiny", "--dtype", "float32", "--enforce-eager"]
    settings = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1"}
    with running(PYTHON, command, log, **settings) as url:
        yield url
