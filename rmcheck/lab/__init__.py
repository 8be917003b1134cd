"""The laboratory: behind the gate, which never imports it.

Commands stand in `cli/`. Each is also found by its own name, as in `rmcheck curve`.
"""
