"""VITA-Audio: a speech language model that predicts several tokens a pass (arXiv:2505.03739)."""
