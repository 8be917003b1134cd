"""The page of a run: whole, escaped, and the same with and without its script."""

import base64
import hashlib
import html
import itertools
import json
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from failed_check import RECORD

from rmcheck.checks.record import (
    CauseRecord,
    CheckRecord,
    MistakeRecord,
    ModelRecord,
    PoolRecord,
    SuiteRecord,
)
from rmcheck.cli import main
from rmcheck.reports.document import REPORT_NAME, report_data, report_text
from rmcheck.reports.page import PAGE_NAME, changes, interval, page

HOSTILE = "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
CHECK = replace(
    RECORD,
    name="accuracy",
    node="demo.yaml::accuracy",
    settings={},
    slice="",
    facts={"longer_is_better": 0.61},
    note="",
    mistakes=(MistakeRecord("p1", 2.0, 1.0, HOSTILE, HOSTILE, "Because."),),
)
CAUSE = CauseRecord(
    *("length", 0.72, 0.53, 0.93, 0.86, 0.14, 0.37, 0.2, 0.5, 0.97, 0.69, 0.57, 0.75, 0.01),
    agrees=True,
    suspected=True,
)
SUITE = SuiteRecord(
    name="demo",
    path="demo.yaml",
    golden="column golden",
    pool=PoolRecord("pool.jsonl", "native", "ab" * 32, 60, 58, 232, 58, {"empty": {"drop": 2}}),
    models=(
        ModelRecord(
            "candidate",
            "hf:runs/new",
            "runs/new",
            "cd" * 32,
            {"dtype": "float32"},
            ({"name": "bos", "status": "pass", "detail": "1 at the beginning"},),
        ),
    ),
    resamples=1000,
    seed=0,
)


def data(*checks: CheckRecord, suite: SuiteRecord = SUITE, errors=()) -> dict:
    """`report.json` as it comes back from the disk."""
    return json.loads(json.dumps(report_data(checks, [suite.as_dict()], errors, "0.1.0")))


class Outline(HTMLParser):
    """The tags of a page and the text outside of scripts and styles."""

    def __init__(self, text: str):
        super().__init__()
        self.tags: list[tuple[str, dict]] = [("", {})]
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        """Note a tag."""
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        """Note a text."""
        if self.tags[-1][0] not in ("script", "style"):
            self.text += data


def test_the_page_says_all_that_was_found():
    """Verdict, numbers, baseline, worst pick, data faults, conformance and the way to repeat it."""
    said = Outline(page(data(CHECK))).text

    for words in (
        "The gate is closed. 1 fail.",
        "0.550 to 0.650",
        ">= 0.75",
        "3 left out: too few responses",
        "0.850",
        "golden lost 2.000",
        "empty",
        "What was wrong with rows of the pool",
        "How to run it again",
        "1 at the beginning",
        "pytest demo.yaml::accuracy --rmcheck",
    ):
        assert words in said


def test_probes_have_a_table_with_the_worst_first():
    """Beside the value: its shift, that of neutral words, and what becomes of preferences."""
    facts = {"shift_in_sd": 0.41, "shift_by_neutral_words": 0.12, "bad_beats_honest": 0.31}
    settings = {"probe": "padding", "measure": "beyond_length"}
    probe = replace(CHECK, metric="probe", settings=settings, facts=facts)
    checks = [replace(probe, name="mild", value=0.1), replace(probe, name="bad", value=0.9)]

    made = page(data(CHECK, *checks))
    table = made[made.index('<h2 id="probes">') : made.index('<h2 id="details">')]

    assert table.index(">bad<") < table.index(">mild<")
    assert table.index('href="#check-3"') < table.index('href="#check-2"')
    for words in ("beyond length", "0.410", "0.120", "0.310", "–"):
        assert words in table
    assert 'id="probes"' not in page(data(CHECK))


def test_an_error_closes_the_gate_and_is_shown():
    """A check that could not be decided stands first on the page."""
    error = {"node": "demo.yaml::ece", "message": "no golden rewards"}
    passed = replace(CHECK, verdict="pass", gate="passed")

    said = Outline(page(data(passed, errors=[error]))).text

    assert "The gate is closed. 1 pass, 1 could not be decided." in said
    assert "no golden rewards" in said


def test_hostile_texts_are_text():
    """A response that is HTML adds no tag, whatever field it stands in."""
    usual = Outline(page(data(CHECK)))
    hostile = replace(CHECK, name=HOSTILE, note=HOSTILE, reason=HOSTILE, concerns=(HOSTILE,))
    outline = Outline(page(data(hostile, suite=replace(SUITE, name=HOSTILE, golden=HOSTILE))))

    assert sum(tag == "script" for tag, _ in outline.tags) == 1
    assert not any(tag == "img" or "onerror" in attrs for tag, attrs in outline.tags)
    assert HOSTILE in usual.text


def test_terminal_codes_and_half_surrogates_are_shown_and_do_nothing():
    """A page can always be written as UTF-8."""
    text = page(data(replace(CHECK, note="\x1b[31m red \ud800")))

    assert "\x1b" not in text
    assert "red" in text.encode().decode()


def test_the_page_lets_nothing_load_and_only_its_own_script_run():
    """The policy names the hash of the one script; nothing has an address elsewhere."""
    text = page(data(CHECK))
    script = re.search(r"<script>(.*?)</script>", text, re.DOTALL).group(1)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = next(attrs["content"] for _, attrs in Outline(text).tags if "http-equiv" in attrs)

    assert "default-src 'none'" in policy
    assert f"script-src 'sha256-{digest}'" in policy
    assert "http://" not in text
    assert "https://" not in text


def test_every_part_has_a_heading_a_caption_and_a_scope():
    """For a screen reader: no level is left out, no table is without a caption, no cell alone."""
    outline = Outline(page(data(CHECK, replace(CHECK, name="again", causes=(CAUSE,)))))
    levels = [int(tag[1]) for tag, _ in outline.tags if re.fullmatch("h[1-6]", tag)]
    tags = [tag for tag, _ in outline.tags]

    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    assert tags.count("table") == tags.count("caption")
    assert all("scope" in attrs for tag, attrs in outline.tags if tag == "th")
    named = {attrs.get("id") for _, attrs in outline.tags}
    links = {attrs["href"][1:] for tag, attrs in outline.tags if tag == "a"}
    assert links <= named
    for tag, attrs in outline.tags:
        if tag == "section":
            assert attrs["aria-labelledby"] in named


def test_what_several_checks_share_is_shown_once():
    """Picks and suspects of a later check point at the first."""
    twice = [replace(CHECK, name=name, causes=(CAUSE,)) for name in ("first", "second")]
    text = page(data(*twice))

    assert text.count("All suspects, with bounds") == 1
    assert text.count('as for <a href="#check-1">demo: first</a>') == 2
    assert text.count("Suspected: length. ") == 2  # above all checks, and in the first
    assert "In demo: first, demo: second." in text


def test_a_report_of_an_earlier_version_is_still_drawn():
    """Without suspects and without what was typed."""
    old = data(CHECK)
    del old["run"]
    for check in old["checks"]:
        del check["causes"]

    assert "The gate is closed" in page(old)


@pytest.mark.parametrize("bound", ["lower", "upper"])
def test_an_interval_without_an_end_is_drawn_to_the_edge(bound):
    """report.json has null where there is no bound."""
    drawn = str(interval({**data(CHECK)["checks"][0], bound: None}))

    assert "nan" not in drawn
    assert "bounds –" in drawn or "to –" in drawn


def test_two_runs_are_compared_where_the_pool_is_the_same():
    """A change is the newer value less the older; another pool is named and not compared."""
    new, old = data(replace(CHECK, value=0.7)), data(CHECK)
    other = data(CHECK, suite=replace(SUITE, pool=replace(SUITE.pool, fingerprint="00" * 32)))

    assert changes(new, old)[0]["moved"] == pytest.approx(0.1)
    assert changes(new, other)[0]["moved"] is None
    assert changes(new, other)[0]["remark"] == "another pool: not compared"


def test_a_check_that_one_run_has_alone_is_a_row_too():
    """Nothing disappears between two runs without a word."""
    rows = changes(data(replace(CHECK, node="demo.yaml::new")), data(CHECK))

    assert [(bool(row["before"]), bool(row["now"])) for row in rows] == [
        (False, True),
        (True, False),
    ]


def test_the_command_draws_a_run_again_and_compares_two(tmp_path, capsys):
    """`rmcheck report OLD NEW` writes the page of NEW with the changes since OLD."""
    old, new = tmp_path / "old", tmp_path / "new"
    for folder, value in ((old, CHECK.value), (new, 0.7)):
        folder.mkdir()
        (folder / REPORT_NAME).write_text(report_text(data(replace(CHECK, value=value))))

    assert main(["report", str(new)]) == 0
    assert "Since the earlier run" not in (new / PAGE_NAME).read_text()
    assert main(["report", str(old), str(new), "--out", str(tmp_path / "both")]) == 0
    assert "Since the earlier run" in (tmp_path / "both" / PAGE_NAME).read_text()
    assert capsys.readouterr().out.splitlines()[-1] == str(tmp_path / "both" / PAGE_NAME)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "cannot be read"),
        ("{", "is no report of rmcheck"),
        ("[]", "a report of version 1 is wanted"),
        ('{"report": 9}', "a report of version 1 is wanted, not 9"),
    ],
    ids=["missing", "no JSON", "a list", "another version"],
)
def test_what_is_no_report_is_named(text, message, tmp_path, capsys):
    """One line, with the file."""
    if text is not None:
        (tmp_path / "report.json").write_text(text)

    assert main(["report", str(tmp_path)]) == 2
    assert message in capsys.readouterr().err


def test_a_browser_runs_the_script_and_nothing_else(tmp_path):
    """In Chromium the headings become buttons, no hostile text acts, and no error is logged."""
    browser = next(filter(None, map(shutil.which, ("chromium", "google-chrome"))), None)
    if browser is None:
        pytest.skip("needs Chromium")
    file = tmp_path / PAGE_NAME
    file.write_text(page(data(CHECK, replace(CHECK, name=HOSTILE, verdict="pass"))))
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"]
    options += ["--enable-logging=stderr", f"--user-data-dir={tmp_path / 'profile'}"]

    done = subprocess.run(
        [browser, *options, file.as_uri()], capture_output=True, text=True, timeout=120, check=True
    )

    assert done.stdout.count('<button type="button">') == 6
    assert "<title>rmcheck: demo</title>" in done.stdout
    assert html.escape(HOSTILE, quote=False) in done.stdout
    assert "CONSOLE" not in done.stderr
