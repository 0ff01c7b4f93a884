"""What a fine-tuning does, as one small YAML file: the shipped recipes, and the record they are read into."""
