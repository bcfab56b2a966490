"""From one final commit to the next: `machine` is the entry, `effects` its answers, `voting` the algorithm in its core."""
