"""Changes that were made outside the swarm: proposed, reviewed, and merged by a maintainer."""
