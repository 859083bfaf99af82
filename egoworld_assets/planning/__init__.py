"""What is missing or stale, in which order it is made, and what that costs."""
