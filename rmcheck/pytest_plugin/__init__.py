"""The pytest plugin: options, and a door that stays shut without `--rmcheck`.

This module is imported by every pytest run on a machine where rmcheck is installed, so it
imports nothing that pytest has not loaded already.
"""

import importlib
import os

import pytest

# Option, ini key, metavar, help. One list, so that options and ini keys cannot drift apart.
_SETTINGS = (
    ("model", "SPEC", "Reward model under test, such as hf:runs/rm-7b/step-4200"),
    ("baseline", "SPEC", "Reward model that max_drop checks compare with"),
    ("golden", "SPEC", "Golden reward model for the golden_model fixture"),
    ("serving", "SPEC", "The checkpoint on the engine that training will ask, for rank_flips"),
    ("policy", "SPEC", "Language model for the policy fixture, such as hf:runs/sft-7b"),
    ("store", "DIR", "Folder of kept scores (default: .rmcheck beside the rootdir's files)"),
    ("lock-timeout", "SECONDS", "Limit of waiting for another run that scores the same model"),
    ("report", "DIR", "Write report.json, report.html and report.md into this folder"),
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--rmcheck`, its options, and an ini key for each."""
    group = parser.getgroup("rmcheck", "gate reward-model checkpoints")
    group.addoption("--rmcheck", action="store_true", help="Run reward-model suites")
    # No ini key: a file of the repository must not say that files of the repository are trusted.
    text = "Let suites and the files they name run code: python: and trust_remote_code=yes"
    group.addoption("--rmcheck-trust-suites", action="store_true", help=text)
    for name, metavar, text in _SETTINGS:
        option = f"--rmcheck-{name}"
        group.addoption(option, metavar=metavar, default=None, help=text)
        parser.addini(f"rmcheck_{name.replace('-', '_')}", text, default=None)


@pytest.hookimpl(trylast=True)  # after pytest has made its folder for temporary files
def pytest_configure(config: pytest.Config) -> None:
    """Name the markers; build the gate only when asked."""
    config.addinivalue_line("markers", "rmcheck(suite): a test that judges a reward model")
    config.addinivalue_line("markers", "gpu: needs a GPU; skipped where there is none")
    if config.getoption("rmcheck"):
        importlib.import_module("rmcheck.pytest_plugin.gate").install(config)
    else:
        _refuse_options_alone(config)


def _refuse_options_alone(config: pytest.Config) -> None:
    """Refuse an option that asks for a gate that nobody switched on; ini files may wait for it."""
    typed = " ".join(map(str, config.invocation_params.args))
    typed += " " + os.environ.get("PYTEST_ADDOPTS", "")
    options = {f"--rmcheck-{name}": name.replace("-", "_") for name, _, _ in _SETTINGS}
    given = [
        option
        for option, name in options.items()
        if config.getoption(f"rmcheck_{name}") is not None and option in typed
    ]
    if given:
        raise pytest.UsageError(
            f"{', '.join(given)} without --rmcheck: no suite would run.\n"
            "  Add --rmcheck to gate the model, or leave the option out."
        )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip marked tests, with the option that would run them, when the gate is not asked for."""
    if not config.getoption("rmcheck"):
        skip = pytest.mark.skip(reason="judges a reward model; run with --rmcheck")
        for item in items:
            if item.get_closest_marker("rmcheck"):
                item.add_marker(skip)
