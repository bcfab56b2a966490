"""Who erred: us or the peer (as h11 separates them). A bad peer can never look like a bug of ours, nor stop the daemon."""


class LocalProtocolError(Exception):
    """Our own code asked for something the protocol does not allow."""


class RemoteProtocolError(Exception):
    """A peer sent something the protocol does not allow.

    `reason` is a short stable word that metrics count and commits record; `detail` is for people.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail
