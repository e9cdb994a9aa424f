"""What the log of events could not record: shown, sent again, dropped."""
