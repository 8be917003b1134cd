"""The only conductor: suites and models in, records of checks out.

The path is always the same: suites are added, every sample that any of them needs is planned, each
model scores what is missing from the store, and the checks of a suite are measured and decided
together.
"""
