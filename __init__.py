"""collab-node: train, merge and version one model together."""
