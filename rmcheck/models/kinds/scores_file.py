"""Scores computed elsewhere, as a reward model: `scores:FILE`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from rmcheck.errors import ModelError, ScoringError, UnknownModelError
from rmcheck.models.checkpoint.fingerprint import file_digest
from rmcheck.models.kinds.known_scores import KnownScores
from rmcheck.models.kinds.score_files import read_metadata, read_scores_file
from rmcheck.models.model import ConformanceItem, Proven, RewardModel, Session
from rmcheck.models.sample import Encoded, Sample, TooLong
from rmcheck.models.spec import ModelSpec
from rmcheck.parsing import parse_json
from rmcheck.pool.keys import NamedResponses, as_keys
from rmcheck.pool.limits import special_file
from rmcheck.wording import listed

# What the table and the report say where nothing ties a score to the text that it was given for.
_BY_POSITION = {
    "rows": "found by prompt_id and position",
    "warning": "found by position, texts not verified: scores of other texts would pass unnoticed; "
    "add text_key to its rows",
}


# What to do where rows are missing and nothing says why.
ANOTHER_POOL = "Is it of another pool, or has the pool changed? `rmcheck score` writes it anew"


class ScoresFile(RewardModel):
    """A file of scores: JSON Lines (also gzipped) or Parquet, told apart by their first bytes.

    Each row has `prompt_id`, `response` (position in its prompt, from 0), `score` (a finite
    number, higher is better), and may have `text_key` (16 bytes, or 32 hex digits in JSON:
    `Sample.text_key`). Rows are found by prompt_id and response; with `text_key` the text must be
    the one that was scored, so that a pool whose texts have changed since is noticed, and a prompt
    that was renamed is found by its text, where all rows of that text have one score.

    A score bundle written by `rmcheck score` is such a Parquet file; it also tells the model and
    its conformance page.

    Args:
        spec: Where the file is.

    Raises:
        UnknownModelError: There is no such file.
    """

    scheme: ClassVar[str] = "scores"
    kept = False
    precomputed = True

    def __init__(self, spec: ModelSpec) -> None:
        self.spec = spec.text
        self.path = spec.path
        if not self.path.is_file():
            kind = "is a folder, not a file" if self.path.is_dir() else "does not exist"
            kind = special_file(self.path) or kind
            raise UnknownModelError(f"{spec.text}: {self.path} {kind}")
        self.fingerprint = file_digest(self.path)

    @classmethod
    def from_spec(cls, spec: ModelSpec) -> Self:
        """The model that a spec names; the file is hashed, not read."""
        return cls(spec)

    @property
    def name(self) -> str:
        """The file's name."""
        return f"scores:{self.path.name}"

    @cached_property
    def identity(self) -> str:
        """Fingerprint of the model that a bundle names; of another file its own."""
        found = read_metadata(self.path).get(b"rmcheck.fingerprint", b"")
        return found.decode("ascii", "replace") or self.fingerprint

    @property
    def description(self) -> Mapping[str, str]:
        """The file."""
        return {"path": str(self.path)}

    def load(self) -> "ScoresSession":
        """Read and check the file.

        Raises:
            ModelError: Rows are wrong; all of them are named, with line and field.
        """
        rows, metadata = read_scores_file(self.path)
        origin: dict[str, str] = {}
        page: tuple[ConformanceItem, ...] = ()
        if b"rmcheck.fingerprint" in metadata:
            origin, page = _origin(self.path, metadata)
        found = {"rows": "found by text_key"} if rows.by_text else _BY_POSITION
        return ScoresSession(self, rows, {**origin, **found}, page)


@dataclass(eq=False)
class ScoresSession(Session):
    """The scores of a file.

    Attributes:
        model: The file.
        known: Its scores.
        origin: How rows are found, and what a bundle tells of its model.
        page: The conformance page of that model.
    """

    model: ScoresFile
    known: KnownScores
    origin: Mapping[str, str]
    page: tuple[ConformanceItem, ...]

    @property
    def described(self) -> Mapping[str, str]:
        return self.origin

    def prove(self, encoded: Sequence[Encoded]) -> Proven:
        """The page that a bundle tells of the model that scored."""
        return Proven(self.page)

    def encode(self, samples: Sequence[Sample], too_long: TooLong = "error") -> list[Encoded]:
        """The samples themselves.

        Raises:
            ScoringError: Samples without a score; prompts are named.
        """
        encoded = super().encode(samples, too_long)
        self.score(encoded)
        return encoded

    def score(self, batch: Sequence[Encoded]) -> NDArray[np.float64]:
        """(len(batch),) scores as the file has them.

        Raises:
            ScoringError: A sample has no score, or its text has several and none is its own.
        """
        return self.look_up(
            NamedResponses(
                [e.sample.prompt_id for e in batch],
                np.array([e.sample.index for e in batch], np.int64),
                as_keys([e.key for e in batch]),
            )
        )

    def look_up(self, rows: NamedResponses) -> NDArray[np.float64]:
        """(n,) scores as the file has them.

        Raises:
            ScoringError: A response has no score, or its text has several and none is its own.
        """
        found = self.known.found(rows)
        missing = np.isnan(found)
        if missing.any():
            raise ScoringError(self._missing_message(rows.part(missing), len(rows)))
        return found

    def _missing_message(self, missing: NamedResponses, total: int) -> str:
        prompts = dict.fromkeys(map(repr, missing.prompt_ids))
        message = (
            f"{self.model.path} has no score for {len(missing)} of {total} responses; prompts: "
            f"{listed(prompts, 5)}"
        )
        if not self.known.by_text:
            return f"{message}. {ANOTHER_POOL}"
        told = len(message)
        if changed := self.known.knows_place(missing).sum():
            message += (
                f". {changed} of them have a row of that prompt_id and response, but for "
                "another text: the pool has changed since it was scored"
            )
        if several := self.known.knows_text(missing).sum():
            message += (
                f". {several} of them have a text that other rows give several scores, and "
                "no row of that prompt_id and response"
            )
        return message if len(message) > told else f"{message}. {ANOTHER_POOL}"


def _origin(
    path: Path, metadata: Mapping[bytes, bytes]
) -> tuple[dict[str, str], tuple[ConformanceItem, ...]]:
    """What a bundle tells of the model that scored: its description and conformance page."""
    try:
        told = parse_json(metadata.get(b"rmcheck.description", b"{}"))
        items = parse_json(metadata.get(b"rmcheck.conformance", b"[]"))
        spec, fingerprint = (metadata.get(b"rmcheck." + n, b"") for n in (b"spec", b"fingerprint"))
        origin = {"scored by": spec.decode(), "model fingerprint": fingerprint.decode()}
        page = tuple(ConformanceItem(**item) for item in items)
        description = {str(key): str(value) for key, value in told.items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise ModelError(f"{path}: the metadata of this score bundle is damaged") from error
    # Where it was scored, which says nothing of where it is read.
    if "device" in description:
        description["scored on"] = description.pop("device")
    return description | origin, page
