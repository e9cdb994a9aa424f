"""Colophon over REST for those who edit the catalogue, and the relay that publishes every change."""
