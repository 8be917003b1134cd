"""The score store: every reward that a model has given, found again by text.

`ScoreStore` keeps scores in a folder between sessions (or, with `durable=False`, between the
processes of one session); `MemoryStore` keeps them in this process. Both give `ModelScores`.

A score is found by the model's fingerprint and the text, so that a session in which nothing is
new needs no tokenizer. A row says whether the conversation was cut, and on which side: a text
read whole is found whatever the suite says about long ones, a cut one only in the mode that cut
it. Two texts with equal token ids share one forward pass: `lookup_inputs` finds by model input.

Layout of the folder (see `rmcheck.store.parts` for the columns):

    .rmcheck/
      README.md  .gitignore  CACHEDIR.TAG
      digests.json                              of large files, so that each is hashed once
      scores/<first 16 hex digits of the fingerprint>/
        part-<nanoseconds>-<random>.parquet     never changed once there
        lock                                    held while one process scores
        holder.json                             which one holds it, or held it last
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from rmcheck.errors import StoreError
from rmcheck.store.folder import make_store_folder, remove_stale_temporaries, unwritable
from rmcheck.store.lock import Waiting, held_lock
from rmcheck.store.parts import Provenance, ScoreRows, new_part_name, read_part, write_part
from rmcheck.store.table import ScoreTable

# Parts of more rows than this are not worth writing again.
LARGE_PART = 100_000
# Small parts in a row before they are merged while scoring goes on.
MANY_PARTS = 256


class ModelScores(ScoreTable):
    """The scores of one model, in this process.

    Attributes:
        provenance: Where the stored scores came from: the best proved of them, of equals the
            latest.
    """

    def __init__(self, fingerprint: str) -> None:
        super().__init__()
        self.provenance = Provenance(fingerprint)

    def append(self, rows: ScoreRows, provenance: Provenance) -> None:
        """Keep rows; when this returns, those of a folder survive the death of the process.

        Raises:
            StoreError: They could not be written. Rows appended before are safe.
        """
        self._take_in(rows, provenance)

    def _take_in(self, rows: ScoreRows, provenance: Provenance) -> None:
        self.add(rows)
        self.provenance = provenance.or_stronger(self.provenance)

    def compact(self) -> None:
        """Merge small parts."""

    def check_writable(self) -> None:
        """Find out before any work is done whether rows can be appended.

        Raises:
            StoreError: They cannot.
        """

    def refresh(self) -> None:
        """Take in what other processes have written meanwhile.

        Raises:
            StoreError: It cannot be read.
        """

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Held by the one process that scores this model; waits for its turn.

        Raises:
            StoreError: There can be no lock, or the limit of waiting has passed.
        """
        yield


class Store(Protocol):
    """Scores of all models.

    Attributes:
        durable: Whether scores outlive the session. Models that are not `kept` must not go in.
    """

    durable: bool

    def open(self, fingerprint: str) -> ModelScores:
        """The scores of the model with this fingerprint, up to date.

        Raises:
            StoreError: They cannot be read.
        """


class MemoryStore:
    """Scores of this process only."""

    def __init__(self) -> None:
        self.durable = False
        self._models: dict[str, ModelScores] = {}

    def open(self, fingerprint: str) -> ModelScores:
        """The scores of the model with this fingerprint."""
        return self._models.setdefault(fingerprint, ModelScores(fingerprint))

    def __repr__(self) -> str:
        return f"<MemoryStore, {len(self._models)} models>"


class ScoreStore:
    """Scores in a folder, shared by all processes that know it.

    Args:
        folder: The `.rmcheck` folder; made when the first score is written.
        durable: False for a folder that is thrown away with the session.
        waiting: How to wait for another process that scores the same model.
    """

    def __init__(
        self, folder: Path, *, durable: bool = True, waiting: Waiting | None = None
    ) -> None:
        self.folder = folder
        self.durable = durable
        self.waiting = waiting or Waiting()
        self._models: dict[str, FolderModelScores] = {}

    def open(self, fingerprint: str) -> "FolderModelScores":
        """The scores of the model with this fingerprint, up to date.

        Raises:
            StoreError: A part is damaged, of a newer format or unreadable (all such parts are
                named), or the folder cannot be listed.
        """
        if fingerprint not in self._models:
            self._models[fingerprint] = FolderModelScores(self.folder, fingerprint, self.waiting)
        scores = self._models[fingerprint]
        scores.refresh()
        return scores

    def __repr__(self) -> str:
        return f"<ScoreStore {self.folder}>"


class FolderModelScores(ModelScores):
    """Scores of one model as append-only parts in a folder."""

    def __init__(self, root: Path, fingerprint: str, waiting: Waiting | None = None) -> None:
        super().__init__(fingerprint)
        self.folder = root / "scores" / fingerprint[:16]
        self._root = root
        self._waiting = waiting or Waiting()
        # In the order of their names: the order in which the first score of a text wins.
        self._parts: dict[str, ScoreRows] = {}

    def __repr__(self) -> str:
        return f"<FolderModelScores {self.folder}: {len(self)} scores>"

    def refresh(self) -> None:
        """Read the parts that have come since.

        Raises:
            StoreError: Parts are damaged, of a newer format or unreadable; all are named.
        """
        # A part that vanishes between listing and reading was merged into one that a new
        # listing shows.
        while new := [name for name in self._listed() if name not in self._parts]:
            if self._read_all(new):
                return

    def append(self, rows: ScoreRows, provenance: Provenance) -> None:
        """Write rows as a new part; when this returns they survive a kill or a power cut.

        Raises:
            StoreError: The part could not be written; says how many scores are safe.
        """
        self._write(new_part_name(), rows, provenance)
        self._take_in(rows, provenance)
        if len(self._small_tail()) >= MANY_PARTS:
            self.compact()

    def compact(self) -> None:
        """Merge the newest small parts into one.

        The merged part is there before its sources are removed, so a kill in between leaves
        rows twice, which is harmless. Where there is no room for the merged part all stays as it
        is: this is tidying up, and no score depends on it.
        """
        sources = self._small_tail()
        if len(sources) < 2:
            return
        merged = ScoreRows.concatenated([self._parts[name] for name in sources])
        try:
            self._write(new_part_name(after=sources[0]), merged.without_repeats(), self.provenance)
        except StoreError:
            return
        for name in sources:
            del self._parts[name]
            # On a folder that several machines share another may have been faster.
            (self.folder / name).unlink(missing_ok=True)

    def check_writable(self) -> None:
        """Make the folder and write a byte.

        Raises:
            StoreError: The folder cannot be made or takes no files.
        """
        make_store_folder(self._root)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            remove_stale_temporaries(self.folder)
            probe = self.folder / f".{new_part_name()}.tmp"
            try:
                probe.write_bytes(b"\0")
            finally:
                probe.unlink(missing_ok=True)
        except OSError as error:
            raise unwritable(self.folder, error) from error

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Held by the one process that scores this model; waits for its turn.

        The operating system lets go of it when the process dies.

        Raises:
            StoreError: The folder takes no lock file, or the limit of waiting has passed.
        """
        with held_lock(self.folder, self._waiting):
            yield

    def _listed(self) -> list[str]:
        try:
            return sorted(path.name for path in self.folder.iterdir() if path.suffix == ".parquet")
        except FileNotFoundError:
            return []
        except NotADirectoryError as error:
            raise unwritable(self.folder, error) from error
        except OSError as error:
            raise StoreError(
                f"{self.folder}: stored scores cannot be read ({error.strerror}). "
                "Make the folder readable, or choose another folder for the store."
            ) from error

    def _read_all(self, names: Sequence[str]) -> bool:
        """Take these parts in; False when one of them has vanished."""
        faults, complete = [], True
        for name in names:
            try:
                rows, provenance = read_part(self.folder / name, self.provenance.fingerprint)
            except FileNotFoundError:
                complete = False
            except StoreError as fault:
                faults.append(str(fault))
            else:
                self._parts[name] = rows
                self._take_in(rows, provenance)
        if faults:
            raise StoreError("\n".join(faults))
        return complete

    def _write(self, name: str, rows: ScoreRows, provenance: Provenance) -> None:
        try:
            write_part(self.folder / name, rows, provenance)
        except OSError as error:
            raise StoreError(
                f"{self.folder}: scores cannot be written ({error.strerror or error}). "
                f"{len(self)} scores of this model are safe there; make room or make the folder "
                "writable and run again: only what is missing is scored."
            ) from error
        self._parts[name] = rows

    def _small_tail(self) -> list[str]:
        """The newest parts back to the first large one: merging them keeps the order of rows."""
        names = sorted(self._parts)
        small = len(names)
        while small and len(self._parts[names[small - 1]]) < LARGE_PART:
            small -= 1
        return names[small:]
