"""Loquor as the voice of agents that others' frameworks run; each file needs its framework, as an extra."""
