"""Checkpoints in vLLM, in this process: `vllm:DIR`."""
