"""WatchBooks: tells of changes as they happen, to as many as listen."""
