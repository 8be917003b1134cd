"""Which files are suites, and loading many of them."""

import subprocess
import sys

import pytest

from rmcheck.errors import UsageError
from rmcheck.suite.detect import is_suite, suite_files

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
        ("a.YAML", b"rmcheck: 1\n", True),
        ("a.yaml", b"rmchek: 1\n", True),
        ("a.yaml", b"# first\n---\nRMcheck: 1\n", True),
        ("a.yaml", b"rmcheck 1\npool: {}\n", True),
        ("a.yaml", b"rmcheck=1\n", True),
        ("a.yaml", b"'rmcheck': 1\n", True),
        ("a.yaml", b'{"rmcheck": 1, "pool": {}}', True),
        ("a.yaml", b"  rmcheck: 1\n  pool: {}\n", True),
        ("a.yaml", b"name: x\nchecks:\n  - a\npool: {}\n", True),
        ("a.yaml", "rmcheck: 1\n".encode("utf-16"), True),
        ("a.yaml", "rmcheck: 1\n".encode("utf-16-le"), True),
        ("a.yaml", "rmcheck: 1\n".encode("utf-32"), True),
        ("a.yaml", b"checks: []\n", False),
        ("a.yaml", b"pool: {vmImage: ubuntu-latest}\nsteps:\n- script: make\n", False),
        ("a.yaml", b"services:\n  rmcheck:\n    image: x\n", False),
        ("a.yaml", b"stages: [test]\nrmcheck:\n  script: make gate\n", False),
        ("a.yaml", b"rmcheck:\n  script: make gate\n", False),
        ("a.yaml", b"check: 1\n", False),
        ("a.yaml", b"name: rmcheck\non: push\n", False),
        ("a.yaml", b"- rm\n- check\n", False),
        ("a.yaml", b"jobs:\n  rmcheck: {run: x}\n", False),
        ("a.yaml", b"# rmcheck: 1\n", False),
        ("a.yaml", b"rmcheck_model: x\n", False),
        ("a.yaml", b"", False),
        ("a.txt", b"rmcheck: 1\n", False),
    ],
)
def test_a_suite_is_told_by_its_header_or_sections_misspelt_or_not(
    tmp_path, name, content, expected
):
    """YAML of other tools is left alone, a damaged or misspelt suite is not."""
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

    files = suite_files([tmp_path, tmp_path / "b.yaml"])

    assert [file.stem for file in files] == ["a", "b", "c"]


@pytest.mark.parametrize("given", [True, False])
def test_no_suites_is_an_error(tmp_path, given):
    """An empty folder does not pass validation."""
    with pytest.raises(UsageError, match="no suite files"):
        suite_files([tmp_path] if given else [])
