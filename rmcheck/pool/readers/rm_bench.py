"""RM-Bench: three styles of a good answer against three styles of a bad one.

Each row gives 9 pairs. As in its `compute_accuracy`, row i is the style of the chosen answer and
column j the style of the rejected one: the upper triangle (the rejected one is the fancier) is
hard, the diagonal normal, the lower triangle easy. Strict accuracy (`ties: wrong`) over
`difficulty` gives its three numbers, and over `domain` their mean.
"""

from collections.abc import Iterator

from rmcheck.pool.conversation import conversation
from rmcheck.pool.pool import Prompt
from rmcheck.pool.readers.reader import WIN, Reader, has, has_list
from rmcheck.pool.row import Row, RowFault, malformed

STYLES = ("concise", "detailed_plain", "detailed_markdown")
# Ids start again in every file, so the domain and the subset are part of the name.
NAME_FIELDS = ("domain", "subset", "id")
# Published one file a domain, such as `chat_filtered.json`, whose rows do not say it.
DOMAIN_FILE = "_filtered"


def rm_bench_prompts(row: Row) -> Iterator[Prompt | RowFault]:
    """The 9 pairs of a row."""
    chosen, rejected = row.texts("chosen"), row.texts("rejected")
    for name, answers in (("chosen", chosen), ("rejected", rejected)):
        if len(answers) != len(STYLES):
            raise malformed(
                f"field {name!r} has {len(answers)} texts; expected {len(STYLES)}, "
                f"one a style ({', '.join(STYLES)})"
            )
    messages = conversation(row, "prompt")
    source = "/".join(filter(None, (row.identifier(name) for name in NAME_FIELDS)))
    slices = _domain_of(row.file) | row.slices("domain", "subset", "language")
    for i, good_style in enumerate(STYLES):
        for j, bad_style in enumerate(STYLES):
            yield Prompt(
                prompt_id=f"{source}/{good_style}-{bad_style}",
                messages=messages,
                responses=(chosen[i], rejected[j]),
                labels={"golden": WIN},
                slices={
                    "difficulty": "hard" if i < j else "normal" if i == j else "easy",
                    "chosen_style": good_style,
                    "rejected_style": bad_style,
                }
                | slices,
                cluster=source,
            )


def _domain_of(file: str) -> dict[str, str]:
    stem, _, _ = file.partition(".")
    domain = stem.removesuffix(DOMAIN_FILE)
    return {"domain": domain} if domain and domain != stem else {}


READERS = (
    Reader(
        name="rm_bench",
        fields="id, prompt, chosen [3 texts], rejected [3 texts]",
        matches=lambda row: (
            has(row, "id", "prompt") and has_list(row, "chosen", "rejected", of=str)
        ),
        prompts=rm_bench_prompts,
    ),
)
