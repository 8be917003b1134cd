"""Rewards of a pool, and every quantity that is computed from them."""
