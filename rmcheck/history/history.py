"""The history: a folder of records that people review and branches merge.

    history/
      2026-11-23-rm-7b-3f2a9c1d.json                   one suite judged on one reward model
      2026-11-23-rm-7b-3f2a9c1d.regret-9ab01234.json   what RL really gave, attached later

No file is written twice, so two branches never change the same one. A name ends in a hash of the
content: adding a record again finds it there, and a file changed by hand is noticed. Records are
removed by deleting their files.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from rmcheck.errors import FileError, Problem, StoreError, UsageError, near_miss
from rmcheck.history.record_reading import regret_from, run_from
from rmcheck.history.record_text import Fields, content_hash, parsed, written
from rmcheck.history.records import RECORD_VERSION, RegretRecord, RunRecord
from rmcheck.store.folder import write_whole

R = TypeVar("R", RunRecord, RegretRecord)


@dataclass(frozen=True)
class HistoryContents:
    """Everything in a history folder, oldest first, and what is wrong with files of it."""

    runs: tuple[RunRecord, ...]
    regrets: tuple[RegretRecord, ...]
    problems: tuple[Problem, ...]


class History:
    """Runs and regrets in a folder, which is made when the first record is added."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __repr__(self) -> str:
        return f"<History {self.folder}>"

    def contents(self) -> HistoryContents:
        """All records, and what is wrong with the files that hold none.

        Raises:
            StoreError: The folder is not there or cannot be listed.
        """
        runs: dict[str, RunRecord] = {}
        regrets: dict[str, RegretRecord] = {}
        problems: list[Problem] = []
        for path in self._files():
            fields = _fields(path, problems)
            if fields is None:
                continue
            kind = fields.string("kind")
            if kind == "run":
                _keep(runs, run_from(fields), fields, path)
            elif kind == "regret":
                _keep(regrets, regret_from(fields), fields, path)
            else:
                fields.say(f"kind is {kind!r}; valid: run, regret.", "kind")
        return HistoryContents(
            runs=tuple(sorted(runs.values(), key=lambda record: (record.time, record.id))),
            regrets=tuple(sorted(regrets.values(), key=lambda record: (record.time, record.id))),
            problems=tuple(problems),
        )

    def sound(self) -> HistoryContents:
        """All records, oldest first, of a history in which nothing is wrong.

        Raises:
            FileError: Files are damaged or hold something else; all are named.
            StoreError: The folder is not there or cannot be listed.
        """
        found = self.contents()
        if found.problems:
            raise FileError(found.problems)
        return found

    def run(self, name: str) -> RunRecord:
        """The run whose id begins with `name`.

        Raises:
            UsageError: None does, with the near miss, or several do.
            FileError, StoreError: See `sound`.
        """
        known = {record.id: record for record in self.sound().runs}
        if name in known:
            return known[name]
        found = [id_ for id_ in known if id_.startswith(name)]
        if len(found) == 1:
            return known[found[0]]
        if found and name:
            raise UsageError(f"{name!r} begins {len(found)} runs: {', '.join(found)}")
        listed = ", ".join(list(known)[-10:]) or "none"
        raise UsageError(f"no run {name!r}.{near_miss(name, known)} Runs: {listed}.")

    def add(self, record: RunRecord | RegretRecord) -> Path:
        """Keep a run or a regret; one that is there already, of whatever day, is left as it is.

        Raises:
            StoreError: It could not be written.
        """
        target = self.folder / f"{record.id}.json"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            same = self._of_hash(record)
            if same is not None:
                return same
            write_whole(target, written(record.as_dict()))
        except OSError as error:
            raise StoreError(
                f"{target}: the record cannot be written ({error.strerror or error}). "
                "Make the folder writable, or choose another one for the history."
            ) from error
        return target

    def _of_hash(self, record: RunRecord | RegretRecord) -> Path | None:
        """The file of an equal record; its date may differ."""
        last = ".regret-" if isinstance(record, RegretRecord) else "-"
        names = f"*{last}{content_hash(record.as_dict())}.json"
        return next(iter(sorted(self.folder.glob(names))), None)

    def _files(self) -> Iterator[Path]:
        """Every JSON file that is not hidden; what else lies there is not ours."""
        try:
            names = sorted(self.folder.iterdir())
        except FileNotFoundError:
            raise StoreError(
                f"{self.folder}: no such folder; `rmcheck history add` makes it with its "
                "first record"
            ) from None
        except OSError as error:
            raise StoreError(
                f"{self.folder}: the history cannot be read ({error.strerror or error})"
            ) from error
        return (path for path in names if path.suffix == ".json" and path.name[0] != ".")


def _fields(path: Path, problems: list[Problem]) -> Fields | None:
    """The object of a file, once it is known to be a record of this version."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        problems.append(Problem(str(path), f"not UTF-8: {error.reason} at byte {error.start + 1}"))
        return None
    except OSError as error:
        problems.append(Problem(str(path), f"cannot be read: {error.strerror or error}"))
        return None
    fields = parsed(text, str(path), problems)
    if fields is None:
        return None
    if "record" not in fields.data:
        fields.say("not a record of rmcheck; move it out of the history")
        return None
    version = fields.whole("record")
    if version > RECORD_VERSION:
        fields.say(f"record is {version}: written by a newer rmcheck; update rmcheck", "record")
        return None
    return fields


def _keep(kept: dict[str, R], record: R | None, fields: Fields, path: Path) -> None:
    """Keep a record whose file name agrees with its content."""
    if record is None:
        return
    if path.stem != record.id:
        fields.say(
            f"changed after it was written: with this content its name would be "
            f"{record.id}.json. Restore the file, or delete it and add the record again."
        )
        return
    # Two branches may have added the same record on two days.
    kept.setdefault(content_hash(record.as_dict()), record)
