"""Who holds what: locks, leases of artifacts, scratch folders, processes."""
