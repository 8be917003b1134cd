"""A progress bar for people at a terminal, and silence everywhere else."""

import os
import sys
from typing import TYPE_CHECKING, Never, TextIO

if TYPE_CHECKING:
    from tqdm import tqdm

# Shorter work needs no bar.
DELAY_SECONDS = 2.0


def progress_bar(label: str, tokens: int, stream: TextIO | None = None) -> "tqdm[Never]":
    """A bar over `tokens` that shows itself after two seconds, on a terminal, outside CI.

    Args:
        label: Name of the model.
        tokens: Total of the work.
        stream: Where to draw; None means standard error.
    """
    from tqdm import tqdm

    stream = stream or sys.stderr
    shown = stream.isatty() and not os.environ.get("CI")
    return tqdm(
        desc=f"scoring {label}",
        total=tokens,
        unit="tok",
        unit_scale=True,
        file=stream,
        delay=DELAY_SECONDS,
        disable=not shown,
        leave=False,
        dynamic_ncols=True,
    )
