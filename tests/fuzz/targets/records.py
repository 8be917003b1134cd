"""Reports, and records of the history."""

import json
import math
from datetime import UTC, datetime
from pathlib import Path

from rmcheck.errors import FileError
from rmcheck.history.history import History
from rmcheck.history.record_reading import read_report, run_records
from rmcheck.history.record_text import written
from targets.target import DEEP, DIGITS, HUGE, Target

CHECK = {
    "name": "regret",
    "metric": "predicted_regret",
    "settings": {"n": 256},
    "signature": "s",
    "slice": "",
    "value": 0.3,
    "lower": 0.2,
    "upper": None,
    "confidence": 0.95,
    "n": 200,
    "facts": {"golden_gain": 1.0},
    "verdict": "pass",
    "path": "s.yaml",
}
MODEL = {"role": "candidate", "spec": "hf:x", "name": "rm", "fingerprint": "ffff"}
REPORT = {
    "report": 1,
    "rmcheck": "0.1.0",
    "checks": [CHECK],
    "suites": [
        {
            "name": "s",
            "path": "s.yaml",
            "golden": "column golden",
            "pool": {"path": "pool.jsonl", "fingerprint": "pppp"},
            "models": [MODEL],
        }
    ],
}


def report(path: Path) -> None:
    """A report, and the records that the history keeps of it."""
    for record in read_report(path):
        assert History(path.parent / "kept").add(record).is_file()


def history(path: Path) -> None:
    """A folder with a record."""
    found = History(path.parent).contents()
    assert len(found.runs) + len(found.regrets) + len(found.problems) <= 1 + len(found.problems)
    if found.problems:
        raise FileError(found.problems)


(RECORD,) = run_records(REPORT, time=datetime(2026, 11, 23, tzinfo=UTC))
RUN = RECORD.as_dict()
REGRET = {
    "record": 1,
    "kind": "regret",
    "run": "2026-11-23-rm-ffff",
    "rm": {"fingerprint": "ffff"},
    "regret": 0.3,
    "target": {"n": 256},
    "time": "2026-11-23T01:13:12Z",
    "note": "",
}
HISTORIES = [
    written(RUN),
    written(REGRET),
    json.dumps({**REGRET, "note": "\ud800"}).encode(),
    json.dumps({**RUN, "checks": [{**RUN["checks"][0], "settings": {"n": math.nan}}]}).encode(),
    json.dumps({**REGRET, "regret": HUGE}).encode(),
    b'{"record": %s}' % DIGITS.encode(),
    DEEP.encode(),
]
REPORTS = [
    json.dumps(REPORT).encode(),
    json.dumps({**REPORT, "rmcheck": "\ud800"}).encode(),
    json.dumps({**REPORT, "checks": [{**CHECK, "value": HUGE}]}).encode(),
    json.dumps({**REPORT, "checks": [{**CHECK, "settings": {"n": math.nan}}]}).encode(),
    DEEP.encode(),
]


TARGETS = {
    "history": Target(history, (f"{RECORD.id}.json",), HISTORIES),
    "report": Target(report, ("report.json",), REPORTS),
}
