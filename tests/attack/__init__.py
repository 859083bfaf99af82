"""Attacks, as a package: what they share is taken down with the last of them."""
