"""Image tasks: what their splits are, and the batches that a network reads."""
