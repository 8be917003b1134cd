"""Criteria, measurements and verdicts."""
