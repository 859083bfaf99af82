"""The page over the API: one file of each kind, nothing fetched from elsewhere."""
