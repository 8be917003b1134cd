"""Prompts × responses: reading a pool in any known format, and what is wrong with it."""
