"""How egoworld does things: configuration, store, manifests, environments, runners. No stage is known here."""

import os

os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
"""Arrow's own allocator keeps most of the most that it ever had: a process would grow with every table it has seen. The
C library gives memory back. Arrow looks at this once, when it is loaded."""
