"""Prompts × responses: reading a pool in any known format, and what is wrong with it."""

from rmcheck.pool.faults import FAULT_RULES, FaultRule, fault_counts
from rmcheck.pool.labels import labelled
from rmcheck.pool.pool import Fault, FaultAction, FaultKind, Message, Pool, Prompt
from rmcheck.pool.reading import read_pool, read_prompts, reader_names

__all__ = [
    "FAULT_RULES",
    "Fault",
    "FaultAction",
    "FaultKind",
    "FaultRule",
    "Message",
    "Pool",
    "Prompt",
    "fault_counts",
    "labelled",
    "read_pool",
    "read_prompts",
    "reader_names",
]
