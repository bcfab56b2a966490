"""What can go wrong with a payload, told apart from our own mistakes (plain `ValueError`, `TypeError`)."""


class PayloadError(ValueError):
    """The bytes are no payload of this layout. The only error that decoding raises, whatever the bytes."""


class NonFiniteError(PayloadError):
    """The tensors to be encoded hold NaN or an infinity: nothing was encoded, no residual was touched."""


class MissingStatisticsError(ValueError):
    """A merge method needs a Fisher diagonal or Gram matrices that an update came without."""
