"""One download a blob, whoever asks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from collab.node.net.errors import NetworkError
from collab.node.rounds.fetching import Fetcher, Unavailable
from collab.node.store.blobs import Blobs
from collab.protocol.messages import Blob
from collab.protocol.record import sha256

DATA = b"some bytes"
BLOB = Blob(sha256=sha256(DATA), size=len(DATA))


class Donor:
    """A download that ends when the test lets it."""

    def __init__(self, blobs: Blobs) -> None:
        self.asked: list[tuple[bytes, int, list[str]]] = []
        self.go = asyncio.Event()
        self.fails = False
        self.blobs = blobs

    async def download(self, digest: bytes, size: int, peers: Sequence[str]) -> Path:
        self.asked.append((digest, size, list(peers)))
        self.blobs.partial_path(digest).write_bytes(DATA[:4])
        await self.go.wait()
        if self.fails:
            raise NetworkError("nobody has it")
        self.blobs.partial_path(digest).write_bytes(DATA)
        return self.blobs.commit_partial(digest, self.blobs.partial_path(digest))


@pytest.fixture
def donor(tmp_path: Path) -> Donor:
    blobs = Blobs(tmp_path)
    blobs.prepare()
    return Donor(blobs)


@pytest.fixture
async def fetcher(donor: Donor) -> AsyncIterator[Fetcher]:
    fetcher = Fetcher(donor.blobs, donor.download, lambda: ["peer", "maker"])
    yield fetcher
    await fetcher.close()
    assert len(asyncio.all_tasks()) == 1


async def turns(count: int = 5) -> None:
    """Let everything that can run do so."""
    for _ in range(count):
        await asyncio.sleep(0)


async def test_many_waiters_share_one_download(fetcher: Fetcher, donor: Donor) -> None:
    waiters = [asyncio.create_task(fetcher.fetch(BLOB, ("maker",))) for _ in range(5)]
    await turns()
    donor.go.set()
    paths = await asyncio.gather(*waiters)
    assert set(paths) == {donor.blobs.path(BLOB.sha256)}
    assert donor.asked == [(BLOB.sha256, BLOB.size, ["maker", "peer"])]


async def test_what_is_here_is_not_downloaded(fetcher: Fetcher, donor: Donor) -> None:
    donor.blobs.put_bytes(DATA)
    assert await fetcher.fetch(BLOB, ("maker",)) == donor.blobs.path(BLOB.sha256)
    assert donor.asked == []


async def test_a_cancelled_waiter_leaves_the_others_alone(fetcher: Fetcher, donor: Donor) -> None:
    first, second = (asyncio.create_task(fetcher.fetch(BLOB, ())) for _ in range(2))
    await turns()
    first.cancel()
    await turns()
    donor.go.set()
    assert (await second).read_bytes() == DATA
    assert first.cancelled()
    assert len(donor.asked) == 1


async def test_a_download_that_nobody_waits_for_any_more_may_fail_quietly(fetcher: Fetcher, donor: Donor) -> None:
    donor.fails = True
    waiter = asyncio.create_task(fetcher.fetch(BLOB, ()))
    await turns()
    waiter.cancel()
    donor.go.set()
    await turns(20)
    assert not fetcher._running


async def test_another_size_than_the_blob_has_is_refused(fetcher: Fetcher, donor: Donor) -> None:
    donor.blobs.put_bytes(DATA)
    with pytest.raises(Unavailable, match="10 bytes where 11 are claimed"):
        await fetcher.fetch(Blob(sha256=BLOB.sha256, size=11), ())


async def test_a_lie_about_the_size_does_not_harm_who_asks_for_the_true_one(fetcher: Fetcher, donor: Donor) -> None:
    liar = asyncio.create_task(fetcher.fetch(Blob(sha256=BLOB.sha256, size=11), ()))
    await turns()
    honest = asyncio.create_task(fetcher.fetch(BLOB, ()))
    await turns()
    donor.go.set()
    assert (await honest).read_bytes() == DATA
    with pytest.raises(Unavailable, match="10 bytes where 11 are claimed"):
        await liar


async def test_a_failure_of_the_network_is_unavailable_and_may_be_tried_again(fetcher: Fetcher, donor: Donor) -> None:
    donor.fails = True
    donor.go.set()
    with pytest.raises(Unavailable, match="nobody has it"):
        await fetcher.fetch(BLOB, ())
    donor.fails = False
    assert (await fetcher.fetch(BLOB, ())).read_bytes() == DATA


async def test_close_keeps_what_was_fetched_so_far(fetcher: Fetcher, donor: Donor) -> None:
    waiter = asyncio.create_task(fetcher.fetch(BLOB, ()))
    await turns()
    await fetcher.close()
    with pytest.raises(asyncio.CancelledError):
        await waiter
    assert donor.blobs.partial_path(BLOB.sha256).read_bytes() == DATA[:4]
