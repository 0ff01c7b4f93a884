"""Protocols: each file turns what its clients say into the core's words, and back."""
