"""`colophon watch`: what happens to the books, as it happens."""
