"""A small whole bundle and a guided run with it; the tests use the same writer."""
