"""Arrays in, estimates out: resampling, paired differences, Holm, power.

Nothing here has heard of rewards; it depends on numpy and the standard library only.
"""
