"""Which files are suites, and loading many of them."""

import subprocess
import sys

import pytest

from rmcheck.errors import SuiteError, UsageError
from rmcheck.suite.detect import is_suite
from rmcheck.suite.validate import load_suites

GOOD = """\
rmcheck: 1
pool: {path: pool.jsonl}
checks: [{name: accuracy, metric: accuracy, at_least: 0.7}]
"""


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.yaml", b"rmcheck: 1\n", True),
        ("a.yml", b"# first\nname: x\r\nrmcheck : 2\r\n", True),
        ("a.yaml", b"\xef\xbb\xbfrmcheck: 1\n", True),
        ("a.yaml", b"rmcheck: [not, yaml", True),
        ("a.yaml", b"checks: []\npool: {}\n", False),
        ("a.yaml", b"jobs:\n  rmcheck: {run: x}\n", False),
        ("a.yaml", b"# rmcheck: 1\n", False),
        ("a.yaml", b"rmcheck_model: x\n", False),
        ("a.yaml", b"", False),
        ("a.txt", b"rmcheck: 1\n", False),
    ],
)
def test_a_suite_is_yaml_with_the_version_key_at_the_margin(tmp_path, name, content, expected):
    """YAML of other tools is left alone, a damaged suite is not."""
    path = tmp_path / name
    path.write_bytes(content)

    assert is_suite(path) is expected


def test_what_cannot_be_read_is_no_suite(tmp_path):
    """Collection walks past folders and dangling links."""
    (tmp_path / "folder.yaml").mkdir()
    (tmp_path / "link.yaml").symlink_to(tmp_path / "nowhere")

    assert not is_suite(tmp_path / "folder.yaml")
    assert not is_suite(tmp_path / "link.yaml")


def test_looking_at_a_file_imports_no_yaml_and_no_numpy():
    """Collection asks for every YAML file of a repository."""
    code = "import sys, rmcheck.suite.detect; print({'yaml', 'numpy'} & set(sys.modules))"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "set()"


def test_a_folder_gives_its_suites_in_order_and_leaves_other_yaml_alone(tmp_path):
    """Each suite once, also when it is named beside its folder."""
    (tmp_path / "deep").mkdir()
    for name in ("b.yaml", "a.yml", "deep/c.yaml"):
        (tmp_path / name).write_text(GOOD)
    (tmp_path / "ci.yaml").write_text("on: push\n")

    suites = load_suites([tmp_path, tmp_path / "b.yaml"])

    assert [suite.name for suite in suites] == ["a", "b", "c"]


def test_the_problems_of_all_files_come_together(tmp_path):
    """One run of validation shows what is wrong everywhere."""
    (tmp_path / "a.yaml").write_text(GOOD.replace("0.7", "70"))
    (tmp_path / "b.yaml").write_text(GOOD)
    (tmp_path / "c.yaml").write_text(GOOD.replace("accuracy,", "acuracy,", 2))

    with pytest.raises(SuiteError) as caught:
        load_suites([tmp_path])

    assert [problem.path for problem in caught.value.problems] == [
        str(tmp_path / "a.yaml"),
        str(tmp_path / "c.yaml"),
    ]


def test_a_file_named_on_its_own_must_be_a_suite(tmp_path):
    """What somebody points at is not skipped over."""
    path = tmp_path / "ci.yaml"
    path.write_text("on: push\n")

    with pytest.raises(SuiteError, match="no 'rmcheck: 1'"):
        load_suites([path])


@pytest.mark.parametrize("given", [True, False])
def test_no_suites_is_an_error(tmp_path, given):
    """An empty folder does not pass validation."""
    with pytest.raises(UsageError, match="no suite files"):
        load_suites([tmp_path] if given else [])
