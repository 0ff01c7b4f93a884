"""How fast models are: one way of measuring, and what is measured of each family."""
