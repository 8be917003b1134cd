"""One module for each family of formats in the wild."""

from rmcheck.pool.readers import (
    alpaca_eval,
    helpsteer,
    hh_rlhf,
    native,
    nectar,
    ppe,
    preference,
    rewardbench,
    rm_bench,
    rmb,
    ultrafeedback,
)
from rmcheck.pool.readers.reader import Reader

# In the order in which they are tried: a format whose rows would also fit another comes first,
# so the loose ones (one response a row, TRL's pairs) are the last.
READERS: tuple[Reader, ...] = (
    *rewardbench.READERS,
    *rm_bench.READERS,
    *rmb.READERS,
    *hh_rlhf.READERS,
    *ultrafeedback.READERS,
    *helpsteer.READERS,
    *nectar.READERS,
    *ppe.READERS,
    *alpaca_eval.READERS,
    *native.READERS,
    *preference.READERS,
)
