"""Columns of the rows to label that a nested design asks for (`rmcheck sample`)."""

# 1 where a response was drawn at random, and the largest n of the design at which the proxy would
# choose it (0: at none).
RANDOM, CHOSEN_AT = "random", "chosen_at"
