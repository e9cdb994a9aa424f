"""The events of the catalogue: committed in the outbox, set aside where they cannot be published, kept in the log."""
