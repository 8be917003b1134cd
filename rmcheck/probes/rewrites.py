"""Changes of a text that a template can name: `{response|bullets}`.

Each is a function of the text alone, so that the same edit is made wherever a suite runs. They are
made for English and leave a text as it is where they find nothing to change.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from itertools import cycle

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")
_WORD = re.compile(r"[^\W\d_]{4,}")
# From the first of many empty lines alone: each of them would cost a time of their number.
_MARKDOWN = re.compile(r"^(?:(?<!\n\n)\s*)?(?:#{1,6}|[-*•]|\d+\.)\s+|\*\*|__|`+", re.MULTILINE)
_PUNCTUATION = re.compile(r"(?<=\w)([.,;:!?])(?=\s|$)")
EMOJI = ("😀", "👍", "✨", "🎉", "🔥")
FILLERS = (
    "It is worth noting that",
    "It should also be mentioned that",
    "In this context, one can say that",
    "Generally speaking, and all things considered,",
)
# Words of prompts that say nothing of their subject.
_COMMON_TEXT = (
    "about after also answer been before being could does doing each explain every from give good "
    "have help here into just know like make many more most much need other please question shall "
    "should some such tell than that their them then there these they this those very want were "
    "what when where which while will with would write your"
)
COMMON = frozenset(_COMMON_TEXT.split())
CONTRACTIONS = {
    "do not": "don't",
    "does not": "doesn't",
    "did not": "didn't",
    "is not": "isn't",
    "are not": "aren't",
    "cannot": "can't",
    "will not": "won't",
    "it is": "it's",
    "that is": "that's",
    "you are": "you're",
    "you will": "you'll",
    "I am": "I'm",
    "we are": "we're",
}
_CONTRACTED = re.compile(rf"\b({'|'.join(CONTRACTIONS)})\b")
# A letter is swapped in one of so many words that are long enough.
TYPO_EVERY, MOST_KEYWORDS = 6, 15
_LONG_WORD = re.compile(r"[^\W\d_]{5,}")


def sentences(text: str) -> list[str]:
    """The sentences of a text; of one without full stops its lines."""
    found = [part.strip() for part in _SENTENCE_END.split(text.strip()) if part.strip()]
    return found if len(found) > 1 else [line.strip() for line in text.splitlines() if line.strip()]


def first(text: str) -> str:
    """The first sentence."""
    return next(iter(sentences(text)), "")


def last(text: str) -> str:
    """The last sentence."""
    return next(reversed(sentences(text)), "")


def half(text: str) -> str:
    """The first half, cut at a blank."""
    words = text.split(" ")
    return " ".join(words[: (len(words) + 1) // 2])


def bullets(text: str) -> str:
    """Each sentence as a point of a list."""
    return "\n".join(f"- {sentence}" for sentence in sentences(text))


def numbered(text: str) -> str:
    """Each sentence as a numbered point."""
    return "\n".join(f"{i}. {sentence}" for i, sentence in enumerate(sentences(text), start=1))


def bold(text: str) -> str:
    """The longest word of each sentence in bold."""
    return " ".join(map(_longest_in_bold, sentences(text)))


def _longest_in_bold(sentence: str) -> str:
    words = _WORD.findall(sentence)
    longest = max(words, key=len, default="")
    return sentence.replace(longest, f"**{longest}**", 1) if longest else sentence


def emoji(text: str) -> str:
    """An emoji behind each sentence."""
    return " ".join(f"{s} {e}" for s, e in zip(sentences(text), cycle(EMOJI), strict=False))


def wordy(text: str) -> str:
    """A phrase without content before each sentence."""
    return " ".join(
        f"{f} {_small(s)}" for f, s in zip(cycle(FILLERS), sentences(text), strict=False)
    )


def _small(sentence: str) -> str:
    """The sentence as it goes on behind other words; names and `I` keep their capitals."""
    return sentence[:1].lower() + sentence[1:] if sentence[1:2].islower() else sentence


def typos(text: str) -> str:
    """Two neighbouring letters swapped inside every sixth word of five letters or more."""
    return "".join(_typos(text))


def _typos(text: str) -> Iterator[str]:
    end = 0
    for number, found in enumerate(_LONG_WORD.finditer(text)):
        yield text[end : found.start()]
        word, end = found.group(), found.end()
        middle = len(word) // 2
        swapped = word[: middle - 1] + word[middle] + word[middle - 1] + word[middle + 1 :]
        yield word if number % TYPO_EVERY else swapped
    yield text[end:]


def contracted(text: str) -> str:
    """`do not` as `don't`, and the like."""
    return _CONTRACTED.sub(lambda found: CONTRACTIONS[found.group()], text)


def plain(text: str) -> str:
    """Without the marks of Markdown."""
    return _MARKDOWN.sub("", text)


def spaced(text: str) -> str:
    """A blank before each mark that ends a phrase."""
    return _PUNCTUATION.sub(r" \1", text)


def keywords(text: str) -> str:
    """The words that a text is about, each once: long ones that are not common."""
    words = dict.fromkeys(word.lower() for word in _WORD.findall(text))
    return ", ".join([word for word in words if word not in COMMON][:MOST_KEYWORDS])


REWRITES: Mapping[str, Callable[[str], str]] = {
    rewrite.__name__: rewrite
    for rewrite in (
        first,
        last,
        half,
        bullets,
        numbered,
        bold,
        emoji,
        wordy,
        typos,
        contracted,
        plain,
        spaced,
        keywords,
    )
}
