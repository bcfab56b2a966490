"""What a history is asked and how it is changed: over the store, without a network."""
