"""The network's own error: what hivemind, p2pd, sockets and the sidecar raise is translated into it, once, at the boundary."""


class NetworkError(Exception):
    """Something on the network, or in reaching it, did not work; the text is one line for a person."""


class Absent(NetworkError):
    """Everybody who was asked for a blob said that he does not have it."""


class NobodyAnswers(NetworkError):
    """None of the peers that we were given could be reached."""
