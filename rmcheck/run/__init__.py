"""The only conductor: suites and models in, records of checks out.

Plan → Filled → Found → Verdicts: `plan` says which models judge which suites, `fill` scores what is
missing from the store, `find` measures the checks of a suite, and `decide` decides them together.
"""
