"""Checkpoints that transformers runs in this process."""
