"""`rmcheck explain`: what a metric measures, or what a check of a run found."""

import argparse
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from shutil import get_terminal_size
from typing import TYPE_CHECKING, Any

from rmcheck.cli.arguments import add_lock_timeout, add_store, add_trust, opened
from rmcheck.errors import UsageError, near_miss

if TYPE_CHECKING:
    from rmcheck.metrics.metric import Metric

WIDTH = 88


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Options of the command."""
    command.description = (
        "Say what a metric measures, which end is better, what a check can set, when not to "
        "believe it and where the formula is from. With --report: what a check of that run found, "
        "and what would open the gate. With --prompt: one prompt as a check of a suite sees it."
    )
    command.add_argument(
        "name",
        metavar="NAME",
        help="a metric or a probe; with --report the name of a check, or of its node; with "
        "--prompt the node, SUITE.yaml::CHECK",
    )
    command.add_argument(
        "--report", type=Path, metavar="FOLDER", help="folder of a run (`--rmcheck-report`)"
    )
    row = command.add_argument_group("one prompt of a check")
    row.add_argument("--prompt", metavar="ID", help="the prompt; needs --model")
    row.add_argument("--model", metavar="SPEC", help="reward model under test")
    row.add_argument("--baseline", metavar="SPEC", help="reward model to show beside it")
    add_trust(row)
    add_store(row)
    add_lock_timeout(row)


def run(options: argparse.Namespace) -> int:
    """Print it.

    Raises:
        UsageError: No metric, or no check of the run or suite, has this name; or there is no such
            prompt.
    """
    if options.prompt is not None:
        print(*_of_prompt(options), sep="\n")
        return 0
    names = [options.name]
    if options.report:
        from rmcheck.reports.document import read_run

        found = _named(read_run(options.report)["checks"], options.name)
        print(*(line for check in found for line in _of_check(check)), sep="\n")
        names = list(dict.fromkeys(map(_subject, found)))
    print(*(line for name in names for line in _of_subject(name)), sep="\n")
    return 0


def _of_prompt(options: argparse.Namespace) -> Iterator[str]:
    from rmcheck.reports.row import row_lines
    from rmcheck.run.row import row_of

    path, found, name = options.name.partition("::")
    if not found or options.model is None:
        raise UsageError(
            "--prompt needs a check, written SUITE.yaml::CHECK, and its --model=SPEC, such as "
            "rmcheck explain suites/demo.yaml::accuracy --prompt p80 --model=hf:DIR"
        )
    options.suites = [Path(path)]
    with opened(options, baseline=options.baseline) as (runner, suites):
        checks = {check.name: check for check in suites[0].planned}
        if name not in checks:
            hint = near_miss(name, checks)
            raise UsageError(f"no check {name!r} in {path}.{hint} Checks: {', '.join(checks)}.")
        row = row_of(
            runner, suites[0], checks[name], options.prompt, baseline=bool(options.baseline)
        )
        yield from row_lines(row, checks[name], get_terminal_size((100, 24)).columns)


def _named(checks: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    """The checks of this name in all suites, and all slices of one."""
    found = [check for check in checks if name in _names(check)]
    if not found:
        names = list(dict.fromkeys(check["name"] for check in checks))
        hint = near_miss(name, names)
        raise UsageError(f"no check {name!r} in this run.{hint} Checks: {', '.join(names)}.")
    return found


def _names(check: Mapping[str, Any]) -> tuple[str, ...]:
    """The check alone, as a node of pytest, as on the page, and as in the table of the terminal."""
    row = f"{check['suite']}::{check['name']}"
    return check["name"], check["node"], _title(check), row, f"{row}[{check['slice']}]"


def _title(check: Mapping[str, Any]) -> str:
    from rmcheck.reports.markdown import title

    return title(check)


def _of_check(check: Mapping[str, Any]) -> Iterator[str]:
    from rmcheck.reports.opening import opens

    yield f"{_title(check)}  ({check['path']}:{check['line']}), {check['required']}"
    yield from _wrapped(" ".join(opens(check)))
    yield ""


def _subject(check: Mapping[str, Any]) -> str:
    """What is explained of a check: its metric, or its probe where it is one of rmcheck."""
    from rmcheck.probes.probe_file import shipped_probes

    probe = str(check["settings"].get("probe", ""))
    return probe if probe in shipped_probes() else str(check["metric"])


def _of_subject(name: str) -> Iterator[str]:
    """A metric, or a probe of rmcheck."""
    from rmcheck.metrics.registry import metric_class, metric_names
    from rmcheck.probes.effect import ProbeEffect
    from rmcheck.probes.probe_file import shipped_probes

    probe = shipped_probes().get(name)
    if probe is not None:
        yield f"{name}: {probe.about}"
        if probe.doubt:
            yield from _wrapped(f"When not to believe it: {probe.doubt}", hanging=4)
        yield ""
    known = name in metric_names() or (probe is None and name != ProbeEffect.name)
    yield from _of_metric(metric_class(name) if known else ProbeEffect)


def _of_metric(metric: "type[Metric]") -> Iterator[str]:
    from rmcheck.suite.meaning import meaning

    said = meaning(metric)
    yield f"{said.name}: {said.better} is better"
    yield from _wrapped(said.summary)
    for paragraph in filter(None, said.body.split("\n\n")):
        yield ""
        yield from textwrap.indent(paragraph, "  ").splitlines()
    for setting in said.settings:
        yield ""
        default = "required" if setting.default is None else f"default: {setting.default}"
        yield from _wrapped(f"{setting.name} ({default}): {setting.text}", hanging=4)
    for title, text in (("When not to believe it", said.caution), ("Source", said.reference)):
        if text:
            yield ""
            yield from _wrapped(f"{title}: {text}", hanging=4)


def _wrapped(text: str, hanging: int = 2) -> list[str]:
    return textwrap.wrap(
        text, WIDTH, initial_indent="  ", subsequent_indent=" " * hanging, break_long_words=False
    )
