"""Owns the weights of a bundle: which files load, whether they are whole, and whether they fit their configs."""

from pumas_agent.bundles.weights.examination import Weights, examine

__all__ = ["Weights", "examine"]
