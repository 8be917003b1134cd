"""The recipes of ARCHITECTURE.md, each followed once in a copy of the project.

What a recipe adds works from end to end, the tests that guard such a thing pass in the copy, and
the files that were touched are those that the page lists.
"""

import json
import re

import pytest
from project_copy import ROOT, Project

PAGE = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
MOST = {"metric": 5, "pool format": 4, "kind of reward model": 4, "engine": 4, "command": 4}
# Written by a command.
GENERATED = {"rmcheck/suite/suite.schema.json"}


def recipes():
    """Name of each recipe on the page to the files it lists."""
    found = re.findall(r"^### Add an? (.*?)$(.*?)(?=^##)", f"{PAGE}\n##", re.M | re.S)
    return {name: re.findall(r"^- `(.*?)`", text, re.M) for name, text in found}


@pytest.fixture
def project(tmp_path):
    """A copy of the project."""
    if not (ROOT / "README.md").is_file():
        pytest.skip("the tests do not stand in a checkout")
    return Project(tmp_path / "project")


def listed(recipe, name):
    """The files that a recipe lists, for a thing of this name."""
    return {file.replace("NAME", name) for file in recipes()[recipe]}


def test_the_page_has_each_recipe_within_its_number_of_files():
    """Nothing costs more files than the seams were made for."""
    assert {name: len(files) for name, files in recipes().items()} == MOST


PAIRS = [
    {"prompt": f"question {i}", "responses": [f"good answer {i}", f"bad {i}"], "golden": [1, 0]}
    for i in range(40)
]


def test_a_metric(project, tmp_path):
    """A class of two attributes and a function, which the gate, the schema and the laws know."""
    project.write(
        "rmcheck/metrics/top_hit.py",
        '''\
        """How often the pick is golden's best."""

        from dataclasses import dataclass

        import numpy as np

        from rmcheck.metrics.ratio import PromptMeanMetric
        from rmcheck.metrics.pairwise import ORDER_ONLY
        from rmcheck.metrics.registration import register
        from rmcheck.metrics.rewards import Floats


        @register
        @dataclass(frozen=True)
        class TopHit(PromptMeanMetric):
            """Share of prompts whose highest reward is golden's best response; ties share.

            Undefined where golden is constant. Higher is better.

            Caution:
                A pick that is nearly golden's best counts nothing.

            Reference:
                Ours.
            """

            name = "top_hit"
            range = (0.0, 1.0)
            invariances = ORDER_ONLY

            def prompt_values(self, proxy: Floats, golden: Floats) -> Floats:
                """(p,) share of the picks of each prompt that are best."""
                picked = proxy == proxy.max(axis=1, keepdims=True)
                best = golden == golden.max(axis=1, keepdims=True)
                shares = (picked & best).sum(axis=1) / picked.sum(axis=1)
                return np.where(best.all(axis=1), np.nan, shares)
        ''',
    )
    project.add(
        "rmcheck/metrics/registry.py",
        '    "rmcheck.metrics.pairwise": ',
        '    "rmcheck.metrics.top_hit": ("top_hit",),\n',
    )
    project.write(
        "tests/metrics/test_top_hit.py",
        '''\
        """How often the pick is golden's best."""

        from rmcheck.metrics.registry import make_metric
        from rmcheck.metrics.rewards import Rewards
        from rmcheck.testing.laws import evaluate


        def test_ties_share():
            """One of two picks is the best."""
            rewards = Rewards.from_arrays([[1.0, 1.0, 0.0]], [[2.0, 1.0, 0.0]])

            assert evaluate(make_metric("top_hit"), rewards) == 0.5
        ''',
    )
    assert project.run("-m", "rmcheck.suite.schema") == (0, "")
    assert project.run("docs/reference.py") == (0, "")

    project.test(
        "tests/metrics/test_top_hit.py",
        "tests/metrics/test_metric_laws.py",
        "tests/suite/test_suite_messages.py",
        "tests/suite/test_suite_schema.py",
        "tests/test_documentation.py",
        "-k",
        "top_hit or metric_unknown or many_at_once or committed_schema or every_metric",
    )
    suite = "checks: [{name: hits, metric: top_hit, at_least: 0.6}]\n"
    project.gate(tmp_path / "gate", suite, PAIRS, perfect=0, reversed=1)
    assert project.touched() == listed("metric", "top_hit")


def test_a_pool_format(project, tmp_path):
    """A reader of one row, by which the gate knows the format and reads it."""
    project.write(
        "rmcheck/pool/readers/starred.py",
        '''\
        """Answers with stars."""

        from collections.abc import Iterator

        from rmcheck.pool.pool import Message, Prompt
        from rmcheck.pool.readers.reader import Reader, has_list, has_text
        from rmcheck.pool.row import Row, RowFault


        def starred_prompts(row: Row) -> Iterator[Prompt | RowFault]:
            """One prompt with all its answers."""
            answers = row.rows("starred")
            yield Prompt(
                prompt_id="",
                messages=(Message("user", row.text("asked")),),
                responses=tuple(answer.text("text") for answer in answers),
                labels={"golden": tuple(answer.number("stars") for answer in answers)},
            )


        READERS = (
            Reader(
                name="starred",
                fields="asked, starred [{text, stars}]",
                matches=lambda row: has_text(row, "asked") and has_list(row, "starred"),
                prompts=starred_prompts,
            ),
        )
        ''',
    )
    readers = "rmcheck/pool/readers/__init__.py"
    project.add(readers, "    ultrafeedback,\n", "    starred,\n")
    project.add(readers, "    *rewardbench.READERS,\n", "    *starred.READERS,\n")
    rows = [
        {
            "asked": f"question {i}",
            "starred": [{"text": f"good {i}", "stars": 5}, {"text": f"bad {i}", "stars": 1}],
        }
        for i in range(40)
    ]
    project.add(
        "tests/pool/pool_formats.py",
        '    "nectar": [\n',
        f'    "starred": [{rows[0]!r}],\n',
    )
    project.add("docs/pools.md", "| `nectar` |", "| `starred` | answers with stars |\n")
    assert project.run("-m", "rmcheck.suite.schema") == (0, "")

    tests = ("tests/pool/test_pool_readers.py", "tests/suite", "tests/test_documentation.py")
    wanted = "starred or every_reader or unknown_format or committed_schema or every_metric"
    project.test(*tests, "-k", wanted)
    suite = "checks: [{name: accuracy, metric: accuracy, at_least: 0.6}]\n"
    project.gate(tmp_path / "gate", suite, rows, perfect=0, reversed=1)
    assert project.touched() - GENERATED == listed("pool format", "starred")


def test_a_kind_of_reward_model(project, tmp_path):
    """A class with a scheme and `score`, which a spec names and the gate judges."""
    project.write(
        "rmcheck/models/kinds/count.py",
        '''\
        """How often a word stands in a response: `count:WORD`."""

        from collections.abc import Sequence
        from typing import ClassVar, Self

        import numpy as np

        from rmcheck.models.checkpoint.fingerprint import fingerprint
        from rmcheck.models.engines.asked import Floats
        from rmcheck.models.model import ReadyModel
        from rmcheck.models.sample import Encoded
        from rmcheck.models.spec import ModelSpec, Setting


        class CountRewardModel(ReadyModel):
            """Occurrences of a word."""

            scheme: ClassVar[str] = "count"
            settings: ClassVar[tuple[Setting, ...]] = ()
            kept = False

            def __init__(self, word: str) -> None:
                self.word, self.spec = word, f"count:{word}"
                self.fingerprint = fingerprint({"scheme": self.scheme, "word": word})

            @classmethod
            def from_spec(cls, spec: ModelSpec) -> Self:
                """The word is the location."""
                return cls(spec.location)

            def score(self, batch: Sequence[Encoded]) -> Floats:
                """Occurrences in each response."""
                return np.array([float(e.sample.response.count(self.word)) for e in batch])
        ''',
    )
    project.add(
        "rmcheck/models/registry.py",
        '    "ensemble": ',
        '    "count": "rmcheck.models.kinds.count:CountRewardModel",\n',
    )
    project.add(
        "docs/models.md", "## `ensemble:", "## `count:WORD`\n\nHow often a word is said.\n\n"
    )
    project.write(
        "tests/models/test_count.py",
        '''\
        """How often a word stands in a response."""

        from rmcheck.models.sample import Sample
        from rmcheck.models.registry import open_model
        from rmcheck.pool.pool import Message


        def test_words_are_counted():
            """Two of them are a reward of 2."""
            model = open_model("count:so")
            sample = Sample("p", 0, (Message("user", "?"),), "so so")

            assert model.score(model.encode([sample])).tolist() == [2.0]
        ''',
    )

    tests = ("tests/models/test_count.py", "tests/models/test_model_spec.py")
    wanted = "counted or spec or every_setting"
    project.test(*tests, "tests/test_documentation.py", "-k", wanted)
    suite = "checks: [{name: accuracy, metric: accuracy, at_least: 0.6}]\n"
    codes = {"count:good": 0, "count:bad": 1}
    project.gate(tmp_path / "gate", suite, PAIRS, **codes)
    assert project.touched() == listed("kind of reward model", "count")


def test_an_engine(project):
    """Another way to a classifier's numbers, proved like every other, gives the same rewards."""
    pytest.importorskip("transformers")
    project.write(
        "rmcheck/models/kinds/classifier/alone.py",
        '''\
        """A classifier by an engine that takes one row at a time: `alone:DIR`."""

        from collections.abc import Sequence
        from typing import ClassVar

        from rmcheck.models.engines.asked import Asked, Floats, Way
        from rmcheck.models.engines.torch.classifier import TorchScorer
        from rmcheck.models.kinds.classifier.hf import TransformersRewardModel


        class OneRowAtATime(TorchScorer):
            """An engine without any batch."""

            def numbers(
                self, rows: Sequence[Asked], way: Way = "padded", **how: int
            ) -> list[Floats]:
                """Every row by itself."""
                numbers = super().numbers
                return [found for row in rows for found in numbers([row])]


        class AloneRewardModel(TransformersRewardModel):
            """`hf:` on that engine."""

            scheme: ClassVar[str] = "alone"
            engine: ClassVar[type[TorchScorer]] = OneRowAtATime
        ''',
    )
    project.add(
        "rmcheck/models/registry.py",
        '    "ensemble": ',
        '    "alone": "rmcheck.models.kinds.classifier.alone:AloneRewardModel",\n',
    )
    project.add("docs/models.md", "## `ensemble:", "## `alone:DIR`\n\nAs `hf:`, row by row.\n\n")
    project.write(
        "tests/models/test_alone.py",
        '''\
        """An engine without any batch."""

        import numpy as np
        import tiny_models

        from rmcheck.models.registry import open_model


        def test_rewards_are_those_of_batches(tmp_path):
            """It passes its proof, and rewards agree with `hf:` to rounding."""
            folder = tiny_models.llama(tmp_path / "rm")
            rewards = []
            for scheme in ("hf", "alone"):
                model = open_model(f"{scheme}:{folder}?prefix=off").load()
                encoded = model.encode(tiny_models.samples())
                proven = model.prove(encoded)
                rewards.append(model.score(encoded))

            assert {item.status for item in proven.items} <= {"pass", "note"}
            np.testing.assert_allclose(*rewards, atol=1e-5)
        ''',
    )

    tests = ("tests/models/test_alone.py", "tests/test_documentation.py")
    project.test(*tests, "-k", "rewards_are_those or every_setting")
    assert project.touched() == listed("engine", "alone")


def test_a_command(project, tmp_path):
    """A module with `add_arguments` and `run`, which the help and the page of commands list."""
    project.write(
        "rmcheck/cli/rows.py",
        '''\
        """`rmcheck rows`: how many prompts and responses a pool has."""

        import argparse


        def add_arguments(command: argparse.ArgumentParser) -> None:
            """Options of the command."""
            command.add_argument("pool", help="file of a pool")


        def run(options: argparse.Namespace) -> int:
            """Count."""
            from rmcheck.pool.reading import read_pool

            prompts = read_pool(options.pool).prompts
            print(f"{len(prompts)} prompts, {sum(len(p.responses) for p in prompts)} responses")
            return 0
        ''',
    )
    project.add("rmcheck/cli/__init__.py", '    "parity": ', '    "rows": "how large a pool is",\n')
    assert project.run("docs/reference.py") == (0, "")
    project.write(
        "tests/test_rows_command.py",
        '''\
        """`rmcheck rows`."""

        from rmcheck.cli import main


        def test_rows_are_counted(tmp_path, capsys):
            """Prompts and responses."""
            pool = tmp_path / "pool.jsonl"
            pool.write_text('{"prompt": "a", "responses": ["b", "c"], "golden": [1, 0]}')

            assert main(["rows", str(pool)]) == 0
            assert capsys.readouterr().out == "1 prompts, 2 responses\\n"
        ''',
    )
    file = tmp_path / "pool.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in PAIRS))
    main = "import sys; from rmcheck.cli import main; sys.exit(main())"

    tests = ("tests/test_rows_command.py", "tests/test_documentation.py")
    project.test(*tests, "-k", "rows or command")
    assert project.run("-c", main, "rows", file) == (0, "40 prompts, 80 responses\n")
    assert "how large a pool is" in project.run("-c", main, "--help")[1]
    assert project.touched() == listed("command", "rows")
