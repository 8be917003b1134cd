"""Texts for servers that tokenise themselves."""

from collections.abc import Sequence
from typing import Any


class Wording:
    """Writes token ids as the text from which a server's tokenizer makes the same ids.

    A server that adds special tokens to a text would add a second BOS to one that a chat
    template wrote; what it adds is therefore left out of the text.

    Args:
        tokenizer: A transformers tokenizer, the same as the server's.
        special: Whether the server adds the tokenizer's special tokens to a text.
    """

    def __init__(self, tokenizer: Any, *, special: bool = True) -> None:
        self._tokenizer, self._special = tokenizer, special
        plain: list[int] = tokenizer("a", add_special_tokens=False)["input_ids"]
        full = self.ids("a")
        places = [i for i in range(len(full)) if full[i : i + len(plain)] == plain]
        at, end = (places[0], places[0] + len(plain)) if places else (0, len(full))
        self._before, self._after = full[:at], full[end:]

    def ids(self, text: str) -> list[int]:
        """What the server makes of a text."""
        ids: list[int] = self._tokenizer(text, add_special_tokens=self._special)["input_ids"]
        return ids

    def text(self, ids: Sequence[int]) -> str:
        """The text of these ids, without the special tokens that the server adds itself."""
        kept = list(ids)
        before, after = len(self._before), len(self._after)
        if kept[:before] == self._before and kept[len(kept) - after :] == self._after:
            kept = kept[before : len(kept) - after]
        return str(
            self._tokenizer.decode(
                kept, skip_special_tokens=False, clean_up_tokenization_spaces=False
            )
        )
