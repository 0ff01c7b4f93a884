"""Recordings and their texts to a data set that is checked, encoded once, and read by every recipe."""
