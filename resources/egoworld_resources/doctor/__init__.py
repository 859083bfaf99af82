"""Whether this machine can do what the configuration asks of it, and the fix of what it cannot.

A check is a generator of findings in a module of ``checks``, registered by its decorator and listed nowhere.
"""

from egoworld_resources.doctor.examine import examine
from egoworld_resources.doctor.finding import Finding, State, Subject, worst

__all__ = ["Finding", "State", "Subject", "examine", "worst"]
