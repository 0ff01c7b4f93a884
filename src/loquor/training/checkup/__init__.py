"""What would waste a training, found before it starts: the checks of `loquor doctor train`, a file for each theme."""
