"""The swarm's language and its rules: messages, signatures, the event, history and the round machine.

Sans-io and torch-free: nothing here reads a clock, opens a socket or draws a random number. Bytes and times come in as arguments,
messages and decisions go out as values, so the same code runs in the daemon, in a unit test and in a simulation.
"""
