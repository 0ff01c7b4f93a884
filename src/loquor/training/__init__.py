"""Recipes that train the models, from corpus to exported checkpoint."""
