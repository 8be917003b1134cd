"""Tokens of a tokenizer that its texts can hardly have held."""

import random
import re
from pathlib import Path
from typing import Any

from rmcheck.errors import UsageError
from rmcheck.parsing import parse_json

# Byte-level vocabularies write a blank as Ġ, SentencePiece as ▁.
BLANKS = re.compile("[Ġ▁]")
# Parts of a word that WordPiece joins to the one before, and slots that nothing was trained for.
NO_TEXT = re.compile(r"^##|^<.*>$|^\[.*\]$")
# What looks like an ordinary word, or is too short to be strange.
ORDINARY = re.compile(r"^.{0,3}$|^[A-Z]?[a-z]+$|^[A-Z]+$|^\d+$|^\W+$")
# Merges are learned in the order of how frequent they are, so the last tokens are the rarest.
LAST_SHARE = 0.25


def rare_tokens(folder: Path, count: int, seed: int) -> tuple[str, ...]:
    """Texts of some tokens at the end of the vocabulary that look like no word.

    Args:
        folder: With the file tokenizer.json.
        count: How many; fewer where the vocabulary has no more of them.
        seed: Which ones.

    Raises:
        UsageError: The file cannot be read, or has no vocabulary.
    """
    path = folder / "tokenizer.json"
    try:
        words = _vocabulary(parse_json(path.read_bytes()))
    except (OSError, ValueError, KeyError, TypeError, OverflowError) as error:
        raise UsageError(f"{path}: no vocabulary can be read from it") from error
    last = words[int((1 - LAST_SHARE) * len(words)) :]
    texts = (BLANKS.sub(" ", word) for word in last if not NO_TEXT.search(word))
    strange = sorted({text.strip() for text in texts if not ORDINARY.match(text.strip())})
    found = [text for text in strange if text.isprintable()]
    return tuple(random.Random(seed).sample(found, min(count, len(found))))


def _vocabulary(tokenizer: Any) -> list[str]:
    """The tokens by their ids, without those that were added by hand."""
    known = tokenizer["model"]["vocab"]
    if isinstance(known, dict):
        return [str(word) for word, _ in sorted(known.items(), key=lambda item: int(item[1]))]
    return [str(word) for word, _ in known]
