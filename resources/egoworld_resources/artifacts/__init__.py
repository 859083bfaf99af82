"""What an artifact is: its manifest, its stage, what makes it stale."""
