"""Where a server is, as a spec names it, and where its key comes from."""

import os
from urllib.parse import urlsplit

from rmcheck.errors import UsageError
from rmcheck.models.spec import ModelSpec

# Environment variable that holds the API key: never a spec, which stands in logs and reports.
KEY_VARIABLE = "RMCHECK_API_KEY"


def api_key() -> str:
    """The API key of the environment, or nothing.

    Raises:
        UsageError: It has characters that no header may have; they are not shown.
    """
    key = os.environ.get(KEY_VARIABLE, "").strip()
    if not (key.isascii() and key.isprintable()):
        raise UsageError(
            f"the environment variable {KEY_VARIABLE} has characters that no API key has; is a "
            "line break in it?"
        )
    return key


def address(spec: ModelSpec) -> str:
    """The URL of a spec.

    Raises:
        UsageError: It is none, or holds a password.
    """
    shape = "http:http://HOST:PORT or http:https://HOST"
    parts = urlsplit(spec.location)
    if parts.username is not None or parts.password is not None:
        raise UsageError(
            f"the address of an http: model holds a user name or password; a key belongs in the "
            f"environment variable {KEY_VARIABLE}"
        )
    if spec.location.startswith("//"):
        raise UsageError(f"{spec.text!r}: did you mean 'http:{spec.text}'? A model is {shape}")
    try:
        sound = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        sound = False
    if not sound or parts.fragment:
        raise UsageError(f"{spec.text!r} has no address; write {shape}")
    return spec.location
