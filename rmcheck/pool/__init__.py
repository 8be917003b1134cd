"""Prompts × responses: reading a pool in any known format, and what is wrong with it.

Public names are imported when they are first used: a pool that the store keeps needs no reader.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rmcheck.pool.faults import FAULT_RULES, FaultRule, fault_counts
    from rmcheck.pool.labels import labelled
    from rmcheck.pool.pool import Fault, FaultAction, FaultKind, Message, Pool, Prompt
    from rmcheck.pool.reading import read_pool, read_prompts, reader_names

_NAMES = {
    "faults": ("FAULT_RULES", "FaultRule", "fault_counts"),
    "labels": ("labelled",),
    "pool": ("Fault", "FaultAction", "FaultKind", "Message", "Pool", "Prompt"),
    "reading": ("read_pool", "read_prompts", "reader_names"),
}
_HOMES = {name: f"rmcheck.pool.{module}" for module, names in _NAMES.items() for name in names}

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


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'rmcheck.pool' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
