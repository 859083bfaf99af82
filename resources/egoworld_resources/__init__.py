"""How egoworld does things: configuration, store, manifests, environments, runners. No stage is known here."""
