"""Where a server is, as a spec names it, and whether it is sent the key."""

import ipaddress
import os
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from rmcheck.errors import UsageError
from rmcheck.models.spec import ModelSpec

# Environment variable that holds the API key: never a spec, which stands in logs and reports.
KEY_VARIABLE = "RMCHECK_API_KEY"
# Hosts that are sent it: `HOST` or `HOST:PORT`, with commas between; `http://HOST:PORT` where it
# may be sent in the open.
HOST_VARIABLE = "RMCHECK_API_KEY_HOST"
_SHAPE = "http:http://HOST:PORT or http:https://HOST"


@dataclass(frozen=True, slots=True)
class ApiKey:
    """The API key for one server.

    Attributes:
        text: The key; empty where none is sent.
        withheld: Why a key that is set is not sent to this server, and what to do; else empty.
    """

    text: str = ""
    withheld: str = ""


def api_key(spec: ModelSpec) -> ApiKey:
    """The API key of the environment, as far as the server of a spec is sent it.

    A suite, a judge or an ensemble file may name any server; the key goes to those alone that the
    command line, the ini file or `RMCHECK_API_KEY_HOST` names, and in plain http to this machine
    and those that the variable names with `http://`.

    Raises:
        UsageError: The key has characters that no header may have; they are not shown.
    """
    key = os.environ.get(KEY_VARIABLE, "").strip()
    if not (key.isascii() and key.isprintable()):
        raise UsageError(
            f"the environment variable {KEY_VARIABLE} has characters that no API key has; is a "
            "line break in it?"
        )
    parts = urlsplit(spec.location)
    host = parts.hostname or ""
    if not key:
        return ApiKey()
    bound = os.environ.get(HOST_VARIABLE, "").lower().replace(",", " ").split()
    names = {host, f"{host}:{_port(parts)}"}
    in_the_open = {f"{parts.scheme}://{name}" for name in names} & set(bound)
    if parts.scheme != "https" and not is_loopback(host) and not in_the_open:
        return ApiKey(
            withheld=f"over http:// it would be readable on the way to {host}; use https://, a "
            f"tunnel to localhost, or, in a network that you trust, {HOST_VARIABLE}=http://{host}"
        )
    if bound:
        if in_the_open or names & set(bound):
            return ApiKey(key)
        return ApiKey(withheld=f"{HOST_VARIABLE} does not name {host}; add it there")
    if spec.given:
        return ApiKey(key)
    return ApiKey(
        withheld=f"a file names this server; if you trust it with the key, set {HOST_VARIABLE}="
        f"{host} in the environment"
    )


def address(spec: ModelSpec) -> str:
    """The URL of a spec.

    Raises:
        UsageError: It is none, or holds a password.
    """
    if "@" in spec.location.partition("//")[2].partition("/")[0]:
        raise UsageError(
            "the address of an http: model holds a user name or password; a key belongs in the "
            f"environment variable {KEY_VARIABLE}"
        )
    if spec.location.startswith("//"):
        raise UsageError(f"{spec.text!r}: did you mean 'http:{spec.text}'? A model is {_SHAPE}")
    if not _is_address(spec.location):
        raise UsageError(f"{spec.text!r} has no address; write {_SHAPE}")
    return spec.location


def _is_address(text: str) -> bool:
    """Whether a request can be sent there."""
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
        host.encode("idna")  # what a socket makes of it
    except ValueError:
        return False
    path = parts.path.isascii() and parts.path.isprintable() and " " not in parts.path
    named = parts.scheme in {"http", "https"} and bool(host) and port != 0
    return named and path and not parts.query and not parts.fragment


def _port(parts: SplitResult) -> int:
    return parts.port or (443 if parts.scheme == "https" else 80)


def is_loopback(host: str) -> bool:
    """Whether a host is this machine."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
