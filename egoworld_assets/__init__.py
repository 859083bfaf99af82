"""What exists: one module per stage; the file list is the data flow."""

import egoworld_resources as egoworld_resources  # before Arrow is loaded: it chooses Arrow's allocator
