"""What every model of hands needs beyond the model: which hand is which, what is no hand, one skeleton.

A model env subclasses HandRunner; see there.
"""

from egoworld_runner.hands.hand_runner import HandRunner
from egoworld_runner.hands.sighting import Sighting

__all__ = ["HandRunner", "Sighting"]
