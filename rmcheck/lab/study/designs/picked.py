"""What each model rewards along the path: the traits of the texts that best-of-n picks by it."""

from collections.abc import Sequence
from itertools import chain

import numpy as np

from rmcheck.lab.curves.picked_texts import picked_texts, traits_with_rare
from rmcheck.lab.study.family import RmFamily
from rmcheck.lab.study.finding import Cell, DesignResult, Measured
from rmcheck.pool.pool import Prompt
from rmcheck.reports.charts import matrix


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
        for i, found in enumerate(picked_texts(family.rewards(golden, proxy), traits, [n])):
            rows.append(
                {
                    "golden": family.names[golden],
                    "proxy": family.names[proxy],
                    "trait": found.trait,
                    "all responses": found.pool,
                    "change by proxy": Measured(*vars(found.proxy).values()),
                    "change by golden": Measured(*vars(found.golden).values()),
                    "beyond golden": Measured(*vars(found.beyond).values()),
                }
            )
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
        "choice and by golden's own: length, stock openings, hedges, apologies, refusals, "
        "repetition, rare words, formatting (by English words). The matrix has the change beyond "
        "golden's in standard deviations within prompts, mean over the goldens: what golden does "
        "not ask for. Intervals are of other prompts, 95 %.",
        rows,
        [matrix("Change beyond golden's, sd", names, list(traits), beyond[judged])],
    )
