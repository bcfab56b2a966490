"""What coordinators decide after an event has started: making it, learning of it, and what a node does about it."""
