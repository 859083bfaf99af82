"""Running models: what they are started with, what they say."""
