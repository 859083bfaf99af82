"""Weights: where they lie on this machine, verified before a model sees them."""

from egoworld_resources.weights.local import WeightsMissing, local_weights

__all__ = ["WeightsMissing", "local_weights"]
