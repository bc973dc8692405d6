"""Endless tests: `python -m tests.fuzz NAME [--seconds N] [--seed N]`; the default tests run a part of each."""
