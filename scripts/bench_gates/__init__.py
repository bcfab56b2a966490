"""Gates on planted candidates: how often each kind of plant is let through, and how many batches that takes."""
