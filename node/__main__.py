"""`python -m collab.node` is `collab-node`."""

from .cli import main

main()
