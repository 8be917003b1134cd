"""Numbers at positions of rows of token ids: torch, vLLM and servers."""
