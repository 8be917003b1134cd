"""Which servers are sent the API key, and which runs ask a server at all."""

from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from loopback_server import LoopbackServer

from rmcheck.errors import UnknownModelError, UsageError
from rmcheck.models.engines.http.address import (
    HOST_VARIABLE,
    KEY_VARIABLE,
    ApiKey,
    address,
    api_key,
)
from rmcheck.models.engines.http.client import Client, UnreachableError
from rmcheck.models.engines.http.unasked import UnaskedModel, asking
from rmcheck.models.registry import open_model
from rmcheck.models.spec import parse_spec

KEY = "sk-very-secret"
SUITE = """\
rmcheck: 1
golden: {{model: "{model}"}}
pool: {{path: pool.jsonl}}
checks:
  - {{name: accuracy, metric: accuracy, at_least: 0.7}}
"""
JUDGE = """\
engine: http:{url}
prompt: "{{{{ response }}}}"
read: {{yes: [Yes], no: [No]}}
"""


class Listening(BaseHTTPRequestHandler):
    """Wants another key than the one it gets, and repeats that one in every way it can."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Note the request and refuse it."""
        got = self.headers.get("Authorization", "")
        self.server.owner.requests.append((self.path, got))
        if self.path.startswith("/raw"):
            self.wfile.write(f"{got} is not my status line\r\n\r\n".encode())
            self.close_connection = True
            return
        body = f'["{got}"]'.encode()
        self.send_response(200 if self.path.startswith("/fine") else 401)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def log_message(self, *_: object) -> None:
        """Stay quiet."""


@pytest.fixture
def listener():
    """A server on this machine that remembers the keys it was sent."""
    with LoopbackServer(Listening) as server:
        yield server


@pytest.fixture(autouse=True)
def _key(monkeypatch):
    """The environment holds a key and names no host."""
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    monkeypatch.delenv(HOST_VARIABLE, raising=False)


def key_for(url, *, given=True):
    """What the server of a spec is sent."""
    return api_key(parse_spec(f"http:{url}", Path("/"), given=given))


@pytest.mark.parametrize(
    "url", ["https://rm.example.org/a", "http://localhost:1", "http://[::1]:1"]
)
def test_a_server_that_the_user_names_is_sent_the_key(url):
    """Over https, or on this machine."""
    assert key_for(url) == ApiKey(KEY)


@pytest.mark.parametrize(
    "host", ["10.0.0.1", "rm", "127.0.0.1.example.org", "localhost.example.org"]
)
def test_plain_http_carries_no_key_to_another_machine(host, monkeypatch):
    """Not even where the environment names the host."""
    monkeypatch.setenv(HOST_VARIABLE, host)

    found = key_for(f"http://{host}:8000")

    assert found.text == ""
    assert f"readable on the way to {host}; use https://" in found.withheld


def test_plain_http_carries_the_key_where_the_environment_names_it_with_its_scheme(monkeypatch):
    """Inside a cluster; the name alone is no leave, and another host or port gets nothing."""
    found = {}
    for bound in ("rm.cluster:8000", "http://rm.cluster", "http://rm.cluster:8000", "http://x"):
        monkeypatch.setenv(HOST_VARIABLE, bound)
        found[bound] = key_for("http://rm.cluster:8000", given=False).text

    assert found == {
        "rm.cluster:8000": "",
        "http://rm.cluster": KEY,
        "http://rm.cluster:8000": KEY,
        "http://x": "",
    }


def test_a_server_that_a_file_names_is_sent_the_key_where_the_environment_says_so(monkeypatch):
    """By host, or by host and port; any other host is not sent it then, whoever names it."""
    assert "a file names this server" in key_for("https://rm.example.org", given=False).withheld
    monkeypatch.setenv(HOST_VARIABLE, "RM.example.org, judge.example.org:8443")

    assert key_for("https://rm.example.org:444", given=False).text == KEY
    assert key_for("https://judge.example.org:8443", given=False).text == KEY
    assert "does not name judge.example.org" in key_for("https://judge.example.org").withheld
    assert "does not name other.example.org" in key_for("https://other.example.org").withheld


def test_a_judge_file_sends_the_key_nowhere(listener, tmp_path, monkeypatch):
    """Its engine is the file's word; the refusal says what to set."""
    (tmp_path / "judge.yaml").write_text(JUDGE.format(url=listener.url))
    (tmp_path / "both.yaml").write_text(f"members: [http:{listener.url}, 'judge:judge.yaml']")
    monkeypatch.chdir(tmp_path)

    for spec in ("judge:judge.yaml", "ensemble:both.yaml"):
        with pytest.raises((UnknownModelError, UsageError)) as refused:
            open_model(spec)
        assert f"{KEY_VARIABLE} was not sent: a file names this server" in str(refused.value)
        assert f"{HOST_VARIABLE}=127.0.0.1 in the environment" in str(refused.value)
    assert {key for _, key in listener.requests} == {""}


def test_a_member_that_the_command_line_names_is_sent_the_key(listener):
    """An ensemble in a spec is the user's own word."""
    with pytest.raises((UnknownModelError, UsageError)):
        open_model(f"ensemble:http:{listener.url},fake:constant")

    assert {key for _, key in listener.requests} == {f"Bearer {KEY}"}


@pytest.mark.parametrize("path", ["/raw", "/refused", "/fine"])
def test_a_key_that_comes_back_is_masked(listener, path):
    """In the body, in the status line, and in an answer that is quoted later."""
    client = Client(listener.url, ApiKey(KEY))

    if path == "/fine":
        assert client.look(path) == ["Bearer ***"]
        client.close()
        return
    with pytest.raises(UnreachableError) as refused:
        client.look(path)
    assert KEY not in str(refused.value)
    assert "***" in str(refused.value)


def test_collecting_asks_no_server(listener, pytester, monkeypatch):
    """`--collect-only` opens no model that only a server knows, whoever names it."""
    monkeypatch.setenv(HOST_VARIABLE, "127.0.0.1")
    pytester.path.joinpath("pool.jsonl").write_text(
        '{"prompt": "Why?", "responses": ["a", "b"], "golden": [0, 1]}\n'
    )
    pytester.path.joinpath("judge.yaml").write_text(JUDGE.format(url=listener.url))
    for name, model in (("http", f"http:{listener.url}"), ("judge", "judge:judge.yaml")):
        pytester.path.joinpath(f"{name}_suite.yaml").write_text(SUITE.format(model=model))
    models = ["--rmcheck-model=fake:constant", f"--rmcheck-baseline=http:{listener.url}"]

    done = pytester.runpytest_inprocess("--rmcheck", "--collect-only", *models)

    assert done.ret == 0
    done.stdout.fnmatch_lines(["*baseline http:* (unasked)", "*2 tests collected*"])
    assert listener.requests == []


def test_a_model_that_was_not_asked_is_never_loaded():
    """It only stands for one while checks are listed."""
    with asking(False):
        model = open_model("http:http://127.0.0.1:9")

    assert isinstance(model, UnaskedModel)
    with pytest.raises(UsageError, match="not asked in this run"):
        model.load()


@pytest.mark.parametrize(
    "url", ["http://[x", "http://.x", f"http://{'a' * 64}.org", "http://x/ä", "http://x:99999", "x"]
)
def test_an_address_that_no_request_can_reach_is_refused(url):
    """Before anything is sent, with the right form."""
    with pytest.raises(UsageError, match="has no address; write http:http://HOST:PORT"):
        address(parse_spec(f"http:{url}", Path("/")))
