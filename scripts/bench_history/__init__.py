"""The bench of the history: `scripts/bench history`."""
