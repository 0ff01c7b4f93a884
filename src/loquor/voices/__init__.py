"""Whose sound: voices made of recordings or prefilled for a model, where they are kept, and published presets."""
