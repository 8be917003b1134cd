"""Scoring on many machines: actors of Ray."""
