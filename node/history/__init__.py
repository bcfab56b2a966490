"""History as a git user expects it: what was done to the weights, by whom, and how any version of them is had again."""
