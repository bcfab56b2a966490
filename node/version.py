"""Which version of collab-node this is."""

from importlib.metadata import version

VERSION = version("collab-node")
