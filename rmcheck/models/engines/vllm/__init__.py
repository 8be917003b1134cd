"""Checkpoints in vLLM, each in a process of its own: `vllm:DIR`."""
