"""One byte string for one value, one value for one byte string, and no memory for what is only claimed."""

import math
import struct
import tracemalloc
from typing import Any

import msgpack
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from collab.protocol.canonical import MESSAGE_LIMITS, Limits, decode, encode
from collab.protocol.errors import LocalProtocolError, RemoteProtocolError

EDGES = [sign * (1 << bits) + shift for bits in (5, 7, 8, 15, 16, 31, 32) for sign in (1, -1) for shift in (-1, 0)]
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 64) - 1)
    | st.sampled_from(EDGES)
    | st.floats(allow_nan=False)
    | st.binary(max_size=40)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
)
KEYS = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
VALUES = st.recursive(
    SCALARS, lambda values: st.lists(values, max_size=20).map(tuple) | st.dictionaries(KEYS, values, max_size=20), max_leaves=40
)


def same(left: Any, right: Any) -> bool:
    """Equality that tells 1, 1.0 and True apart, and 0.0 from -0.0."""
    if type(left) is not type(right):
        return False
    if isinstance(left, tuple):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    return struct.pack(">d", left) == struct.pack(">d", right) if isinstance(left, float) else bool(left == right)


def refused(data: bytes, limits: Limits = MESSAGE_LIMITS) -> str:
    with pytest.raises(RemoteProtocolError) as caught:
        decode(data, limits)
    return caught.value.reason


@given(VALUES)
def test_what_is_encoded_is_decoded(value: Any) -> None:
    assert same(decode(encode(value)), value)


@given(VALUES)
def test_the_bytes_are_msgpack(value: Any) -> None:
    assert same(msgpack.unpackb(encode(value), use_list=False, strict_map_key=True, raw=False), value)


@given(st.dictionaries(KEYS, SCALARS, max_size=20), st.randoms(use_true_random=False))
def test_the_order_in_which_a_map_was_built_does_not_matter(value: dict[str, Any], random: Any) -> None:
    keys = list(value)
    random.shuffle(keys)
    assert encode({key: value[key] for key in keys}) == encode(value)


def test_keys_are_in_the_order_of_their_utf8_bytes() -> None:
    decoded = decode(encode({"b": 0, "é": 1, "a": 2, "aa": 3, "\U0001f600": 4, "\uffff": 5}))
    assert isinstance(decoded, dict)
    assert list(decoded) == ["a", "aa", "b", "é", "\uffff", "\U0001f600"]


@given(st.binary(max_size=64))
@example(b"")
@example(b"\xc1")
def test_any_bytes_are_a_value_with_these_bytes_or_a_remote_error(data: bytes) -> None:
    try:
        value = decode(data)
    except RemoteProtocolError as error:
        assert error.reason in {"malformed", "oversized"}  # noqa: PT017
        return
    assert encode(value) == data


@given(VALUES, st.data())
def test_a_changed_byte_never_means_the_same(value: Any, data: st.DataObject) -> None:
    encoded = bytearray(encode(value))
    encoded[data.draw(st.integers(0, len(encoded) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        other = decode(bytes(encoded))
    except RemoteProtocolError:
        return
    assert not same(other, value)


@given(VALUES, st.binary(min_size=1, max_size=3))
def test_nothing_may_follow_and_nothing_may_lack(value: Any, more: bytes) -> None:
    encoded = encode(value)
    assert refused(encoded + more) == "malformed"
    assert refused(encoded[:-1]) == "malformed"


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_every_buffer_is_read(kind: Any) -> None:
    assert decode(kind(encode((1, b"x")))) == (1, b"x")
    assert encode(kind(b"x")) == encode(b"x")


@pytest.mark.parametrize(
    "data",
    [
        "cc7f", "cd00ff", "ce0000ffff", "cf00000000ffffffff",                  # unsigned
        "d0ff", "d0e0", "d07f", "d1ff80", "d20000ffff", "d2ffff8000", "d3ffffffff80000000", "d30000000000000001",   # signed
        "d90161", "d91f" + "61" * 31, "da0020" + "61" * 32, "db00000001" + "61",        # text
        "c50001" + "61", "c600000001" + "61",                                   # bytes
        "dc0001c0", "dd00000001c0", "de0001a161c0", "df00000001a161c0",        # arrays and maps
    ],
)  # fmt: skip
def test_headers_that_are_not_the_shortest_are_refused(data: str) -> None:
    msgpack.unpackb(bytes.fromhex(data))  # good msgpack, but not the one encoding
    assert refused(bytes.fromhex(data)) == "malformed"


@pytest.mark.parametrize(
    "data",
    [
        "ca3f800000",                          # float32
        "cb7ff8000000000000", "cbfff0000000000001",      # NaNs
        "c1", "c70000", "d40000", "d6ff00000000",       # reserved, extensions, timestamps
        "a1ff", "a2c080", "a3eda080",          # not UTF-8: bad byte, overlong, surrogate
        "8101c0", "81c4016100",                # keys that are no text
        "82a162c0a161c0", "82a161c0a161c0",    # keys out of order, twice
    ],
)  # fmt: skip
def test_what_encode_never_writes_is_refused(data: str) -> None:
    assert refused(bytes.fromhex(data)) == "malformed"


@pytest.mark.parametrize("value", [math.nan, {1: 2}, {b"a": 1}, 1 << 64, -(1 << 63) - 1, "\ud800", {"\ud800": 1}, {1}, 1j])
def test_what_has_no_encoding_is_our_own_error(value: Any) -> None:
    with pytest.raises(LocalProtocolError):
        encode(value)
    with pytest.raises(LocalProtocolError):
        encode({"a": (value,)})


@pytest.mark.parametrize("head", ["c6", "db", "dd", "df", "c5", "da", "dc", "de"])
@pytest.mark.parametrize("prefix", [b"", b"\x91" * 8])
def test_a_claimed_length_allocates_nothing(head: str, prefix: bytes) -> None:
    width = 4 if head in ("c6", "db", "dd", "df") else 2
    data = prefix + bytes.fromhex(head) + b"\xff" * width + b"\xc0" * 100
    tracemalloc.start()
    try:
        assert refused(data) == "malformed"
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 64 * 1024


def test_arrays_that_claim_all_that_is_left_stay_bounded() -> None:
    # Each array claims the bytes that are left as its items, and holds the next such array.
    size = 60_000
    bomb = b"".join(b"\xdc" + struct.pack(">H", size - 3 * (depth + 1)) for depth in range(100)) + b"\xc0" * size
    tracemalloc.start()
    try:
        assert refused(bomb[:size], Limits(items=1 << 40)) == "oversized"
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 256 * 1024


@pytest.mark.parametrize("level", [b"\x91", b"\x81\xa1a"])
def test_nesting_ends_at_the_limit(level: bytes) -> None:
    limits = Limits(depth=5)
    assert decode(level * 4 + b"\xc0", limits) is not None
    assert refused(level * 5 + b"\xc0", limits) == "oversized"
    assert refused(level * 20_000 + b"\xc0") == "oversized"


def test_the_limit_of_items_is_over_all_arrays_and_maps() -> None:
    value = ((1, 2, 3), {"a": 1, "b": 2}, ())
    items = 3 + 3 + 4
    assert decode(encode(value), Limits(items=items)) == value
    assert refused(encode(value), Limits(items=items - 1)) == "oversized"


def test_the_limit_of_size_is_in_bytes() -> None:
    data = encode(b"x" * 98)
    assert decode(data, Limits(size=100)) == b"x" * 98
    assert refused(data, Limits(size=99)) == "oversized"
