"""Endless tests: `python -m tests.fuzz bundles|headers [--seconds N] [--seed N]`; the default tests run a part."""
