"""The state hash: every byte, name and shape counts, and the tree is RFC 6962's."""

import hashlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collab.protocol.canonical import encode
from collab.protocol.errors import LocalProtocolError
from collab.protocol.merkle import BLOCK_BYTES, root, state_hash, tensor_hash

Tensor = tuple[str, tuple[int, ...], bytes]
STATE: list[Tensor] = [("a", (2, 3), bytes(range(24))), ("b.w", (4,), bytes(16)), ("c", (), b"\0\0\x80\x3f")]


def sha(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()


def test_the_tree_of_rfc_6962() -> None:
    # The inputs and roots of the test vectors that Certificate Transparency's implementations share.
    inputs = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
    roots = [
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ]
    leaves = [sha(b"\0", bytes.fromhex(text)) for text in inputs]
    assert [root(leaves[:count]).hex() for count in range(9)] == roots


@given(st.lists(st.binary(min_size=32, max_size=32), min_size=2, max_size=40))
def test_a_tree_splits_at_the_largest_power_of_two_below_its_size(leaves: list[bytes]) -> None:
    split = max(1 << power for power in range(6) if 1 << power < len(leaves))
    assert root(leaves) == sha(b"\1", root(leaves[:split]), root(leaves[split:]))


@pytest.mark.parametrize("size", [0, 1, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, 3 * BLOCK_BYTES])
def test_tensors_are_hashed_by_blocks(size: int) -> None:
    data = bytes(number % 251 for number in range(1000)) * (size // 1000 + 1)
    data = data[:size]
    blocks = [sha(b"\0", data[start : start + BLOCK_BYTES]) for start in range(0, size, BLOCK_BYTES)]
    assert tensor_hash("w", (size,), data) == sha(b"\2", encode(["w", [size]]), root(blocks))


@pytest.mark.parametrize("at", [0, BLOCK_BYTES - 1, BLOCK_BYTES, 2 * BLOCK_BYTES - 1])
def test_a_changed_byte_on_either_side_of_a_block_changes_the_hash(at: int) -> None:
    data = bytearray(2 * BLOCK_BYTES)
    before = tensor_hash("w", (1,), data)
    data[at] ^= 1
    assert tensor_hash("w", (1,), data) != before


@given(st.integers(0, 2), st.data())
def test_every_byte_name_and_shape_counts(which: int, data: st.DataObject) -> None:
    name, shape, values = STATE[which]
    broken = bytearray(values)
    broken[data.draw(st.integers(0, len(values) - 1))] ^= data.draw(st.integers(1, 255))
    others = [
        (name, shape, bytes(broken)),
        (name + "x", shape, values),
        (name, (*shape, 1), values),
        (name, shape, values + b"\0"),
    ]
    hashes = {state_hash([*STATE[:which], other, *STATE[which + 1 :]]) for other in [STATE[which], *others]}
    assert len(hashes) == 5
    assert state_hash(STATE) in hashes


def test_what_moves_between_tensors_counts() -> None:
    assert state_hash([("a", (1,), b"xy"), ("b", (1,), b"z")]) != state_hash([("a", (1,), b"x"), ("b", (1,), b"yz")])
    assert state_hash(STATE) != state_hash(STATE[:2])
    assert state_hash([]) == sha()


@pytest.mark.parametrize("names", [("b", "a"), ("a", "a"), ("a", "B")])
def test_names_must_ascend(names: tuple[str, str]) -> None:
    with pytest.raises(LocalProtocolError, match="out of order"):
        state_hash([(name, (), b"") for name in names])


def test_every_buffer_gives_the_same_hash() -> None:
    data = bytes(range(64))
    floats: Any = memoryview(data).cast("f")
    hashes = [tensor_hash("w", (16,), buffer) for buffer in (data, bytearray(data), memoryview(data), floats)]
    assert len(set(hashes)) == 1
