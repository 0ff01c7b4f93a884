"""What runs the passes of a model, where torch alone is not fast enough."""
