"""The command people type: run the whole catalogue, load books into it."""
