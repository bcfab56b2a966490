"""What a person typed does not name a commit."""


class RefError(ValueError):
    """A name or revision that cannot be, or that nothing has; the message is one line that says which and why."""
