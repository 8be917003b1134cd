"""Texts for servers that tokenise themselves."""

from collections.abc import Sequence
from typing import Any


class Wording:
    """Writes token ids as the text from which a server's tokenizer makes the same ids.

    A tokenizer that adds special tokens to a text would add a second BOS to one that a chat
    template wrote; what it adds is therefore left out of the text.

    Args:
        tokenizer: A transformers tokenizer, the same as the server's.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        plain: list[int] = tokenizer("a", add_special_tokens=False)["input_ids"]
        full: list[int] = tokenizer("a")["input_ids"]
        places = [i for i in range(len(full)) if full[i : i + len(plain)] == plain]
        at, end = (places[0], places[0] + len(plain)) if places else (0, len(full))
        self._before, self._after = full[:at], full[end:]

    def text(self, ids: Sequence[int]) -> str:
        """The text of these ids, without the special tokens that the tokenizer adds itself."""
        kept = list(ids)
        before, after = len(self._before), len(self._after)
        if kept[:before] == self._before and kept[len(kept) - after :] == self._after:
            kept = kept[before : len(kept) - after]
        return str(
            self._tokenizer.decode(
                kept, skip_special_tokens=False, clean_up_tokenization_spaces=False
            )
        )
