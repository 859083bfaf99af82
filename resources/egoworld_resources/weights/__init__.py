"""Weights: where they are on this machine, verified before a model sees them."""

from egoworld_resources.weights.errors import WeightsMissing
from egoworld_resources.weights.local import ModelPaths, local_weights

__all__ = ["ModelPaths", "WeightsMissing", "local_weights"]
