"""Which family a server is of: as the user says, or as it answers."""

from rmcheck.errors import UnknownModelError
from rmcheck.models.engines.http.client import Client
from rmcheck.models.engines.http.openrlhf import OpenRlhfServer
from rmcheck.models.engines.http.server import Identity, Server
from rmcheck.models.engines.http.sglang import SglangServer
from rmcheck.models.engines.http.tei import TeiServer
from rmcheck.models.engines.http.vllm import VllmServer

# In the order in which a server is asked. SGLang also has vLLM's list of models.
FAMILIES: tuple[type[Server], ...] = (SglangServer, TeiServer, VllmServer, OpenRlhfServer)
FAMILY_NAMES = tuple(family.name for family in FAMILIES)


def identified(client: Client, named: str, model: str) -> tuple[type[Server], Identity]:
    """The family of the server, and what it tells of itself.

    Args:
        client: Its address.
        named: The family that the user named, or `auto`.
        model: The model that the user named, or empty.

    Raises:
        UnknownModelError: It is of no known family, or not of the one named.
        UnreachableError: There is no server, or it does not let us in.
        UsageError: It does not have that model.
    """
    asked = [family for family in FAMILIES if named in {family.name, "auto"}]
    for family in asked:
        identity = family.identify(client.look, model)
        if identity is not None:
            return family, identity
    # A reward server of one's own speaks OpenRLHF's form, and need not describe itself.
    if named == OpenRlhfServer.name:
        return OpenRlhfServer, Identity(model)
    if named != "auto":
        raise UnknownModelError(
            f"the server at {client.url} does not answer as {named} does; "
            f"server={'|'.join(FAMILY_NAMES)}, or leave it out to have it found"
        )
    raise UnknownModelError(
        f"the server at {client.url} answers as none of {', '.join(FAMILY_NAMES)} does; say which "
        "one it is like with server=NAME"
    )
