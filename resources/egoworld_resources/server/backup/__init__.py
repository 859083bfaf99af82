"""Copies of a server, and a server made from a copy."""
