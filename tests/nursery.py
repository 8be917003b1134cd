"""Processes that have imported the packages of others: most of what starting Python costs here.

One process imports them once and forks for each command that a test runs; what a child then does
with rmcheck, and imports of it, is its own. The environment, the folder, the standard streams, the
exit code and signals are those of `subprocess`. Workers of pytest-xdist come from there as well.
What is about a fresh interpreter (`test_inert.py`) starts one.
"""

import atexit
import json
import os
import runpy
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType

LIGHT = (
    *("numpy", "scipy.special", "scipy.stats", "yaml", "jinja2.sandbox", "pyarrow.parquet"),
    *("pandas", "tqdm", "filelock", "matplotlib.figure", "matplotlib.backends.backend_svg"),
)
TORCH = (
    *(*LIGHT, "torch", "safetensors.torch", "transformers.generation.utils"),
    *("transformers.models.auto.modeling_auto", "transformers.models.auto.tokenization_auto"),
    *("transformers.models.llama.modeling_llama", "transformers.quantizers.auto"),
)
# As it was before any test changed it.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


@cache
def _opened(torch):
    folder = tempfile.mkdtemp(prefix="nursery")
    address, log = str(Path(folder, "socket")), Path(folder, "log")
    with log.open("wb") as said:
        process = subprocess.Popen(
            [sys.executable, "-P", __file__, address, *(TORCH if torch else LIGHT)],
            stdin=subprocess.PIPE,  # closed, it ends
            stdout=said,
            stderr=said,
            env=ENVIRONMENT,
        )
    atexit.register(_closed, process, folder)
    while not Path(address).exists():
        if process.poll() is not None:
            raise RuntimeError(log.read_text())
        time.sleep(0.01)
    return address


def _closed(process, folder):
    process.stdin.close()
    process.wait()
    shutil.rmtree(folder, ignore_errors=True)


class Forked:
    """As `subprocess.Popen` of Python with these arguments."""

    def __init__(
        self,
        command,
        *,
        cwd=None,
        env=None,
        stdin=None,
        stdout=None,
        stderr=None,
        torch=False,
        address=None,
    ):
        assert command[0] == sys.executable
        self.args, self.returncode = command, None
        self._theirs = []
        self.stdin, given = self._stream(stdin, 0)
        self.stdout, printed = self._stream(stdout, 1)
        self.stderr, said = (None, printed) if stderr == -2 else self._stream(stderr, 2)
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(address or _opened(torch))
        environment = dict(os.environ if env is None else env)
        # What cannot be imported here cannot be imported there.
        hidden = [name for name, module in sys.modules.items() if module is None]
        asked = ([str(one) for one in command[1:]], str(cwd or Path.cwd()), environment, hidden)
        socket.send_fds(self._socket, [b"."], [given, printed, said])
        self._socket.sendall(json.dumps(asked).encode() + b"\n")
        for end in self._theirs:
            os.close(end)
        self._answers = self._socket.makefile()
        self.pid = int(self._answers.readline())

    def _stream(self, wanted, number):
        if wanted is None:
            return None, number
        if wanted == subprocess.DEVNULL:
            self._theirs.append(os.open(os.devnull, os.O_RDWR))
            return None, self._theirs[-1]
        if wanted != subprocess.PIPE:
            return None, wanted if isinstance(wanted, int) else wanted.fileno()
        reads, writes = os.pipe()
        ours, theirs = (writes, reads) if number == 0 else (reads, writes)
        self._theirs.append(theirs)
        return os.fdopen(ours, "wb" if number == 0 else "rb"), theirs

    def poll(self):
        """How it ended, if it has."""
        with suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout=None):
        """How it ended, once it has."""
        if self.returncode is None:
            if not select.select([self._socket], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(self.args, timeout)
            self.returncode = int(self._answers.readline())
            self._answers.close()
            self._socket.close()
        return self.returncode

    def send_signal(self, number):
        """To the process, if it has not ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self):
        """With SIGKILL."""
        self.send_signal(signal.SIGKILL)


def run(command, *, torch=False, **how):
    """As `subprocess.run` of Python that captures its output as text."""
    with tempfile.TemporaryFile() as printed, tempfile.TemporaryFile() as said:
        process = Forked(command, **how, stdout=printed, stderr=said, torch=torch)
        process.wait()
        texts = []
        for file in (printed, said):
            file.seek(0)
            texts.append(file.read().decode())
    return subprocess.CompletedProcess(command, process.returncode, *texts)


def fork_workers(replace, address=None):
    """Workers of pytest-xdist that this process starts are forked too; `replace` is setattr."""
    from execnet.gateway_base import Popen2IO
    from execnet.gateway_io import Popen2IOMaster

    def forked(self, args, execmodel):
        self.popen = Forked(args, stdin=-1, stdout=-1, address=address)
        Popen2IO.__init__(self, self.popen.stdin, self.popen.stdout, execmodel=execmodel)

    replace(Popen2IOMaster, "__init__", forked)


def _serve(address, imports):
    import pytest

    # A run of nothing imports plugins as pytest does it, with their assertions rewritten.
    folder = str(Path(address).parent)
    pytest.main(["-c", os.devnull, "--rootdir", folder, "-p", "no:rmcheck", folder])
    for name in imports:
        with suppress(ImportError):  # it is not installed everywhere
            import_module(name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{address}.soon")
        listener.listen()
        Path(f"{address}.soon").rename(address)  # whoever sees it may connect
        while 0 not in select.select([listener, 0], [], [])[0]:
            connection, _ = listener.accept()
            if not os.fork():
                listener.close()
                os._exit(_keep(connection, address))
            connection.close()


def _keep(connection, address):
    """Fork the child that is asked for, and tell how it ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    _, streams, *_ = socket.recv_fds(connection, 1, 3)
    with connection.makefile() as lines:
        arguments, folder, environment, hidden = json.loads(lines.readline())
    pid = os.fork()
    if not pid:
        connection.close()
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
        for stream in streams:
            os.close(stream)
        os.environ.clear()
        os.environ.update(environment)
        os.chdir(folder)
        sys.modules.update(dict.fromkeys(hidden))
        os._exit(_lived(arguments, address))
    for stream in streams:
        os.close(stream)
    connection.sendall(b"%d\n" % pid)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    with suppress(OSError):  # nobody may be left who asks
        connection.sendall(b"%d\n" % code)
    return 0


def _lived(arguments, address):
    """Exit code of Python with these arguments."""
    sys.stdin, sys.stdout = os.fdopen(0), os.fdopen(1, "w", buffering=1)
    sys.stderr = os.fdopen(2, "w", errors="backslashreplace")
    sys.__stdin__, sys.__stdout__, sys.__stderr__ = sys.stdin, sys.stdout, sys.stderr
    try:
        with suppress(ImportError):  # pytest-xdist is not installed everywhere
            fork_workers(setattr, address)
        _main(arguments)
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            sys.stderr.write(f"{end.code}\n")
    except BaseException:
        traceback.print_exc()
        code = 1
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    return code


def _main(arguments):
    how, *rest = arguments[1:] if arguments[0] == "-u" else arguments
    places = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if how == "-c":
        code, *rest = rest
        _start("-c", rest, "", places)
        main = sys.modules["__main__"] = ModuleType("__main__")
        exec(code, main.__dict__)
    elif how.startswith("-m"):
        module, *rest = (how[2:], *rest) if how[2:] else rest
        _start(module, rest, str(Path.cwd()), places)
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    else:
        _start(how, rest, str(Path(how).parent), places)
        runpy.run_path(how, run_name="__main__")


def _start(name, arguments, first, places):
    sys.argv = [name, *arguments]
    sys.path[:0] = [first, *filter(None, places)]
    # What pytest-xdist gives its workers: the path at the start of Python.
    if plugin := sys.modules.get("xdist.plugin"):
        plugin._sys_path[:] = sys.path


if __name__ == "__main__":
    _serve(sys.argv[1], sys.argv[2:])
