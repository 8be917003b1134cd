"""A copy of the project, in which tests follow a recipe."""

import json
import os
import shutil
import sys
import textwrap
from pathlib import Path

import nursery

import rmcheck

ROOT = Path(__file__).resolve().parents[1]
COPIED = ("tests", "docs", "benchmarks/results", "README.md", "ARCHITECTURE.md", "pyproject.toml")


class Project:
    """A copy of the project in which a recipe is followed."""

    def __init__(self, folder):
        self.folder = folder
        leave = shutil.ignore_patterns("__pycache__", ".hypothesis")
        shutil.copytree(Path(rmcheck.__file__).parent, folder / "rmcheck", ignore=leave)
        for name in COPIED:
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            copy(ROOT / name, folder / name)
        self.before = self.contents()

    def contents(self):
        """Every file of the copy but what running it leaves."""
        files = (path for path in self.folder.rglob("*") if path.is_file())
        return {
            str(path.relative_to(self.folder)): path.read_bytes()
            for path in files
            if not {"__pycache__", ".pytest_cache", ".hypothesis"} & set(path.parts)
        }

    def write(self, name, text):
        """A new file."""
        path = self.folder / name
        assert not path.exists()
        path.write_text(textwrap.dedent(text), encoding="utf-8")

    def add(self, name, before, text):
        """Lines in a file that is there, in front of others."""
        path = self.folder / name
        old = path.read_text(encoding="utf-8")
        assert old.count(before) == 1, f"{before!r} in {name}"
        path.write_text(old.replace(before, f"{text}{before}"), encoding="utf-8")

    def run(self, *arguments, cwd=None):
        """Python with the package of the copy; what it printed, and its exit code."""
        environment = {**os.environ, "PYTHONPATH": str(self.folder), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, *arguments]
        done = nursery.run(command, cwd=cwd or self.folder, env=environment, torch=True)
        return done.returncode, done.stdout + done.stderr

    def test(self, *arguments):
        """Tests of the copy pass."""
        code, said = self.run("-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments)
        assert code == 0, said

    def gate(self, folder, suite, rows, **codes):
        """The exit code of the gate for a fake, or for a spec; rows are the pool."""
        folder.mkdir()
        (folder / "pool.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        (folder / "suite.yaml").write_text(f"rmcheck: 1\npool: {{path: pool.jsonl}}\n{suite}")
        for model, wanted in codes.items():
            spec = model if ":" in model else f"fake:{model}"
            command = ("-m", "pytest", "-q", "--rmcheck", f"--rmcheck-model={spec}", "suite.yaml")
            code, said = self.run(*command, cwd=folder)
            assert code == wanted, said

    def touched(self):
        """Files that differ from the project's."""
        now = self.contents()
        return {name for name in now if now[name] != self.before.get(name)}
