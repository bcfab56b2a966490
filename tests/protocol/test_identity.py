"""Peer ids are those that libp2p gives the same key; checking a signature never raises."""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collab.protocol.identity import Identity, peer_id_of, public_key_of, verify

# py-libp2p and hivemind cannot share a process, so each oracle runs in its own.
_LIBP2P = """
import sys
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.peer.id import ID
seed, signature, data = (bytes.fromhex(part) for part in sys.argv[1:])
pair = create_new_key_pair(seed)
assert pair.public_key.verify(data, signature)
print(ID.from_pubkey(pair.public_key), pair.private_key.sign(data).hex())
"""
_P2PD = """
import asyncio, sys
from hivemind.p2p import P2P
async def main():
    p2p = await P2P.create(identity_path=sys.argv[1], host_maddrs=["/ip4/127.0.0.1/tcp/0"], nat_port_map=False, auto_nat=False)
    print(p2p.peer_id)
    await p2p.shutdown()
asyncio.run(main())
"""


def ask(oracle: str, *arguments: str) -> list[str]:
    command = [sys.executable, "-P", "-W", "ignore", "-c", oracle, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_ids_and_signatures_are_those_of_py_libp2p() -> None:
    me = Identity(b"\x2a" * 32)
    peer_id, signature = ask(_LIBP2P, me.seed.hex(), me.sign(b"data").hex(), b"data".hex())
    assert peer_id == me.peer_id
    assert verify(peer_id, bytes.fromhex(signature), b"data")


def test_p2pd_reads_the_identity_file_as_the_same_peer(tmp_path: Path) -> None:
    me = Identity(b"\x2a" * 32)
    (tmp_path / "identity").write_bytes(me.libp2p_bytes())
    assert ask(_P2PD, str(tmp_path / "identity")) == [me.peer_id]


def test_the_identity_file_is_a_protobuf_private_key() -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    me = Identity(b"\x07" * 32)
    public = Ed25519PrivateKey.from_private_bytes(me.seed).public_key().public_bytes_raw()
    # Field 1 (key type) = 1, Ed25519; field 2 (data), 64 bytes: seed and public key.
    assert me.libp2p_bytes() == bytes([0x08, 1, 0x12, 64]) + me.seed + public


@given(st.binary(min_size=32, max_size=32))
def test_a_peer_id_is_its_public_key(public_key: bytes) -> None:
    assert public_key_of(peer_id_of(public_key)) == public_key


@pytest.mark.parametrize(
    "text",
    [
        "", "x", "0" * 52, "l" * 52, "é" * 52, "1" * 52, " " + Identity(bytes(32)).peer_id, Identity(bytes(32)).peer_id + "\n",
        Identity(bytes(32)).peer_id[:-1], "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N",   # of an RSA key
    ],
)  # fmt: skip
def test_what_is_no_peer_id(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not the peer id of an Ed25519 key$"):
        public_key_of(text)


def test_a_long_text_is_refused_before_it_is_decoded() -> None:
    with pytest.raises(ValueError, match="is not the peer id") as caught:
        public_key_of("2" * 10_000_000)
    assert len(str(caught.value)) < 200


def test_a_signature_is_of_one_key_over_one_text() -> None:
    me, other = Identity(b"\1" * 32), Identity(b"\2" * 32)
    signature = me.sign(b"data")
    assert verify(me.peer_id, signature, b"data")
    assert not verify(me.peer_id, signature, b"Data")
    assert not verify(other.peer_id, signature, b"data")
    for at in range(0, 64, 9):
        broken = bytearray(signature)
        broken[at] ^= 1
        assert not verify(me.peer_id, bytes(broken), b"data")


def test_a_signature_has_no_second_form() -> None:
    # S + L verifies under sloppy implementations, and would give one statement two envelopes (RFC 8032, section 5.1.7).
    me = Identity(b"\1" * 32)
    signature = me.sign(b"data")
    order = (1 << 252) + 27742317777372353535851937790883648493
    shifted = int.from_bytes(signature[32:], "little") + order
    assert not verify(me.peer_id, signature[:32] + shifted.to_bytes(32, "little"), b"data")


@given(st.text(max_size=60) | st.binary(min_size=32, max_size=32).map(peer_id_of), st.binary(max_size=70), st.binary(max_size=10))
def test_verify_never_raises(peer_id: str, signature: bytes, data: bytes) -> None:
    assert verify(peer_id, signature, data) is False


def test_keys_are_made_at_random_and_not_shown() -> None:
    one, two = Identity.generate(), Identity.generate()
    assert one.peer_id != two.peer_id
    assert Identity(one.seed).peer_id == one.peer_id
    assert one.seed.hex() not in repr(one)
    assert repr(one.seed) not in repr(one)
