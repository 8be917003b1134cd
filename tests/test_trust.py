"""What a suite from a stranger may do: name models, and neither run code nor show files."""

import json
import sys

import nursery
import pytest

from rmcheck.cli import main
from rmcheck.errors import PoolError, SuiteError, UsageError
from rmcheck.models.registry import open_model
from rmcheck.models.trust import trusting
from rmcheck.pool.reading import read_pool
from rmcheck.probes.probe_file import read_probes

SUITE = """\
rmcheck: 1
name: demo
pool: {path: pool.jsonl}
golden: {model: "MODEL"}
checks:
  - {name: accuracy, metric: accuracy, at_least: 0.5}
"""
# A package and a module that leave a trace where they are imported.
TRACE = "from pathlib import Path\nPath(__file__).with_suffix('.ran').touch()\n"
RULE = TRACE + "def length(prompts, responses):\n    return [float(len(r)) for r in responses]\n"


@pytest.fixture
def world(tmp_path, monkeypatch):
    """A pool, a suite to be written, and a package beside them, in the current directory."""
    rows = [
        {"prompt_id": f"p{i}", "prompt": f"q {i}", "responses": ["a" * j for j in range(1, 5)]}
        for i in range(40)
    ]
    (tmp_path / "pool.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "trusted_pkg").mkdir()
    (tmp_path / "trusted_pkg" / "__init__.py").write_text(TRACE)
    (tmp_path / "trusted_pkg" / "rules.py").write_text(RULE)
    (tmp_path / "pair.yaml").write_text(
        "members: ['python:trusted_pkg.rules:length', 'fake:random']\n"
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


def gate(world, golden, *options):
    """A gate of its own process on a suite with this golden model."""
    (world / "demo.yaml").write_text(SUITE.replace("MODEL", golden))
    command = [sys.executable, "-m", "pytest", "demo.yaml", "--rmcheck", *options]
    return nursery.run([*command, "--rmcheck-model=fake:length_biased"], cwd=world)


def ran(world):
    """Modules that were imported."""
    return sorted(path.stem for path in world.rglob("*.ran"))


@pytest.mark.parametrize(
    ("golden", "what"),
    [
        ("python:trusted_pkg.rules:length", "which runs a module"),
        ("hf:rm?trust_remote_code=yes", "which runs the checkpoint's own code"),
        ("ensemble:pair.yaml?scale=prompt", "which runs a module"),
    ],
)
def test_a_suite_names_no_code(world, golden, what):
    """It is an error of the suite, with the option that would allow it, and nothing has run."""
    done = gate(world, golden)

    assert done.returncode == 2
    assert what in done.stdout
    assert "pytest --rmcheck-trust-suites" in done.stdout
    assert ran(world) == []


@pytest.mark.parametrize("golden", ["python:trusted_pkg.rules:length", "ensemble:pair.yaml"])
def test_with_leave_it_does(world, golden):
    """The option is for whoever knows the files."""
    done = gate(world, golden, "--rmcheck-trust-suites")

    assert done.returncode in (0, 1)
    assert "1 check:" in done.stdout
    assert ran(world) == ["__init__", "rules"]


def test_there_is_no_ini_key(world):
    """A file of the repository cannot say that files of the repository are trusted."""
    (world / "pytest.ini").write_text("[pytest]\nrmcheck_trust_suites = yes\n")

    assert "pytest --rmcheck-trust-suites" in gate(world, "python:trusted_pkg.rules:length").stdout


def test_collecting_imports_no_module_of_a_suite(world):
    """Not even the package around it, and with leave too: it is looked for, not imported."""
    done = gate(
        world, "python:trusted_pkg.rules:length", "--rmcheck-trust-suites", "--collect-only"
    )

    assert done.returncode == 0
    assert ran(world) == []


def test_a_module_in_folders_without_init_is_found(world):
    """Namespace packages, one in another."""
    (world / "outer" / "inner").mkdir(parents=True)
    (world / "outer" / "inner" / "rules.py").write_text(RULE)

    model = open_model("python:outer.inner.rules:length")

    assert ran(world) == []
    model.load()
    assert ran(world) == ["rules"]


def test_what_the_user_names_may_run_code(world):
    """On the command line and in code, with an ensemble file of theirs; what files name may not."""
    assert open_model("python:trusted_pkg.rules:length")
    assert open_model("ensemble:pair.yaml?scale=prompt")
    with pytest.raises(UsageError, match="a file names this model"):
        open_model("python:trusted_pkg.rules:length", given=False)
    with trusting(True):
        assert open_model("python:trusted_pkg.rules:length", given=False)


def test_commands_have_the_option(world, capsys):
    """Those that read suites."""
    (world / "demo.yaml").write_text(SUITE.replace("MODEL", "python:trusted_pkg.rules:length"))
    arguments = ["curve", "demo.yaml", "--model=fake:random"]

    assert main(arguments) == 2
    assert "--trust-suites for a command" in capsys.readouterr().err
    assert main([*arguments, "--trust-suites"]) == 0


@pytest.mark.parametrize("name", ["secret", "secret.jsonl"])
def test_nothing_is_shown_of_a_file_that_is_no_pool(tmp_path, name):
    """A suite may name any file."""
    (tmp_path / name).write_text("root:$6$hash:20228:0:99999:7:::\n")

    with pytest.raises(PoolError) as caught:
        read_pool(tmp_path / name)

    assert "neither JSON Lines, a JSON list nor Parquet" in str(caught.value)
    assert "hash" not in str(caught.value)


@pytest.mark.parametrize("content", ["{{ password_hunter2 }}", "{% password_hunter2 %}"])
def test_nothing_is_shown_of_a_template_elsewhere(tmp_path, content):
    """A judge file may name any file; those beside it are explained."""
    (tmp_path / "judges").mkdir()
    judge = tmp_path / "judges" / "judge.yaml"
    for place, shown in ((tmp_path, False), (tmp_path / "judges", True)):
        (place / "t.jinja").write_text(content)
        judge.write_text(
            f"engine: hf:x\ntemplate: {place / 't.jinja'}\nread: {{yes: [a], no: [b]}}\n"
        )

        with pytest.raises(UsageError) as caught:
            open_model(f"judge:{judge}")

        assert ("hunter2" in str(caught.value)) is shown


@pytest.mark.parametrize(
    "read",
    [
        read_probes,
        lambda path: open_model(f"judge:{path}", given=False),
        lambda path: open_model(f"ensemble:{path}", given=False),
    ],
    ids=["probes", "judge", "ensemble"],
)
@pytest.mark.parametrize("content", ["root:hunter2:20228", "- hunter2: [", "{key: hunter2}"])
def test_nothing_is_shown_of_another_file(tmp_path, read, content):
    """A suite may name any file as that of a judge, an ensemble or probes."""
    (tmp_path / "secret.yaml").write_text(f"# mine\n{content}\n")

    with pytest.raises((UsageError, SuiteError)) as caught:
        read(tmp_path / "secret.yaml")

    assert "so it is another file; nothing of it is shown" in str(caught.value)
    assert "hunter2" not in str(caught.value)
