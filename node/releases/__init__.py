"""Releases: versions that maintainers sign for, under the roles of The Update Framework (python-tuf)."""
