"""Verification of a checkpoint: every component of it is run and compared with what it must be equal to."""
