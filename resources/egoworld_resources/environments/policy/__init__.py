"""What model envs may contain and what they need of a machine."""
