"""The pages are part of the program: what they show runs, and what there is they name."""

import re
import runpy
import shlex
import shutil
from pathlib import Path

import pytest
import yaml

from rmcheck import cli, metric_names
from rmcheck.metrics.registration import METRICS
from rmcheck.metrics.registry import HOMES, metric_class
from rmcheck.models.kinds.classifier.hf import TransformersRewardModel
from rmcheck.models.kinds.fake import FakeRewardModel
from rmcheck.models.kinds.judge.file import read_judge_file
from rmcheck.models.registry import model_class, model_schemes, open_model
from rmcheck.pool.faults import FAULT_RULES
from rmcheck.pool.reading import reader_names
from rmcheck.suite import keys
from rmcheck.suite.loader import parse_suite
from rmcheck.suite.meaning import meaning

OPTIONS = ("model", "baseline", "golden", "serving", "policy", "store", "report", "lock-timeout")
ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
NAMES = [
    "README.md",
    "ARCHITECTURE.md",
    *(f"docs/{page.name}" for page in sorted(DOCS.glob("*.md"))),
]
PAGES = {name: (ROOT / name).read_text(encoding="utf-8") for name in NAMES}
README, MODELS, CI = PAGES["README.md"], PAGES["docs/models.md"], PAGES["docs/ci.md"]


def blocks(page):
    """Language and text of each block of code."""
    return re.findall(r"^```(\w+)\n(.*?)^```$", page, flags=re.MULTILINE | re.DOTALL)


SUITES = {
    f"{name}, {number}": text
    for name, page in PAGES.items()
    for number, (language, text) in enumerate(blocks(page))
    if language == "yaml" and "rmcheck: 1" in text
}


def named(words):
    """Those of the words that no page names in code."""
    pages = "\n".join(PAGES.values())
    return [word for word in words if not re.search(rf"[`\s{{(,=:]{re.escape(word)}\b", pages)]


@pytest.mark.parametrize("text", SUITES.values(), ids=SUITES)
def test_every_suite_on_the_pages_is_valid(text):
    """A reader can start from any of them."""
    suite = parse_suite(text, ROOT / "suites" / "page.yaml")

    assert suite.checks or suite.training


def test_the_laboratory_on_its_page_is_read(tmp_path):
    """Its two parts in one file, beside the folders of the example."""
    from rmcheck.lab.file import read_laboratory

    shutil.copytree(ROOT / "suites" / "lab", tmp_path, dirs_exist_ok=True)
    parts = [text for language, text in blocks(PAGES["docs/lab.md"]) if language == "yaml"]
    (tmp_path / "page.yaml").write_text("".join(parts), encoding="utf-8")

    found = read_laboratory(tmp_path / "page.yaml")

    assert len(found.family.recipes) >= 3


def test_the_study_on_its_page_is_read(tmp_path):
    """All its keys are known."""
    from rmcheck.lab.study.study_file import load_study

    (text,) = (text for language, text in blocks(PAGES["docs/study.md"]) if language == "yaml")
    (tmp_path / "page.yaml").write_text(text, encoding="utf-8")

    assert len(load_study(tmp_path / "page.yaml").models) == 3


def test_the_judge_of_the_page_on_judges_is_read(tmp_path):
    """As it stands."""
    (text,) = (text for language, text in blocks(PAGES["docs/judges.md"]) if language == "yaml")
    (tmp_path / "judge.yaml").write_text(text, encoding="utf-8")

    assert read_judge_file(tmp_path / "judge.yaml").engine


def test_the_probes_of_the_page_on_probes_are_read(tmp_path):
    """One of its own."""
    from rmcheck.probes.probe_file import read_probes

    texts = [text for language, text in blocks(PAGES["docs/probes.md"]) if language == "yaml"]
    (text,) = (text for text in texts if text.startswith("probes:"))
    (tmp_path / "probes.yaml").write_text(text, encoding="utf-8")

    assert list(read_probes(tmp_path / "probes.yaml")) == ["sales-talk"]


def test_the_readme_is_a_first_screen_and_no_handbook():
    """Whoever reads it knows in a minute what this is, and where to go on."""
    assert len(README.splitlines()) <= 150


def anchors(page):
    """What a link into a page can name: its headings as GitHub and the site write them."""
    headings = re.findall(r"^#+ (.*)$", page, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", NAMES)
def test_every_link_of_a_page_leads_somewhere(name):
    """To a file of the project, and to a heading in it."""
    links = re.findall(r"\]\((?!https?:)([^)\s]*?)(?:#([^)\s]*))?\)", PAGES[name])
    broken = []
    for file, anchor in links:
        path = (ROOT / name).parent / file if file else ROOT / name
        if not path.exists() or (anchor and anchor not in anchors(path.read_text("utf-8"))):
            broken.append((file, anchor))

    assert broken == []


def test_every_page_is_in_the_navigation_of_the_site():
    """And the site names no page that is not there."""
    site = yaml.safe_load((ROOT / "mkdocs.yml").read_text("utf-8"))
    pages = [page for group in site["nav"] for page in flat(group)]

    assert sorted(f"docs/{page}" for page in pages) == sorted(n for n in NAMES if "/" in n)


def flat(entry):
    """The pages of an entry of the navigation."""
    if isinstance(entry, str):
        return [entry]
    return [page for below in entry.values() for one in flat_list(below) for page in flat(one)]


def flat_list(below):
    """What stands under a title: a page or a list."""
    return below if isinstance(below, list) else [below]


REFERENCE = runpy.run_path(str(DOCS / "reference.py"))["PAGES"]


@pytest.mark.parametrize("name", REFERENCE)
def test_the_committed_pages_of_reference_are_those_of_the_code(name):
    """`python docs/reference.py` writes them."""
    assert REFERENCE[name]() == PAGES[f"docs/{name}"]


@pytest.mark.parametrize("name", HOMES)
def test_the_docstring_of_every_metric_says_what_it_means(name):
    """When not to believe it, and where its formula is from."""
    said = meaning(metric_class(name))

    assert said.summary.endswith(".")
    assert len(said.caution) > 40
    assert said.reference
    assert all(setting.text for setting in said.settings)


def test_the_long_suite_shows_every_key():
    """Whoever looks for a key finds it in one place."""
    longest = max(SUITES.values(), key=len)

    assert [key for key in keys.SUITE if not re.search(rf"^{key}:", longest, re.MULTILINE)] == []


def pasted(pytester):
    """The suite and the row for a project of one's own, pasted, with 40 prompts like the row."""
    shown = blocks(PAGES["docs/own-project.md"])
    (row, *_), (suite, *_) = (
        [text for language, text in shown if language == wanted] for wanted in ("json", "yaml")
    )
    rows = [row.replace("blue", f"blue, case {i}") for i in range(40)]
    for name, text in {"data/pairs.jsonl": "".join(rows), "suites/mine.yaml": suite}.items():
        pytester.path.joinpath(name).parent.mkdir(exist_ok=True)
        pytester.path.joinpath(name).write_text(text)
    return pytester


def test_the_suite_and_the_row_for_ones_own_project_fit(pytester):
    """Pasted as they stand they judge: a model that knows nothing closes the gate."""
    pasted(pytester)

    closed = pytester.runpytest_inprocess("suites", "--rmcheck", "--rmcheck-model=fake:random")
    opened = pytester.runpytest_inprocess("suites", "--rmcheck", "--rmcheck-model=fake:perfect")

    closed.assert_outcomes(failed=1)
    opened.assert_outcomes(passed=1)


def commands(page, name):
    """Each command line of this name that a page shows."""
    lines = re.findall(rf"(?:^\$ |^ *- |^ {{10}})({name} .*?)(?:  +#.*)?$", page, re.MULTILINE)
    return [shlex.split(line) for line in lines]


SHOWN = [command for page in PAGES.values() for command in commands(page, "rmcheck")]


@pytest.mark.parametrize("command", SHOWN, ids=" ".join)
def test_every_command_that_the_pages_show_is_taken(command):
    """Its options exist and what it needs is there."""
    if command[-2:-1] == [">"]:
        command = command[:-2]
    arguments = command[1:]

    assert cli.parser(arguments).parse_args(arguments)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("suites", "--rmcheck-model=fake:perfect"), 0),
        (("suites", "--rmcheck-model=fake:random"), 1),
        (("suites", "--rmcheck-model=fake:nan"), 1),
        (("broken", "--rmcheck-model=fake:perfect"), 2),
        (("suites", "--rmcheck-model=fake:prefect"), 4),
        (("data", "--rmcheck-model=fake:perfect"), 5),
    ],
)
def test_the_exit_codes_on_the_page_are_those_of_the_gate(pytester, arguments, code):
    """A CI job goes by them."""
    pasted(pytester).mkdir("broken").joinpath("s.yaml").write_text("rmcheck: 1\n")

    assert pytester.runpytest_inprocess("--rmcheck", *arguments).ret == code
    assert f"\n| {code} |" in CI[: CI.index("| `rmcheck …`")]


def test_the_pipelines_on_the_page_are_yaml_with_options_that_exist():
    """What this repository has for GitHub, GitLab and pre-commit."""
    pipelines = [yaml.safe_load(text) for language, text in blocks(CI) if language == "yaml"]
    options = set(re.findall(r"--rmcheck-([\w-]+)", CI))

    first = [list(pipeline)[-1] for pipeline in pipelines]
    assert first == ["jobs", "include", "repos"]
    action = yaml.safe_load((ROOT / "action.yml").read_text("utf-8"))
    assert pipelines[0]["jobs"]["gate"]["steps"][-1]["with"].keys() <= action["inputs"].keys()
    assert options <= set(OPTIONS)


def test_every_metric_option_format_and_fault_is_named():
    """Nothing of these exists that no page mentions."""
    options = [f"--rmcheck-{name}" for name in OPTIONS]
    ini_keys = [option.removeprefix("--").replace("-", "_") for option in options]
    settings = [setting.name for setting in TransformersRewardModel.settings]

    assert named([*metric_names(), *reader_names(), *FAULT_RULES]) == []
    assert named([*options, *ini_keys, *settings]) == []


@pytest.mark.parametrize("scheme", model_schemes())
def test_every_setting_of_every_scheme_is_on_the_page_of_models(scheme):
    """A section for each scheme, and each of its settings in code somewhere on the page."""
    settings = [setting.name for setting in model_class(scheme, scheme).settings]

    assert re.search(rf"^## .*`{scheme}:", MODELS, re.MULTILINE)
    assert [name for name in settings if not re.search(rf"[`?&]{name}[`=]", MODELS)] == []


def test_the_judge_files_on_the_page_of_models_are_read(tmp_path):
    """All ways to read a verdict, as they are shown."""
    page, components = MODELS.split("\n## Components\n")
    first, second, *others = (text for language, text in blocks(page) if language == "yaml")
    asked = first[: first.index("read:")]
    whole = [f"engine: hf:judge\n{text}" for text in others]
    assert len(whole) == 2
    for number, text in enumerate([first, asked + second, *whole]):
        text = text.replace("vllm:runs/judge-8b", "http:http://host?model=m")
        (tmp_path / f"{number}.yaml").write_text(text, encoding="utf-8")

        assert read_judge_file(tmp_path / f"{number}.yaml").engine
    (checks,) = (text for language, text in blocks(components) if language == "yaml")
    suite = parse_suite(f"rmcheck: 1\npool: {{path: pool.jsonl}}\n{checks}", "suite.yaml")
    assert suite.golden_of_checks == ("human_correct", "human_clear")


@pytest.mark.parametrize("program", [text for name, text in blocks(MODELS) if name == "python"])
def test_the_programs_on_the_page_of_models_run(program):
    """That on shards ends with an assertion of its own."""
    exec(compile(program, "models.md", "exec"), {})


def test_every_fixture_and_marker_is_on_the_page_of_plain_tests(pytester):
    """Those that pytest lists."""
    page = PAGES["docs/python-tests.md"]
    listed = pytester.runpytest_inprocess("--rmcheck", "--rmcheck-model=fake:perfect", "--fixtures")
    marked = pytester.runpytest_inprocess("--rmcheck", "--rmcheck-model=fake:perfect", "--markers")
    fixtures = re.findall(
        r"^(\w+)(?: \[session scope\])? -- .*rmcheck.pytest_plugin",
        listed.stdout.str(),
        re.MULTILINE,
    )
    markers = re.findall(r"^@pytest.mark.(\w+)\S*: .*", marked.stdout.str(), re.MULTILINE)
    ours = {name for name in fixtures if name not in metric_names()} | (
        {"rmcheck", "gpu"} & {*markers}
    )

    assert {"reward_model", "rewards", "policy", "gpu"} <= ours
    assert [name for name in sorted(ours) if f"`{name}`" not in page] == []
    assert {*metric_names()} <= {*markers}


def test_every_fake_is_named_and_opens():
    """The kinds in the table are the kinds there are."""
    kinds = ["perfect", "constant", "random", "length_biased", "reversed", "nan"]

    assert named(kinds) == []
    assert all(isinstance(open_model(f"fake:{kind}"), FakeRewardModel) for kind in kinds)


def test_the_program_on_plain_arrays_runs():
    """It ends with an assertion of its own."""
    shown = blocks(PAGES["docs/python-tests.md"])
    program = next(text for _, text in shown if "from_arrays" in text)

    exec(compile(program, "python-tests.md", "exec"), {})


def test_the_metric_of_ones_own_keeps_the_laws():
    """The program on the page of extensions ends with the battery; then it is forgotten."""
    program = next(text for _, text in blocks(PAGES["docs/extend.md"]) if "top_hit" in text)
    try:
        exec(compile(program, "extend.md", "exec"), {"__name__": "extend"})
    finally:
        METRICS.pop("top_hit")


def test_the_test_file_runs_under_the_gate(pytester):
    """All tests of the example are collected and judged."""
    shown = blocks(PAGES["docs/python-tests.md"])
    program = next(text for _, text in shown if "import pytest" in text)
    pytester.makepyfile(program)
    rows = [
        f'{{"prompt": "What is {i}?", "responses": ["{"long " * 9}{i}", "{i}", "a {i}"], '
        f'"golden": [1.0, 0.0, 0.5], "category": "code"}}\n'
        for i in range(60)
    ]
    folder = pytester.mkdir("suites")
    (folder / "helpfulness.yaml").write_text(
        "rmcheck: 1\npool: {path: pool.jsonl}\n"
        "checks: [{name: accuracy, metric: accuracy, at_least: 0.5}]\n"
    )
    (folder / "pool.jsonl").write_text("".join(rows))

    result = pytester.runpytest_subprocess("--rmcheck", "--rmcheck-model=fake:length_biased")

    # The pool has three responses a prompt, so best-of-16 is refused, and a model that loves
    # length is moved by flattery; the others pass.
    result.assert_outcomes(passed=2, failed=2)
    result.stdout.fnmatch_lines(["*bon_drop_ratio needs 16 responses a prompt*"])
    result.stdout.fnmatch_lines(["*where*<probe, probe=flattery, measure=shift: Estimate(*"])
