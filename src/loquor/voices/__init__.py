"""Whose sound: saved voices, where they are kept, and the reader of published presets."""
