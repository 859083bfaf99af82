"""What a runner wrote becomes an artifact."""
