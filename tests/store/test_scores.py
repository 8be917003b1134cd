"""What goes into the score store comes out again, whatever happened in between."""

import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rmcheck.models.model import ConformanceItem
from rmcheck.pool.keys import as_keys
from rmcheck.store import scores as scores_module
from rmcheck.store.folder import make_store_folder, remove_stale_temporaries
from rmcheck.store.parts import Provenance, ScoreRows
from rmcheck.store.scores import MemoryStore, ScoreStore

FINGERPRINT = "ab" * 32
PROVENANCE = Provenance(FINGERPRINT, "hf:rm", {"dtype": "float32"})


def key_of(number: int) -> bytes:
    """16 bytes, zeros at the end included, for they are easily lost."""
    return number.to_bytes(8, "big") + bytes(8)


def rows_of(facts: list[tuple[int, str, float]]) -> ScoreRows:
    """Rows of (text, side that was cut, score)."""
    return ScoreRows(
        as_keys([key_of(text) for text, _, _ in facts]),
        as_keys([key_of(1000 + text) for text, _, _ in facts]),
        np.array([score for _, _, score in facts], dtype=np.float64),
        np.array([text for text, _, _ in facts], dtype=np.int32),
        np.array([7 if side else 0 for _, side, _ in facts], dtype=np.int32),
        [side for _, side, _ in facts],
    )


def looked_up(scores, texts, too_long="error"):
    """Scores as a list, None where nothing is stored."""
    found = scores.lookup([key_of(text) for text in texts], too_long).scores
    return [None if np.isnan(score) else score for score in found]


facts = st.tuples(
    st.integers(0, 12),
    st.sampled_from(["", "left", "right"]),
    st.floats(allow_nan=False, allow_infinity=False),
)


def expected_lookup(stored, text, too_long):
    """The rule in its plainest words: whole if there is one, else cut in this mode."""
    first = {}
    for stored_text, side, score in stored:
        first.setdefault((stored_text, side), score)
    return first.get((text, ""), first.get((text, too_long)))


@given(parts=st.lists(st.lists(facts, min_size=1, max_size=8), max_size=6), merge=st.booleans())
@settings(deadline=None, max_examples=60)
def test_every_split_into_parts_reads_back_the_same(tmp_path_factory, parts, merge):
    """Any rows, in any parts, merged or not: the first row of a text wins, in every mode."""
    folder = tmp_path_factory.mktemp("store") / ".rmcheck"
    stored = [fact for part in parts for fact in part]
    memory = MemoryStore().open(FINGERPRINT)
    writing = ScoreStore(folder).open(FINGERPRINT)
    for part in parts:
        writing.check_writable()
        writing.append(rows_of(part), PROVENANCE)
        memory.append(rows_of(part), PROVENANCE)
    if merge:
        writing.compact()

    for scores in (writing, memory, ScoreStore(folder).open(FINGERPRINT)):
        for too_long in ("error", "left", "right"):
            expected = [expected_lookup(stored, text, too_long) for text in range(14)]

            assert expected == looked_up(scores, range(14), too_long)


@pytest.fixture
def store(tmp_path) -> ScoreStore:
    """A store whose folder does not exist yet."""
    return ScoreStore(tmp_path / ".rmcheck")


@pytest.fixture
def scores(store):
    """The scores of one model, ready to be written."""
    opened = store.open(FINGERPRINT)
    opened.check_writable()
    return opened


def part_files(scores) -> list[Path]:
    """The parts in the folder."""
    return sorted(scores.folder.glob("*.parquet"))


def test_an_empty_store_finds_nothing_and_writes_nothing(store):
    """Looking up in a folder that does not exist finds nothing and does not create it."""
    scores = store.open(FINGERPRINT)

    assert looked_up(scores, [1, 2]) == [None, None]
    assert np.isnan(scores.lookup_inputs([key_of(1)])).all()
    assert not store.folder.exists()


def test_a_cut_text_is_found_only_in_the_mode_that_cut_it(scores):
    """`error` never sees the reward of a conversation that was cut."""
    scores.append(rows_of([(1, "left", 0.5), (2, "", 0.25)]), PROVENANCE)

    assert looked_up(scores, [1, 2], "error") == [None, 0.25]
    assert looked_up(scores, [1, 2], "left") == [0.5, 0.25]
    assert looked_up(scores, [1, 2], "right") == [None, 0.25]
    assert scores.lookup([key_of(1), key_of(2)], "left").cuts.tolist() == [7, 0]
    assert scores.lookup([key_of(1), key_of(2)], "left").lengths.tolist() == [1, 2]


def test_scores_are_found_by_model_input(scores, store):
    """A second text with the same token ids finds the score, rows read or just written alike."""
    scores.append(rows_of([(1, "", 0.5)]), PROVENANCE)
    before = scores.lookup_inputs([key_of(1001), key_of(1002)])
    scores.append(rows_of([(2, "", -3.0)]), PROVENANCE)

    assert before[0] == 0.5
    assert np.isnan(before[1])
    for opened in (scores, ScoreStore(store.folder).open(FINGERPRINT)):
        assert opened.lookup_inputs([key_of(1002), key_of(1001)]).tolist() == [-3.0, 0.5]


def test_models_do_not_see_each_other(store, scores):
    """Scores of one fingerprint are not found under another."""
    scores.append(rows_of([(1, "", 0.5)]), PROVENANCE)

    assert looked_up(store.open("cd" * 32), [1]) == [None]


def test_of_differing_scores_the_first_wins(scores, store):
    """Two machines' last bits: every reader uses the first score, after merging too."""
    for score in (0.5, 0.5, 0.5 + 2**-20):
        scores.append(rows_of([(1, "", score)]), PROVENANCE)
    before = ScoreStore(store.folder).open(FINGERPRINT)
    scores.compact()
    after = ScoreStore(store.folder).open(FINGERPRINT)

    for opened in (scores, before, after):
        assert looked_up(opened, [1]) == [0.5]
        assert len(opened) == 1


def test_provenance_is_kept_with_the_scores(scores, store):
    """Spec, description and the conformance page come back, so a warm report can show them."""
    page = (ConformanceItem("batch_invariance", "pass", "largest change 2e-07"),)
    written = Provenance(FINGERPRINT, "hf:rm-7b?dtype=bfloat16", {"dtype": "bfloat16"}, page)
    scores.append(rows_of([(1, "", 0.5)]), written)

    assert ScoreStore(store.folder).open(FINGERPRINT).provenance == written


def test_the_page_that_rests_on_most_samples_is_kept(scores, store):
    """A later proof on one text does not take the place of one on eight; of equals the later."""
    pages = [
        (n, (ConformanceItem("batch_invariance", "pass", f"{n} samples, {k}"),))
        for k, n in enumerate((1, 8, 8, 1))
    ]
    for text, (proved_on, page) in enumerate(pages):
        provenance = Provenance(FINGERPRINT, "hf:rm", {}, page, proved_on)
        scores.append(rows_of([(text, "", 0.5)]), provenance)
    reopened = ScoreStore(store.folder).open(FINGERPRINT)
    reopened.compact()

    assert scores.provenance.conformance == pages[2][1]
    assert reopened.provenance.conformance == pages[2][1]
    assert ScoreStore(store.folder).open(FINGERPRINT).provenance.conformance == pages[2][1]


def test_merging_leaves_one_part(scores, store):
    """Many small parts become one with the same rows."""
    for text in range(5):
        scores.append(rows_of([(text, "", text / 4)]), PROVENANCE)

    assert len(part_files(scores)) == 5

    scores.compact()

    assert len(part_files(scores)) == 1
    assert looked_up(ScoreStore(store.folder).open(FINGERPRINT), range(5)) == [
        0.0,
        0.25,
        0.5,
        0.75,
        1.0,
    ]


def test_a_kill_while_merging_is_harmless(scores, store):
    """Sources that were not removed any more change nothing, and the next merge removes them."""
    for text in range(3):
        scores.append(rows_of([(text, "", text / 4)]), PROVENANCE)
    sources = {path: path.read_bytes() for path in part_files(scores)}
    scores.compact()
    for path, content in sources.items():
        path.write_bytes(content)
    reopened = ScoreStore(store.folder).open(FINGERPRINT)

    assert len(part_files(scores)) == 4
    assert looked_up(reopened, range(3)) == [0.0, 0.25, 0.5]

    reopened.compact()

    assert len(part_files(scores)) == 1


def test_parts_are_merged_while_scoring_goes_on(scores, store, monkeypatch):
    """A long run does not fill the folder with tens of thousands of files."""
    monkeypatch.setattr(scores_module, "MANY_PARTS", 10)
    for text in range(35):
        scores.append(rows_of([(text, "", text / 4)]), PROVENANCE)

        assert len(part_files(scores)) < 10

    assert len(ScoreStore(store.folder).open(FINGERPRINT)) == 35


def test_large_parts_are_left_alone(scores, monkeypatch):
    """Merging does not write a large part again, nor change the order of rows around it."""
    monkeypatch.setattr(scores_module, "LARGE_PART", 3)
    for part in ([(1, "", 1.0)], [(2, "", 2.0), (3, "", 3.0), (4, "", 4.0)], [(5, "", 5.0)]):
        scores.append(rows_of(part), PROVENANCE)
    names = [path.name for path in part_files(scores)]
    scores.append(rows_of([(6, "", 6.0)]), PROVENANCE)
    scores.compact()

    assert [path.name for path in part_files(scores)][:2] == names[:2]
    assert len(part_files(scores)) == 3


def test_a_reader_survives_a_merge_by_another_process(scores, store, monkeypatch):
    """A part that vanishes between listing and reading is found again in the merged one."""
    for text in range(3):
        scores.append(rows_of([(text, "", text / 4)]), PROVENANCE)
    read_part = scores_module.read_part

    def merge_meanwhile(path, fingerprint):
        monkeypatch.setattr(scores_module, "read_part", read_part)
        scores.compact()
        return read_part(path, fingerprint)

    monkeypatch.setattr(scores_module, "read_part", merge_meanwhile)

    assert looked_up(ScoreStore(store.folder).open(FINGERPRINT), range(3)) == [0.0, 0.25, 0.5]


def test_opening_again_sees_what_others_wrote(scores, store):
    """A store that is kept open takes in the parts of other processes when it is asked again."""
    other = ScoreStore(store.folder)
    assert looked_up(other.open(FINGERPRINT), [1]) == [None]

    scores.append(rows_of([(1, "", 0.5)]), PROVENANCE)

    assert looked_up(other.open(FINGERPRINT), [1]) == [0.5]


def test_one_process_holds_the_lock_at_a_time(store, scores):
    """The second waits until the first lets go."""
    order = []
    second = ScoreStore(store.folder).open(FINGERPRINT)

    def wait_for_turn():
        with second.lock():
            order.append("second")

    with scores.lock():
        waiting = threading.Thread(target=wait_for_turn)
        waiting.start()
        waiting.join(0.2)
        order.append("first")
    waiting.join(10)

    assert order == ["first", "second"]


def test_the_folder_explains_itself(tmp_path):
    """README, .gitignore and CACHEDIR.TAG are there; a folder that exists gets what it lacks."""
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "README.md").write_text("mine")
    for name in ("new", "old"):
        make_store_folder(tmp_path / name)

        assert sorted(path.name for path in (tmp_path / name).iterdir()) == [
            ".gitignore",
            "CACHEDIR.TAG",
            "README.md",
        ]
        assert "\n*\n" in (tmp_path / name / ".gitignore").read_text()
        # The first 43 bytes that https://bford.info/cachedir/ asks for.
        assert (tmp_path / name / "CACHEDIR.TAG").read_bytes()[:43] == (
            b"Signature: 8a477f597d28d172789f06886806bc55"
        )
    assert (tmp_path / "old" / "README.md").read_text() == "mine"


def test_many_processes_may_make_the_folder_at_once(tmp_path):
    """Whoever loses the race uses the winner's folder and leaves nothing behind."""
    folder = tmp_path / "store"
    start = threading.Barrier(8)
    errors = []

    def make():
        start.wait()
        try:
            make_store_folder(folder)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert errors == []
    assert [path.name for path in tmp_path.iterdir()] == ["store"]
    assert len(list(folder.iterdir())) == 3


def test_leftover_temporary_files_are_ignored_and_removed_after_a_day(scores, store):
    """A fresh one may belong to a process that is still writing; an old one does not."""
    import os

    scores.append(rows_of([(1, "", 0.5)]), PROVENANCE)
    fresh, old = scores.folder / ".fresh.tmp", scores.folder / ".old.tmp"
    for path in (fresh, old):
        path.write_bytes(b"half a part")
    os.utime(old, (0, 0))
    reopened = ScoreStore(store.folder).open(FINGERPRINT)

    assert looked_up(reopened, [1]) == [0.5]

    remove_stale_temporaries(scores.folder)

    assert fresh.exists()
    assert not old.exists()
