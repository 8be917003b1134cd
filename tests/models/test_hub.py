"""`hf:org/name@revision`: fetched from a hub on this machine, and found in a filled cache."""

import hashlib
import json
import os
import re
import subprocess
import sys
from http.server import BaseHTTPRequestHandler

import pytest
from loopback_server import LoopbackServer

from rmcheck import hub
from rmcheck.errors import PoolError, UnknownModelError
from rmcheck.models.registry import open_model
from rmcheck.pool.reading import read_pool
from rmcheck.run.load import load, read_anew

FIRST, SECOND = "a" * 40, "b" * 40


class _Handler(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.do_GET(body=False)

    def do_GET(self, *, body=True):
        owner = self.server.owner
        owner.tokens.append(self.headers.get("authorization", ""))
        path = self.path.partition("?")[0]
        if "org/gated" in path and "good" not in owner.tokens[-1]:
            return self._send(b"{}", 403, {"X-Error-Code": "GatedRepo"}, body)
        if found := re.fullmatch(r"/api/\w+/org/(?:rm|gated|ds)/revision/(\w+)", path):
            commit = owner.refs.get(found[1], found[1])
            if len(commit) != 40:
                return self._send(b"{}", 404, {"X-Error-Code": "RevisionNotFound"}, body)
            return self._json({"id": "org/rm", "sha": commit, "siblings": []}, body)
        if re.fullmatch(r"/api/\w+/org/(?:rm|gated|ds)/tree/\w{40}", path):
            files = {
                p.relative_to(owner.folder).as_posix(): p
                for p in sorted(owner.folder.rglob("*"))
                if p.is_file()
            }
            rows = [
                {"type": "file", "path": name, "size": p.stat().st_size, "oid": _oid(p)}
                for name, p in files.items()
            ]
            return self._json(rows, body)
        if found := re.fullmatch(r"(?:/datasets)?/org/(?:rm|gated|ds)/resolve/(\w+)/(.+)", path):
            file = owner.folder / found[2]
            headers = {"X-Repo-Commit": found[1], "ETag": f'"{_oid(file)}"'}
            return self._send(file.read_bytes(), 200, headers, body)
        return self._send(b"{}", 404, {"X-Error-Code": "RepoNotFound"}, body)

    def _json(self, value, body):
        self._send(json.dumps(value).encode(), 200, {"Content-Type": "application/json"}, body)

    def _send(self, data, status, headers, body):
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(data)


def _oid(path):
    return hashlib.sha1(path.read_bytes()).hexdigest()


class Hub(LoopbackServer):
    """A hub with the repositories org/rm and org/gated."""

    def __init__(self, folder):
        super().__init__(_Handler)
        self.folder, self.refs, self.tokens = folder, {"main": FIRST}, []


@pytest.fixture
def served(llama_folder, tmp_path, monkeypatch):
    """The hub, an empty cache, and nothing remembered."""
    huggingface_hub = pytest.importorskip("huggingface_hub")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr(hub, "_FOUND", {})
    with Hub(llama_folder) as running:
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        yield running


def test_a_name_is_the_checkpoint_at_its_commit(served, llama_folder):
    """With the fingerprint of its files, wherever they lie; the commit is told."""
    model = open_model("hf:org/rm@main")

    assert model.fingerprint == open_model(f"hf:{llama_folder}").fingerprint
    assert hub.commits_in(model.spec) == f"org/rm@main is commit {FIRST}"
    assert model.name == f"org/rm@{FIRST[:8]}"
    assert set(served.tokens) == {""}


def test_a_name_is_looked_up_in_a_fresh_process(tmp_path):
    """huggingface_hub loads its parts when they are asked for; no test before has done so."""
    pytest.importorskip("huggingface_hub")
    code = "from rmcheck.models.registry import open_model; open_model('hf:org/rm@main')"
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": str(tmp_path)}

    ran = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True)

    assert b"UnknownModelError: org/rm@main: it is not in the cache" in ran.stderr


def test_a_name_leads_nowhere_out_of_the_cache():
    """A revision with two points is none."""
    assert hub.is_hub_name("org/rm@refs/pr/1")
    assert not hub.is_hub_name("org/rm@../../../other/refs/main")


def test_a_filled_cache_needs_no_network(served, monkeypatch):
    """Neither with HF_HUB_OFFLINE nor where a file names the checkpoint."""
    import huggingface_hub

    known = open_model("hf:org/rm@main").fingerprint
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    for given in (True, False):
        monkeypatch.setattr(hub, "_FOUND", {})
        before = len(served.tokens)

        assert open_model("hf:org/rm@main", given=given).fingerprint == known
        assert len(served.tokens) == before


def test_a_revision_that_moved_is_told(served, monkeypatch):
    """The commit that it names now, and the one before."""
    open_model("hf:org/rm@main")
    served.refs["main"] = SECOND
    monkeypatch.setattr(hub, "_FOUND", {})
    open_model("hf:org/rm@main")

    told = hub.commits_in("hf:org/rm@main")
    assert told.endswith(f"commit {SECOND}; it was {FIRST} when it was last looked up")


def test_the_token_is_that_of_the_environment(served, monkeypatch):
    """A gated repository opens with it, and says so without."""
    with pytest.raises(UnknownModelError, match=r"is gated: .* \(HF_TOKEN is not set\)"):
        open_model("hf:org/gated@main")

    monkeypatch.setenv("HF_TOKEN", "hf_good")
    open_model("hf:org/gated@main")

    assert served.tokens[-1] == "Bearer hf_good"


@pytest.mark.parametrize(
    ("name", "given", "said"),
    [
        ("org/nothing@main", True, "there is no repository 'org/nothing', or it is private"),
        ("org/rm@v9", True, "repository 'org/rm' has no revision 'v9'"),
        ("org/rm@main", False, "a file names it, so that nothing is fetched. Fetch it yourself"),
    ],
)
def test_what_is_wrong_with_a_name_is_told(served, name, given, said):
    """The repository, the revision, or why nothing was fetched."""
    with pytest.raises(UnknownModelError, match=re.escape(said)):
        open_model(f"hf:{name}", given=given)


def test_without_a_network_the_command_is_told(served, monkeypatch):
    """Which fetches it where there is one."""
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)

    with pytest.raises(UnknownModelError, match=r"HF_HUB_OFFLINE is set.*hf download org/rm"):
        open_model("hf:org/rm@main")


@pytest.fixture
def data(served, tmp_path):
    """A data set with two configs, a split in two files, and another one."""
    served.folder = tmp_path / "ds"
    names = (
        "main/test-00000.jsonl",
        "main/test-00001.jsonl",
        "main/train.jsonl",
        "hard/test.jsonl",
    )
    for number, name in enumerate(names):
        path = served.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        row = {"prompt": f"question {number}?", "responses": ["a", "b"], "golden": [1, 0]}
        path.write_text(json.dumps(row) + "\n")
    return served


@pytest.mark.parametrize(
    ("query", "prompts"),
    [
        ("?split=test&config=main", [0, 1]),
        ("?split=test&config=hard", [3]),
        ("?split=train", [2]),
        ("?file=main/train.jsonl", [2]),
    ],
)
def test_a_pool_is_a_split_of_a_data_set(data, query, prompts):
    """By the names of its files, or by a file that is named."""
    pool = read_pool(hub.hub_data(f"hub:org/ds@main{query}"))

    asked = sorted(prompt.messages[0].content for prompt in pool.prompts)
    assert asked == [f"question {number}?" for number in prompts]


def test_a_suite_names_a_data_set(data, tmp_path):
    """Where it would name a file; the commit is told, and what is wrong with a name."""
    suite = tmp_path / "suite.yaml"
    text = (
        "rmcheck: 1\npool: {path: 'hub:org/ds@main?split=test&config=main'}\nmin_prompts: 2\n"
        "checks: [{name: a, metric: accuracy, at_least: 0.5}]\n"
    )
    suite.write_text(text)

    assert len(load(suite, read_anew).pool.prompts) == 2
    suite.write_text(text.replace("config=main", "config=hard").replace("min_prompts: 2\n", ""))
    assert load(suite, read_anew).pool.path.parts[-3:] == (FIRST, "hard", "test.jsonl")
    for wrong, said in (("split=dev", "no data file"), ("spilt=test", "is not hub:org/name@")):
        suite.write_text(text.replace("split=test", wrong))
        with pytest.raises(PoolError, match=said):
            load(suite, read_anew)


def test_a_folder_of_that_name_comes_first(served, llama_copy, tmp_path):
    """A path is a path, also with an @ in it."""
    (tmp_path / "org").mkdir()
    llama_copy.rename(tmp_path / "org" / "rm@main")
    open_model("hf:org/rm@main", base=tmp_path)

    assert not served.tokens
