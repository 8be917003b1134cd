"""`rmcheck sample --policy`: a pool file that survives its writer."""

import subprocess
import sys
import time
from dataclasses import replace

import nursery
import pytest
from filelock import FileLock

from rmcheck.cli import main
from rmcheck.errors import UsageError
from rmcheck.lab.sampling.sampled_pool import drawn_prompts, sample_pool
from rmcheck.policies.fake import FakePolicy
from rmcheck.policies.policy import Decoding
from rmcheck.pool.reading import read_pool

POOL = '{"prompt": "q", "responses": ["a"]}'


class Counting(FakePolicy):
    """Counts what it is asked, and fails once it was asked for too many prompts."""

    def __init__(self, fails_after=1000):
        super().__init__(["four", "", "two and two is four", "five"])
        self.asked = []
        self.fails_after = fails_after

    def sample(self, prompts, n, seed=0, decoding=None):
        """As the fake does, and written down."""
        if len(self.asked) >= self.fails_after:
            raise KeyboardInterrupt
        self.asked += [prompt.prompt_id for prompt in prompts]
        return super().sample(prompts, n, seed, decoding)


@pytest.fixture
def whole(prompts, tmp_path):
    """Bytes of the file of an undisturbed run with four responses."""
    sample_pool(Counting(), prompts, tmp_path / "whole.jsonl", n=4)
    return (tmp_path / "whole.jsonl").read_bytes()


def test_rows_are_a_native_pool_with_slices_and_the_policy(prompts, tmp_path):
    """Old responses and labels are gone; `policy` is the fingerprint's first eight digits."""
    policy = Counting()
    found = sample_pool(policy, prompts, tmp_path / "out.jsonl", n=8)
    pool = read_pool(tmp_path / "out.jsonl")

    assert pool.format == "native"
    assert pool.label_columns == ()
    assert [p.prompt_id for p in pool.prompts] == ["p0", "p1", "p2", "p3"]
    assert [p.messages for p in pool.prompts] == [p.messages for p in prompts]
    assert pool.prompts[0].slices == {"category": "code", "policy": policy.fingerprint[:8]}
    assert (found.prompts, found.kept, found.responses) == (4, 0, 32)


def test_a_prompts_ground_truth_is_kept(prompts, tmp_path):
    """Numbers as they were written and objects, so that a verifier finds them in the new pool."""
    columns = {"answer": 7, "reward_model": {"ground_truth": "7"}, "tags": ["a"], "score": (1,)}
    with_truth = [replace(prompt, columns=columns) for prompt in prompts]
    sample_pool(Counting(), with_truth, tmp_path / "out.jsonl", n=2)

    kept = read_pool(tmp_path / "out.jsonl").prompts[0].columns
    assert kept["answer"] == 7
    assert kept["reward_model"] == {"ground_truth": "7"}
    assert not {"tags", "score"} & kept.keys()


def test_a_stopped_run_goes_on_and_nothing_is_sampled_twice(prompts, tmp_path, whole):
    """Two rows are written, the rest follows, and the file is that of an undisturbed run."""
    path = tmp_path / "out.jsonl"
    with pytest.raises(KeyboardInterrupt):
        sample_pool(Counting(fails_after=2), prompts, path, n=4)
    policy = Counting()
    found = sample_pool(policy, prompts, path, n=4)

    assert policy.asked == ["p2", "p3"]
    assert (found.prompts, found.kept) == (4, 2)
    assert path.read_bytes() == whole


def test_a_file_cut_at_any_byte_becomes_the_whole_one(prompts, tmp_path, whole):
    """A kill in the middle of a row, of its first bytes or before its line break loses that row."""
    path = tmp_path / "out.jsonl"
    for at in range(0, len(whole) + 1, 7):
        path.write_bytes(whole[:at])
        sample_pool(Counting(), prompts, path, n=4)

        assert path.read_bytes() == whole


def test_a_finished_file_needs_no_policy(prompts, tmp_path):
    """Nothing is loaded or asked when every row is there."""
    sample_pool(Counting(), prompts, tmp_path / "out.jsonl", n=4)
    policy = Counting()
    policy.load = lambda: pytest.fail("loaded")
    found = sample_pool(policy, prompts, tmp_path / "out.jsonl", n=4)

    assert policy.asked == []
    assert found.kept == 4


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n": 8}, "line 1: responses was 4 and is 8"),
        ({"seed": 1}, "seed was 0 and is 1"),
        ({"decoding": Decoding(max_tokens=3)}, "max_tokens was 512 and is 3"),
        ({"decoding": Decoding(temperature=0.5)}, "temperature was 1.0 and is 0.5"),
        ({"policy": FakePolicy(["other"])}, "fingerprint was "),
        ({"prompts": ()}, "prompt 'p0' is not among those asked for"),
    ],
)
def test_other_settings_are_refused_with_the_difference(changes, message, prompts, tmp_path, whole):
    """Rows of another policy, seed, length, temperature or pool are neither kept nor removed."""
    given = {"policy": Counting(), "prompts": prompts, "n": 4} | changes
    path = tmp_path / "whole.jsonl"

    with pytest.raises(UsageError, match=message):
        sample_pool(given.pop("policy"), given.pop("prompts"), path, **given)
    assert path.read_bytes() == whole


def test_another_text_under_the_same_id_is_refused(prompts, tmp_path, whole):
    """A pool that was edited in between is another pool."""
    edited = [replace(prompts[0], messages=prompts[1].messages), *prompts[1:]]

    with pytest.raises(UsageError, match="line 1: prompt 'p0' had another text"):
        sample_pool(Counting(), edited, tmp_path / "whole.jsonl", n=4)


@pytest.mark.parametrize("content", [POOL, POOL + "\n", "notes", "notes\n"])
def test_a_file_of_another_origin_is_not_touched(content, prompts, tmp_path):
    """A pool that people wrote, or no pool at all, is refused and stays as it is."""
    path = tmp_path / "out.jsonl"
    path.write_text(content)

    with pytest.raises(UsageError, match="line 1: it is no row"):
        sample_pool(Counting(), prompts, path, n=4)
    assert path.read_text() == content


def test_a_row_that_stands_twice_is_refused(prompts, tmp_path, whole):
    """Two copies of a row are an accident that no later row may hide."""
    path = tmp_path / "out.jsonl"
    path.write_bytes(whole + whole.splitlines(keepends=True)[0])

    with pytest.raises(UsageError, match="line 5: prompt 'p0' stands there twice"):
        sample_pool(Counting(), prompts, path, n=4)


def test_two_processes_do_not_write_one_file(prompts, tmp_path):
    """The second is refused at once."""
    with (
        FileLock(tmp_path / ".out.jsonl.lock"),
        pytest.raises(UsageError, match="another process is writing"),
    ):
        sample_pool(Counting(), prompts, tmp_path / "out.jsonl", n=4)


def test_empty_and_cut_responses_are_counted_over_the_whole_file(prompts, tmp_path):
    """Rows that were kept count as those that were sampled now."""
    path, decoding = tmp_path / "out.jsonl", Decoding(max_tokens=3)
    first = sample_pool(Counting(), prompts, path, n=8, decoding=decoding)
    again = sample_pool(Counting(), prompts, path, n=8, decoding=decoding)
    texts = [text for p in read_pool(path).prompts for text in p.responses]

    assert first.empty == again.empty == texts.count("") > 0
    assert first.cut == again.cut == texts.count("two and two") > 0


def test_fewer_drawn_prompts_are_among_more(prompts):
    """`--prompts 2` of a seed is a part of `--prompts 3`, in the order of the pool."""
    two, three = (drawn_prompts(prompts, count, 5) for count in (2, 3))

    assert {p.prompt_id for p in two} < {p.prompt_id for p in three}
    assert [p.prompt_id for p in three] == sorted(p.prompt_id for p in three)
    with pytest.raises(UsageError, match="5 prompts are asked for; the pool has 4"):
        drawn_prompts(prompts, 5, 0)


def test_the_command_samples_a_pool(pool_file, policy_folder, tmp_path, capsys):
    """A checkpoint answers; asked again, the file is already whole."""
    out = tmp_path / "sampled.jsonl"
    command = ["sample", str(pool_file), f"--policy=hf:{policy_folder}", "--responses=3"]
    command += ["--max-tokens=5", "--prompts=3", f"--out={out}"]

    assert main(command) == 0
    said = capsys.readouterr()
    assert "3 prompts, 9 responses of" in said.out
    assert f"sampling hf:{policy_folder}: 3 prompts, 3 responses each" in said.err
    before = out.read_bytes()
    assert main(command) == 0
    said = capsys.readouterr()
    assert "3 prompts (3 were there), 9 responses" in said.out
    assert said.err == ""
    assert out.read_bytes() == before


def test_a_killed_process_goes_on_from_prompts_in_a_text_file(policy_folder, tmp_path):
    """SIGKILL in the middle: the next run ends with the file of an undisturbed one."""
    (tmp_path / "prompts.txt").write_text("".join(f"what is {i}\n" for i in range(24)))
    out, whole = tmp_path / "out.jsonl", tmp_path / "whole.jsonl"
    command = ["sample", str(tmp_path / "prompts.txt"), f"--policy=hf:{policy_folder}?batch=2"]
    command += ["--responses=2", "--max-tokens=10"]
    process = nursery.Forked(
        [sys.executable, "-c", "from rmcheck.cli import main; main()", *command, f"--out={out}"],
        stdout=subprocess.DEVNULL,
        torch=True,
    )
    while not (out.exists() and out.stat().st_size) and process.poll() is None:
        time.sleep(0.02)
    process.kill()
    process.wait()
    lost = 24 - out.read_bytes().count(b"\n")

    assert main([*command, f"--out={whole}"]) == 0
    assert main([*command, f"--out={out}"]) == 0
    assert 0 < lost < 24
    assert out.read_bytes() == whole.read_bytes()


@pytest.mark.parametrize(
    ("texts", "said"), [(["a", "b"], ""), (["a", "b", "a"], "1 of 3 prompts repeat an earlier one")]
)
def test_repeated_prompts_are_told(texts, said, tmp_path, capsys):
    """Each is answered, which costs; nothing is said where none repeats."""
    path = tmp_path / "prompts.txt"
    path.write_text("\n".join(texts))

    main(["sample", str(path), "--policy=fake:x|y", "--responses=2", f"--out={tmp_path / 'out'}"])
    first, *others = capsys.readouterr().out.splitlines()

    assert ([first] if others else []) == ([f"{path}: {said}"] if said else [])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--policy=fake:a"], "--policy needs --responses"),
        (["--policy=fake:a", "--responses=0"], "0 responses a prompt"),
        (
            ["--policy=fake:a", "--responses=2", "--n=4", "--random=3"],
            "--n, --random mean nothing with --policy",
        ),
        (["--design=nested", "--responses=2"], "--responses mean nothing with --design"),
        (["--design=nested"], "--design nested needs --model, --n"),
    ],
)
def test_options_of_the_other_way_are_refused(arguments, message, pool_file, tmp_path, capsys):
    """Each of --policy and --design has its own options; what is wrong is said in one line."""
    code = main(["sample", str(pool_file), f"--out={tmp_path / 'out.jsonl'}", *arguments])

    assert code == 2
    assert message in capsys.readouterr().err


def test_exactly_one_of_design_and_policy_is_asked_for(pool_file, capsys):
    """Neither is an error of the command line."""
    with pytest.raises(SystemExit):
        main(["sample", str(pool_file), "--out=x.jsonl"])
    assert "one of the arguments --design --policy is required" in capsys.readouterr().err


def test_no_lock_is_left_beside_the_pool(prompts, tmp_path):
    """Nothing is there to be committed but the pool, after a mistake too."""
    sample_pool(Counting(), prompts, tmp_path / "out.jsonl", n=4)
    with pytest.raises(UsageError):
        sample_pool(Counting(), prompts, tmp_path / "out.jsonl", n=8)

    assert [path.name for path in tmp_path.iterdir()] == ["out.jsonl"]
