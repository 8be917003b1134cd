"""Scoring and reading models that have members: each member is scored once, whoever wants it.

A model that is no ensemble is its own only member, so that this is the way for all models.
"""

from collections.abc import Callable, Iterable

from rmcheck.models.model import Combined, RewardModel
from rmcheck.scoring.engine import Engine
from rmcheck.scoring.report import ScoringReport
from rmcheck.scoring.request import Request, read_scores
from rmcheck.scoring.scorer import fill_requests
from rmcheck.store.scores import MemoryStore, Store

# Where the scores of a model are kept: members of one ensemble may need different stores.
StoreOf = Callable[[RewardModel], Store]


def choose_store(kept: Store, passing: Store | None = None) -> StoreOf:
    """Models whose scores are for keeping in one store, all others in another, or in memory.

    Those computed elsewhere are looked up by each process that wants them.
    """
    read, others = MemoryStore(), passing or MemoryStore()

    def store_of(model: RewardModel) -> Store:
        if model.precomputed:
            return read
        return kept if model.kept else others

    return store_of


def by_member(requests: Iterable[Request]) -> list[list[Request]]:
    """What each model must score: one list a model, in the order of first mention.

    A request that stands there twice is taken once.
    """
    found: dict[str, dict[int, Request]] = {}
    for request in requests:
        for part in request.members:
            found.setdefault(part.model.fingerprint, {})[id(part)] = part
    return [list(parts.values()) for parts in found.values()]


def fill_members(
    requests: Iterable[Request], store_of: StoreOf, *, engine: Engine | None = None
) -> list[ScoringReport]:
    """`fill_requests` for each member of the models asked for, one after another."""
    return [
        fill_requests(parts, store_of(parts[0].model), engine=engine)
        for parts in by_member(requests)
    ]


def read_combined(request: Request, store_of: StoreOf) -> Combined:
    """Rewards of a model in the order of the request's samples, from the scores of its members.

    Raises:
        StoreError: See `read_scores`.
        UsageError, ScoringError: The scores cannot be combined (see `RewardModel.combined` and
            `RewardModel.together`).
    """
    if request.model.is_ensemble:
        parts = [read_combined(part, store_of) for part in request.parts]
        return request.model.together(parts, request.needed)
    (scored,) = request.members
    scores = read_scores(scored, store_of(scored.model)).scores
    return request.model.combined(scores, request.needed)
