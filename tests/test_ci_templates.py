"""What other projects use in CI: a GitHub Action, a GitLab component, a hook of pre-commit."""

import json
import os
import re
import stat
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import jsonschema
import pytest
import yaml

from rmcheck.cli import main
from rmcheck.cli.init import GITHUB, GITLAB

ROOT = Path(__file__).parent.parent
POOL = "\n".join(
    json.dumps(
        {"prompt_id": f"p{i}", "prompt": f"{i}?", "responses": ["a", "bb"], "golden": [1, 0]}
    )
    for i in range(40)
)
SUITE = """\
rmcheck: 1
name: demo
resamples: 500
pool: {path: pool.jsonl}
checks: [{name: accuracy, metric: accuracy, at_least: 0.7}]
"""


@pytest.fixture
def project(tmp_path):
    """A project with a suite, and an installer that only notes what it is asked for."""
    (tmp_path / "suites").mkdir()
    (tmp_path / "suites" / "pool.jsonl").write_text(POOL)
    (tmp_path / "suites" / "demo.yaml").write_text(SUITE)
    tools = tmp_path / "tools"
    tools.mkdir()
    noting = f'#!/bin/sh\nprintf "%s\\n" "$*" >> {tmp_path}/installed\n'
    python = f'#!/bin/sh\n[ "$2" = pip ] && exit 0\nexec {sys.executable} "$@"\n'
    for name, text in (("uv", noting), ("python", python)):
        (tools / name).write_text(text)
        (tools / name).chmod(stat.S_IRWXU)
    return tmp_path


def bash(project, script, **environment):
    """A step as a runner has it: bash that stops at the first failure, in the project."""
    path = f"{project / 'tools'}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script],
        cwd=project,
        env={**os.environ, "PATH": path, "CI": "true", **environment},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def action(inputs):
    """The steps of the action that run a script, with these inputs."""
    text = yaml.safe_load((ROOT / "action.yml").read_text())
    given = {name: one.get("default", "") for name, one in text["inputs"].items()} | inputs

    def filled(value):
        return re.sub(r"\$\{\{ inputs\.(\w+) \}\}", lambda match: given[match[1]], value)

    for step in text["runs"]["steps"]:
        if "run" in step:
            assert "${{" not in step["run"]  # an input is data, never a part of the script
            yield step["run"], {name: filled(value) for name, value in step["env"].items()}


@pytest.mark.parametrize(
    ("model", "gate", "code"), [("perfect", "open", 0), ("reversed", "closed", 1)]
)
def test_the_action_installs_and_gates(model, gate, code, project):
    """Its exit code decides; the summary, the report and the outputs are there either way."""
    inputs = {"model": f"fake:{model}", "baseline": "fake:random", "arguments": "-q --tb=no"}
    github = {
        "GITHUB_ACTION_PATH": "/action",
        "GITHUB_OUTPUT": str(project / "output"),
        "GITHUB_STEP_SUMMARY": str(project / "summary.md"),
        "GITHUB_ACTIONS": "true",
    }
    (install, its), (run, env) = action(inputs)

    assert bash(project, install, **its, **github).returncode == 0
    done = bash(project, run, **env, **github)

    assert done.returncode == code, done.stdout + done.stderr
    assert (project / "installed").read_text().splitlines() == [
        "pip install --system torch --torch-backend=cpu",
        "pip install --system /action[hf,report]",
    ]
    assert (project / "output").read_text() == f"report=rmcheck-report\ngate={gate}\n"
    assert f"The gate is {gate}." in (project / "summary.md").read_text()
    for name in ("report.html", "report.json", "report.md", "junit.xml"):
        assert (project / "rmcheck-report" / name).exists()
    assert ("::error file=suites/demo.yaml,line=5" in done.stdout) == bool(code)


def test_an_input_cannot_run_anything(project):
    """It stays one argument, whatever it says."""
    inputs = {"model": 'x"; touch owned; $(touch owned)', "suites": "$(touch owned)"}
    *_, (run, env) = action(inputs)

    done = bash(project, run, **env, GITHUB_OUTPUT=str(project / "output"))

    assert done.returncode == 4
    assert not (project / "owned").exists()


def test_the_gitlab_component_gates(project):
    """Its script runs in a shell, and the report that the job keeps is JUnit with properties."""
    head, job = yaml.safe_load_all(_with_inputs(model="fake:reversed"))
    (step,) = job.values()
    script = "\n".join(step["script"])

    done = bash(project, script, **step["variables"])

    assert "model" in head["spec"]["inputs"]
    assert done.returncode == 1, done.stdout + done.stderr
    junit = project / step["artifacts"]["reports"]["junit"]
    assert 'name="rmcheck.verdict" value="fail"' in junit.read_text()
    assert junit.parent.name in step["artifacts"]["paths"]


def _with_inputs(**given):
    """The component as GitLab fills it in."""
    text = (ROOT / "templates" / "gate.yml").read_text()
    inputs = next(yaml.safe_load_all(text.partition("\n---\n")[0]))["spec"]["inputs"]
    known = {name: one.get("default", "") for name, one in inputs.items()} | given
    return re.sub(r"\$\[\[ inputs\.(\w+) \]\]", lambda match: known[match[1]], text)


def pipelines():
    """Each file for a service of CI, with the name of its published schema."""
    blocks = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / "ci.md").read_text(), re.DOTALL)
    texts = {
        "action": ("github-actions", (ROOT / "action.yml").read_text()),
        "own CI": ("github-workflows", (ROOT / ".github/workflows/ci.yml").read_text()),
        "init, GitHub": ("github-workflows", GITHUB.format(suite="suites/a.yaml")),
        "init, GitLab": ("gitlab-ci", GITLAB.format(suite="suites/a.yaml")),
        "component": ("gitlab-ci", _with_inputs(model="hf:rm").partition("\n---\n")[2]),
        "page, GitHub": ("github-workflows", next(text for text in blocks if "jobs:" in text)),
        "page, GitLab": ("gitlab-ci", next(text for text in blocks if "include:" in text)),
    }
    return [pytest.param(*found, id=name) for name, found in texts.items()]


@pytest.mark.parametrize(("schema", "text"), pipelines())
def test_a_pipeline_is_what_its_service_publishes_as_valid(schema, text):
    """By the schemas that GitHub and GitLab publish for editors."""
    shipped = files("check_jsonschema") / "builtin_schemas" / "vendor" / f"{schema}.json"
    known = json.loads(shipped.read_text("utf-8"))
    # YAML 1.1 takes the key `on` for true.
    pipeline = {"on" if k is True else k: value for k, value in yaml.safe_load(text).items()}

    jsonschema.validators.validator_for(known)(known).validate(pipeline)


def test_the_hook_of_pre_commit_checks_the_suites(project, monkeypatch, capsys):
    """Its entry with its arguments is a command that fails on a mistake."""
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    command = [*hook["entry"].split(), *hook["args"]]
    monkeypatch.chdir(project)

    assert command[0] == "rmcheck"
    assert main(command[1:]) == 0
    (project / "suites" / "demo.yaml").write_text(SUITE.replace("at_least", "at_leats"))
    assert main(command[1:]) == 2
    assert "at_leats" in capsys.readouterr().err
    for changed in ("suites/demo.yaml", "elsewhere/demo.yml", "data/pool.jsonl.gz", "pairs.csv"):
        assert re.search(hook["files"], changed)
