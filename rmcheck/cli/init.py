"""`rmcheck init`: a first suite for a file of data, with bounds that the data can decide."""

import argparse
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from rmcheck.errors import UsageError

if TYPE_CHECKING:
    from rmcheck.pool.pool import FaultAction, FaultKind

GITHUB = """\
name: reward model
on: [pull_request]
jobs:
  gate:
    runs-on: ubuntu-latest
    permissions: {{contents: read}}
    steps:
      - uses: actions/checkout@v4
        with: {{persist-credentials: false}}
      - uses: actions/setup-python@v5
        with: {{python-version: "3.12"}}
      # uv takes the build of torch for CPUs; the usual one brings gigabytes of CUDA.
      - run: >
          pip install uv && uv pip install --system torch --torch-backend=cpu
          && uv pip install --system "rmcheck[hf,report]"
      - uses: actions/cache/restore@v4  # scores are kept between runs
        with: {{path: .rmcheck, key: "rmcheck-${{{{ github.run_id }}}}", restore-keys: rmcheck-}}
      - run: >
          pytest {suite} --rmcheck --rmcheck-report=report --junitxml=report/junit.xml
          --rmcheck-model=hf:runs/candidate --rmcheck-baseline=hf:runs/released
      - uses: actions/cache/save@v4
        if: always()  # a gate that closes has scored, too
        with: {{path: .rmcheck, key: "rmcheck-${{{{ github.run_id }}}}"}}
      - uses: actions/upload-artifact@v4
        if: always()
        with: {{name: rmcheck, path: report}}
"""
GITLAB = """\
reward-model-gate:
  image: python:3.12
  cache: {{key: rmcheck, paths: [.rmcheck], when: always}}  # scores are kept between runs
  script:
    # uv takes the build of torch for CPUs; the usual one brings gigabytes of CUDA.
    - pip install uv && uv pip install --system torch --torch-backend=cpu
    - uv pip install --system "rmcheck[hf,report]"
    - >-
      pytest {suite} --rmcheck --rmcheck-report=report --junitxml=report/junit.xml
      --rmcheck-model=hf:runs/candidate --rmcheck-baseline=hf:runs/released
  artifacts:
    when: always
    paths: [report]
    reports: {{junit: report/junit.xml}}
"""


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Options of the command."""
    command.description = (
        "Look at a file of preference data and write a commented suite for it. Its bounds are "
        "those that a model passes in 95 % of runs whose rewards correlate 0.7 with golden inside "
        "prompts; set them again once you have measured your released model."
    )
    command.add_argument("data", type=Path, metavar="DATA", help="file or folder of a pool")
    command.add_argument(
        "--out", type=Path, metavar="FILE", help="suite to write (default: suites/NAME.yaml)"
    )
    command.add_argument("--format", metavar="NAME", help="format, where it is not seen")
    command.add_argument(
        "--ci",
        type=Path,
        metavar="FILE",
        help="pipeline to write: .github/workflows/NAME.yml, or .gitlab-ci.yml",
    )
    command.add_argument("--force", action="store_true", help="overwrite files that are there")


def run(options: argparse.Namespace) -> int:
    """Write the suite, and say what to do with it.

    Raises:
        UsageError: The data have no golden rewards, or a file is there already.
    """
    from rmcheck.pool.faults import FAULT_RULES
    from rmcheck.pool.reading import read_pool
    from rmcheck.run.draft import suite_text
    from rmcheck.run.load import load
    from rmcheck.suite.detect import is_yaml

    name = _name(options.data)
    out = options.out or Path("suites") / f"{name}.yaml"
    if not is_yaml(out):
        raise UsageError(f"{out}: a suite is YAML; name the file {out.with_suffix('.yaml')}")
    for path in filter(None, (out, options.ci)):
        if path.is_dir():
            raise UsageError(f"{path} is a folder; name a file in it, such as {path / 'gate.yml'}")
        if path.exists() and not options.force:
            raise UsageError(f"{path} is there already; --force overwrites it")
    drop: dict[FaultKind, FaultAction] = {
        kind: "drop" for kind, rule in FAULT_RULES.items() if rule.default == "fail"
    }
    pool = read_pool(options.data, format=options.format, faults=drop)
    data = Path(os.path.relpath(options.data.absolute(), out.absolute().parent)).as_posix()
    text, checks = suite_text(pool, name, data, format=options.format)
    _write(out, text)
    load(out)  # what was written is a suite
    print(f"{out}: {checks} checks on {len(pool.prompts)} prompts ({pool.format})")
    if options.ci:
        pipeline = GITLAB if "gitlab" in options.ci.name else GITHUB
        _write(options.ci, pipeline.format(suite=out.as_posix()))
        print(f"{options.ci}: runs the gate; name your checkpoints there")
    fakes = "--rmcheck-model=fake:perfect --rmcheck-baseline=fake:random"
    print(f"try it without a model: pytest {out} --rmcheck {fakes}")
    return 0


def _name(data: Path) -> str:
    """Of the suite: that of the data, without what says how they are packed."""
    stem = re.sub(r"(\.(jsonl?|ndjson|csv|parquet|gz))+$", "", data.resolve().name)
    return re.sub(r"[^\w-]+", "-", stem).strip("-") or "suite"


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
