"""Certificates: what proves to anyone, at any time, that a commit is final."""

from collections.abc import Iterable
from itertools import pairwise

from .commit import Certificate, Commit, open_attestation
from .committee import Committee, draw
from .errors import RemoteProtocolError
from .event import EventManifest
from .messages import Attestation, Signed


def certify(attestation: Attestation, precommits: Iterable[Signed]) -> Certificate:
    """Return the certificate that these precommits, all saying `attestation`, make."""
    assert attestation.commit is not None
    ordered = sorted(precommits, key=lambda signed: signed.signer)
    return Certificate(
        event=attestation.event,
        base=attestation.base,
        commit=attestation.commit,
        epoch=attestation.epoch,
        view=attestation.view,
        precommits=tuple(signed.encode() for signed in ordered),
    )


def verify_certificate(
    event: EventManifest, base: Commit, certificate: Certificate, committee: Committee | None = None
) -> tuple[str, ...]:
    """Check that `certificate` makes a commit on `base` final, and return who signed, in order.

    `committee` is that of the certificate's epoch, where the caller has drawn it already. Raises RemoteProtocolError
    ("bad_certificate"), or what opening an envelope raises.
    """
    if certificate.event != event.digest or certificate.base != base.digest:
        raise RemoteProtocolError("bad_certificate", "for another event or base")
    committee = committee or draw(event, base, certificate.epoch)
    signers = tuple(_precommit_signer(certificate, envelope) for envelope in certificate.precommits)
    if any(first >= second for first, second in pairwise(signers)):
        raise RemoteProtocolError("bad_certificate", "signers out of order")
    if not all(signer in committee for signer in signers):
        raise RemoteProtocolError("bad_certificate", "signed by someone who is not on the committee")
    if len(signers) < committee.quorum:
        raise RemoteProtocolError("bad_certificate", f"{len(signers)} precommits where {committee.quorum} are needed")
    return signers


def _precommit_signer(certificate: Certificate, envelope: bytes) -> str:
    signed, attestation = open_attestation(envelope)
    expected = Attestation(
        event=certificate.event,
        base=certificate.base,
        epoch=certificate.epoch,
        view=certificate.view,
        stage="precommit",
        commit=certificate.commit,
    )
    if attestation != expected:
        raise RemoteProtocolError("bad_certificate", "an attestation of something else")
    return signed.signer
