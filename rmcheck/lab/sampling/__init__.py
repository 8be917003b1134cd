"""Responses of a policy, and which of them people should label."""
