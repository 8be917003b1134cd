"""What each model rewards along the path: the traits of the texts that best-of-n picks by it."""

from collections.abc import Sequence
from itertools import chain

import numpy as np

from rmcheck.lab.study.family import RmFamily
from rmcheck.lab.study.finding import Cell, DesignResult
from rmcheck.lab.study.measured import Measured
from rmcheck.metrics.picked_texts import PickedTexts, picked_texts, tilted_texts
from rmcheck.metrics.tilting import Tilt
from rmcheck.pool.pool import Prompt
from rmcheck.pool.traits import traits_with_rare
from rmcheck.reports.charts import matrix

# Nats of the KL-regularised policy.
MATCHED_KL = 1.0


def traits_along_the_path(
    family: RmFamily, prompts: Sequence[Prompt], n: int
) -> DesignResult | None:
    """Traits of the picks by each proxy, beyond those by its golden; None on a single prompt.

    Args:
        family: On all responses.
        prompts: (P,) its prompts, with the same responses.
        n: Of best-of-n.
    """
    traits = traits_with_rare(list(chain.from_iterable(prompt.responses for prompt in prompts)))
    rows: list[dict[str, Cell]] = []
    beyond = np.zeros((len(family.names), len(traits)))
    for golden, proxy in family.pairs.tolist():
        pair = {"golden": family.names[golden], "proxy": family.names[proxy]}
        rewards = family.rewards(golden, proxy)
        picked = picked_texts(rewards, traits, [n])
        rows += [{**pair, "policy": f"best of {n}", **_row(found)} for found in picked]
        for kl in _within_reach(family, golden, proxy):
            tilted = tilted_texts(rewards, traits, [kl])
            rows += [{**pair, "policy": f"KL {kl:g} nat", **_row(found)} for found in tilted]
        for i, found in enumerate(picked):
            share = (family.pairs[:, 1] == proxy).sum() * (found.sd or 1.0)
            beyond[proxy, i] += found.beyond.value / share
    if not rows:
        return None
    judged = list(family.judged)
    names = [family.names[m] for m in judged]
    return DesignResult(
        "picked-texts",
        f"What the models reward: texts picked by best of {n}",
        "How the picked responses differ from all responses of their prompts, by the proxy's "
        f"choice and by golden's own, with best of {n} and with a KL-regularised policy at "
        f"{MATCHED_KL:g} nat: length, stock openings, hedges, apologies, refusals, repetition, "
        f"rare words, formatting (by English words). The matrix has the change of best of {n} "
        "beyond golden's in standard deviations within prompts, mean over the goldens: what golden "
        "does not ask for. Intervals are of other prompts, 95 %.",
        rows,
        [matrix("Change beyond golden's, sd", names, list(traits), beyond[judged])],
    )


def _row(found: PickedTexts) -> dict[str, Cell]:
    return {
        "trait": found.trait,
        "all responses": found.pool,
        "change by proxy": Measured(*vars(found.proxy).values()),
        "change by golden": Measured(*vars(found.golden).values()),
        "beyond golden": Measured(*vars(found.beyond).values()),
    }


def _within_reach(family: RmFamily, *models: int) -> list[float]:
    """The KL, where rewards with few ties allow policies to go so far."""
    most = min(Tilt.of([family.scores[m]], family.names[m]).largest_kl for m in models)
    return [MATCHED_KL] if most > MATCHED_KL else []
