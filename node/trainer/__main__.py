"""`python -m collab.node.trainer FD`: what the daemon starts."""

from .process import main

if __name__ == "__main__":
    main()
