"""`rmcheck doctor`: what a machine has and lacks; `rmcheck completion`: what its shell needs."""

import re
import shutil
import subprocess
import sys
import types
from importlib import metadata

import pytest

from rmcheck.cli import COMMANDS, doctor, main


def findings(capsys):
    """Name of each finding to its status and detail, and the last line."""
    *lines, last = capsys.readouterr().out.splitlines()
    rows = [(*line.split(maxsplit=2), "") for line in lines]
    return {what: (status, detail) for status, what, detail, *_ in rows}, last


def test_this_machine_can_run_the_gate(tmp_path, capsys):
    """The tests run on it."""
    assert main(["doctor", "--store", str(tmp_path / "none")]) == 0

    found, last = findings(capsys)
    assert last == "the gate can run"
    assert found["rmcheck"] == ("ok", metadata.version("rmcheck"))
    assert "is made by the first run" in found["store"][1]
    assert found["cpu"][1].split()[1] == "cores"


def test_what_is_too_old_is_wrong_and_what_an_extra_lacks_is_a_note(tmp_path, capsys, monkeypatch):
    """Each says which version is wanted, and the command."""
    wanted = ["numpy>=9999", 'absent-package>=1; extra == "ray"', 'torch>=2; extra == "hf"']
    monkeypatch.setattr(metadata, "requires", lambda name: wanted)

    assert main(["doctor", "--store", str(tmp_path)]) == 1

    found, last = findings(capsys)
    assert last == "1 wrong: the gate cannot run as it is"
    assert found["numpy"][0] == "wrong"
    assert ">=9999 is wanted" in found["numpy"][1]
    assert found["ray"][0] == "note"
    assert 'without absent-package: pip install "rmcheck[ray]"' in found["ray"][1]


def test_an_extension_that_does_not_import_is_wrong(tmp_path, capsys, monkeypatch):
    """It would end the first run that meets it."""
    entry = metadata.EntryPoint("broken", "no_such_module:Thing", "rmcheck.metrics")
    entries = {"rmcheck.metrics": [entry]}
    monkeypatch.setattr(metadata, "entry_points", lambda *, group: entries.get(group, []))

    assert main(["doctor", "--store", str(tmp_path)]) == 1
    assert "broken of rmcheck.metrics does not import" in findings(capsys)[0]["extension"][1]


def test_torch_for_cuda_without_a_gpu_is_a_note(monkeypatch):
    """Gigabytes that this machine cannot use."""
    cuda = types.SimpleNamespace(device_count=lambda: 0, is_available=lambda: False)
    torch = types.SimpleNamespace(cuda=cuda, version=types.SimpleNamespace(cuda="13.0"))
    monkeypatch.setitem(sys.modules, "torch", torch)

    (_, note) = doctor._devices()
    assert note.status == "note"
    assert "--torch-backend=cpu" in note.detail


def test_a_gpu_is_shown_with_its_memory(monkeypatch):
    """Free and in all."""
    cuda = types.SimpleNamespace(
        device_count=lambda: 1,
        is_available=lambda: True,
        mem_get_info=lambda index: (70 * 2**30, 80 * 2**30),
        get_device_name=lambda index: "a card",
    )
    torch = types.SimpleNamespace(cuda=cuda, version=types.SimpleNamespace(cuda="13.0"))
    monkeypatch.setitem(sys.modules, "torch", torch)

    assert doctor.Looked("ok", "cuda:0", "a card, 70 of 80 GiB free") in list(doctor._devices())


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
def test_bash_completes_commands_and_options(capsys, tmp_path):
    """The script is one that bash takes, and it knows each command, those of the laboratory too."""
    pytest.importorskip("shtab")
    assert main(["completion", "bash"]) == 0
    script = capsys.readouterr().out

    (tmp_path / "script").write_text(script)
    ask = "COMP_WORDS=(rmcheck d); COMP_CWORD=1; _shtab_rmcheck; "
    command = f'source "{tmp_path}/script"; {ask} echo "${{COMPREPLY[@]}}"'
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)

    assert set(done.stdout.split()) == {"diff", "doctor"}
    top = re.search(r"^_shtab_rmcheck_subparsers=\((.*)\)$", script, re.MULTILINE)
    assert {*COMMANDS, "power", "lab"} <= set(top.group(1).split())
