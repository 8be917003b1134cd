"""`hf:org/name@revision`: fetched from a hub on this machine, and found in a filled cache."""

import hashlib
import json
import re
from http.server import BaseHTTPRequestHandler

import pytest
from loopback_server import LoopbackServer

from rmcheck.errors import UnknownModelError
from rmcheck.models import hub
from rmcheck.models.registry import open_model

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
        if found := re.fullmatch(r"/api/models/org/(?:rm|gated)/revision/(\w+)", path):
            commit = owner.refs.get(found[1], found[1])
            if len(commit) != 40:
                return self._send(b"{}", 404, {"X-Error-Code": "RevisionNotFound"}, body)
            return self._json({"id": "org/rm", "sha": commit, "siblings": []}, body)
        if re.fullmatch(r"/api/models/org/(?:rm|gated)/tree/\w{40}", path):
            rows = [
                {"type": "file", "path": p.name, "size": p.stat().st_size, "oid": _oid(p)}
                for p in sorted(owner.folder.iterdir())
            ]
            return self._json(rows, body)
        if found := re.fullmatch(r"/org/(?:rm|gated)/resolve/(\w+)/(.+)", path):
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
    assert set(served.tokens) == {""}


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


def test_a_folder_of_that_name_comes_first(served, llama_copy, tmp_path):
    """A path is a path, also with an @ in it."""
    (tmp_path / "org").mkdir()
    llama_copy.rename(tmp_path / "org" / "rm@main")
    open_model("hf:org/rm@main", base=tmp_path)

    assert not served.tokens
