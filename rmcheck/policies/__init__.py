"""Policies: language models that give N responses to a prompt."""
