"""Texts for a server of rewards, and what it says of them."""

from failing_server import reward_of

from rmcheck.models.sample import Sample
from rmcheck.pool.pool import Message

KEY = "sk-very-secret"


def many(count):
    """Different texts, each its own prompt."""
    return [
        Sample(f"p{i}", 0, (Message("user", f"what is {i}"),), f"it is {'so ' * (i % 5)}{i}")
        for i in range(count)
    ]


def truth(model, samples):
    """The rewards that the server has for these samples."""
    return [reward_of(encoded.ids) for encoded in model.encode(samples)]


def item(proven, name):
    """One line of the page."""
    return next(found for found in proven.items if found.name == name)
