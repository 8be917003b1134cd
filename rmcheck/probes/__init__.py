"""Controlled edits of responses, and what they must not do to the reward."""
