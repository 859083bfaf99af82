"""What an artifact may be used for: the rights in its video and the licences of what made it."""
