"""Logits of a head at one token of a text: `hf:`, `vllm:` and `http:`."""
