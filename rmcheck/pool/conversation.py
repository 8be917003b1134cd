"""Conversations as formats write them, turned into messages.

Roles are kept and never guessed from the position of a turn: a name that a format does not know
is a `malformed_row`.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from unicodedata import normalize

from rmcheck.pool.pool import Message
from rmcheck.pool.row import Row, RowFault, malformed
from rmcheck.pool.tool_calls import CALLS, TOOLS, as_more, further, without_ids

ROLES: Mapping[str, str] = {r: r for r in ("system", "user", "assistant", "tool")}
# What parts of a turn are called that hold a `text`, by chats and by OpenAI's responses.
TEXT_PARTS = ("text", "input_text", "output_text")
# HH-RLHF and Nectar: "\n\nHuman: ...\n\nAssistant: ...".
HUMAN_ASSISTANT = re.compile(r"\n\n(Human|Assistant):")
HUMAN_ASSISTANT_ROLES: Mapping[str, str] = {"Human": "user", "Assistant": "assistant"}
# HelpSteer2: the first turn has no marker and is the user's.
EXTRA_ID = re.compile(r"<extra_id_[01]>([^\n]*)\n?")
EXTRA_ID_ROLES: Mapping[str, str] = {"User": "user", "Assistant": "assistant", "System": "system"}

# What ends sentences and quotes words; signs that calculate are no such marks.
MARKS = ".,;:!?…·¿¡'\"“”„‘’‚«»‹›`´、。，！？；：「」『』"
INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u2060\ufeff]")
ENDS = MARKS + " -–—()[]{}*_~|/\\"


def conversation(row: Row, name: str) -> tuple[Message, ...]:
    """A prompt field: text is one user turn, a list is messages."""
    if isinstance(row.get(name), list):
        return messages(row, name)
    return (user_turn(row, name),)


def user_turn(row: Row, name: str) -> Message:
    """A prompt field that is the text of one user turn."""
    text = row.text(name)
    if not text.strip():
        raise malformed(f"field {row.place + name!r} is empty; expected the text of the prompt")
    return Message("user", text)


def messages(row: Row, name: str) -> tuple[Message, ...]:
    """A field that must be a list of `{role, content}`, with at least one."""
    turns = named_turns(row.rows(name), "role", "content", ROLES)
    if not turns:
        raise malformed(f"field {row.place + name!r} is an empty list; expected messages")
    return turns


def named_turns(
    items: Sequence[Row], role: str, content: str, roles: Mapping[str, str]
) -> tuple[Message, ...]:
    """Objects of a list as turns."""
    turns = []
    for i, item in enumerate(items):
        who = item.text(role)
        if who not in roles:
            raise malformed(_unknown_role(f"field {item.place + role!r}", who, roles))
        more = further(item, content, first=not i)
        turns.append((roles[who], _said(item, content), more))
    # Without calls nothing needs the names that tie results to them.
    tools = any(CALLS in more or TOOLS in more for _, _, more in turns)
    return tuple(Message(who, said, as_more(more) if tools else "") for who, said, more in turns)


def _said(turn: Row, name: str) -> str:
    """What a turn says: a text, or the texts of a list of parts in lines of their own."""
    if name not in turn and turn.values.get(CALLS):
        return ""
    if not isinstance(turn.values.get(name), list):
        return turn.text(name)
    return "\n".join(_part(part) for part in turn.rows(name))


def _part(part: Row) -> str:
    kind = part.values.get("type", "text")
    if kind not in TEXT_PARTS:
        raise malformed(
            f"field {part.place + 'type'!r} is {kind!r}; rmcheck reads texts, and nothing of "
            "images, audio or files reaches the model: leave these rows out"
        )
    return part.text("text")


def marked_turns(text: str, name: str) -> tuple[Message, ...]:
    r"""The turns of a text with `\n\nHuman:` and `\n\nAssistant:` before each of them."""
    pieces = HUMAN_ASSISTANT.split(text)
    if len(pieces) < 3 or pieces[0].strip():
        raise malformed(
            f"field {name!r} begins with {text[:30]!r}; "
            "expected '\\n\\nHuman:' before the first turn"
        )
    return tuple(
        Message(HUMAN_ASSISTANT_ROLES[who], said.strip())
        for who, said in zip(pieces[1::2], pieces[2::2], strict=True)
    )


def extra_id_turns(row: Row, name: str) -> tuple[Message, ...]:
    r"""The turns of a text with `<extra_id_1>Assistant\n` and `<extra_id_1>User\n` between them.

    A marker at the very end that only opens the answer is left out.
    """
    first, *rest = EXTRA_ID.split(user_turn(row, name).content)
    turns = [Message("user", first.strip())] if first.strip() else []
    for who, said in zip(rest[::2], rest[1::2], strict=True):
        if who.strip() not in EXTRA_ID_ROLES:
            raise malformed(_unknown_role(f"field {name!r}", who.strip(), EXTRA_ID_ROLES))
        turns.append(Message(EXTRA_ID_ROLES[who.strip()], said.strip()))
    return without_open_answer(turns)


def without_open_answer(turns: Sequence[Message]) -> tuple[Message, ...]:
    """The turns without an empty assistant turn at the end, which only opens the answer."""
    if turns and turns[-1] == Message("assistant", ""):
        turns = turns[:-1]
    if not turns:
        raise malformed("the prompt has no turn before the answer")
    return tuple(turns)


def split_answer(
    turns: Sequence[Message], name: str, prompt: tuple[Message, ...] = ()
) -> tuple[tuple[Message, ...], str]:
    """What was asked, and the final assistant turn that answers it.

    Raises:
        RowFault: The last turn is not the assistant's, or the answer is several messages.
    """
    *before, last = turns
    if last.role != "assistant":
        raise malformed(f"the last turn of {name!r} is the {last.role}'s; expected the assistant's")
    if CALLS in last.turn:
        raise malformed(
            f"the answer in {name!r} calls a tool, and an answer is a text; write the call into "
            "its content, as the policy writes it"
        )
    if not before and prompt:
        return prompt, last.content
    if not before:
        raise RowFault("differing_prompts", f"{name!r} is an answer without a prompt before it")
    if prompt and tuple(before[-len(prompt) :]) != prompt:
        raise RowFault(
            "differing_prompts",
            f"{name!r} is {len(turns)} messages, and those before its answer are not the prompt",
        )
    return tuple(before), last.content


def same_conversation(
    chosen: tuple[Message, ...], rejected: tuple[Message, ...]
) -> tuple[Message, ...]:
    """The conversation that both answers belong to.

    Raises:
        RowFault: They answer different conversations (`differing_prompts`).
    """
    if chosen == rejected:
        return chosen
    turn = next(
        (i for i, (a, b) in enumerate(zip(chosen, rejected, strict=False)) if a != b),
        min(len(chosen), len(rejected)),
    )
    raise RowFault(
        "differing_prompts",
        f"chosen and rejected differ at turn {turn + 1}: "
        f"{_excerpt(chosen, turn)} and {_excerpt(rejected, turn)}",
    )


def unit_key(messages: Iterable[Message]) -> str:
    """16 hex digits that conversations share which differ only in white space or punctuation.

    Asked once more with a blank or three question marks at its end, a question is not a second
    independent one. Marks inside a word or a formula stay, and so do signs between blanks: 3 * 2 is
    another question than 3 - 2. Names of calls do not count.
    """
    return content_key(Message(m.role, _bare(m.content), without_ids(m.more)) for m in messages)


def _bare(text: str) -> str:
    """The words, without marks at their ends, and without any at the ends of the text."""
    words = (word.strip(MARKS) for word in INVISIBLE.sub("", normalize("NFKC", text)).split())
    return " ".join(filter(None, words)).strip(ENDS)


def content_key(messages: Iterable[Message], responses: Iterable[str] = ()) -> str:
    """16 hex digits that name a conversation, with its responses where they are given."""
    digest = hashlib.blake2b(digest_size=8)
    said = (p for m in messages for p in (m.role, m.content, *filter(None, [m.more])))
    for part in (*said, "", *responses):
        data = part.encode("utf-8", "surrogatepass")
        digest.update(b"%d:" % len(data))
        digest.update(data)
    return digest.hexdigest()


def _unknown_role(where: str, role: str, known: Iterable[str]) -> str:
    return f"{where} has the unknown role {role!r}; known roles: {', '.join(known)}"


def _excerpt(turns: tuple[Message, ...], turn: int) -> str:
    if turn >= len(turns):
        return "nothing"
    text = turns[turn].content
    return f"{turns[turn].role} {text[:40] + '...' if len(text) > 40 else text!r}"
