"""Licences: what an expression allows, what bears on an artifact, and who may do what with a video."""

from egoworld_resources.licences.terms import Judgement, Licensing, Term, Terms

__all__ = ["Judgement", "Licensing", "Term", "Terms"]
