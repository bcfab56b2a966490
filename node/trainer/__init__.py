"""The worker: the process that owns torch. It trains, compresses, merges and evaluates, and knows no network.

The daemon speaks to it through `client.Worker`; what can be asked and what comes back is in `messages`.
"""
