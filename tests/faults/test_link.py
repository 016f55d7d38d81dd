"""Whatever the link does to a transfer, the bytes arrive whole, and few of them twice.

`Connection.push` over a real sshd, through a proxy. EDGEWRIGHT_FAULTS=long takes a larger file and
a thousand random offsets, or as many as EDGEWRIGHT_OFFSETS says.
"""

from __future__ import annotations

import dataclasses
import os
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy import connection, release, rsync, sftp_writes, stream_writes
from deploy.inventory import Device
from tests import tools
from tests.bundles import make_bundle, noise
from tests.faults.link import Harm, Proxy
from tests.integration.sshd import Sshd
from toolchain.errors import ConnectionFailed, EdgewrightError

LONG = os.environ.get("EDGEWRIGHT_FAULTS") == "long"
SIZE = (4 << 20) if LONG else (1 << 20)
STEP = 64 << 10
RANDOM = int(os.environ.get("EDGEWRIGHT_OFFSETS", "1000" if LONG else "20"))
SEED = 6
# what may be under way, and the piece that is being written; rsync's own words for a small file
TWICE = {
    "sftp": sftp_writes.UNDER_WAY + sftp_writes.PIECE,
    "stream": stream_writes.UNDER_WAY + stream_writes.PIECE,
    "rsync": rsync.UNDER_WAY + rsync.PIECE + rsync.HELD + (32 << 10),
}


@pytest.fixture(scope="module", params=TWICE)
def way(request: pytest.FixtureRequest) -> str:
    """How files go: every test is done by each."""
    return str(request.param)


@pytest.fixture(scope="module")
def board(way: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    folder = tmp_path_factory.mktemp("link")
    server = Sshd(folder / "device")
    server.sftp = way == "sftp"
    if way == "rsync":
        (server.folder / "bin" / "rsync").symlink_to(
            tools.install("rsync", "usr/bin/rsync", folder / "rsync") / "rsync"
        )
    server.start()
    yield server
    server.stop()


@pytest.fixture
def proxy(
    way: str, board: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Proxy]:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(rsync, "FROM", 0 if way == "rsync" else 1 << 60)
    monkeypatch.setenv("PATH", f"{board.folder}/bin:{os.environ['PATH']}")
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    made = Proxy(board.port)
    key = (board.folder / "host_key.pub").read_text()
    (board.folder / "known_hosts").write_text(f"[127.0.0.1]:{made.port} {key}")
    yield made
    made.close()


def through(board: Sshd, proxy: Proxy) -> Device:
    return dataclasses.replace(board.device, port=proxy.port)


def push(device: Device, source: Path, target: Path) -> int:
    # rsync only goes where there is something to compare with, be it of no use
    other = target.with_name("other")
    other.write_bytes(b"nothing like it")
    with connection.connect(device) as conn:
        return conn.push(source, str(target), resume=True, basis=str(other))


def offsets() -> list[int]:
    """Every 64 KiB, and some between them; the first bytes are the handshake's."""
    chance = random.Random(SEED)  # noqa: S311 (a seed is the point)
    return [*range(STEP, SIZE, STEP), *(chance.randrange(8000, SIZE) for _ in range(RANDOM))]


@pytest.mark.parametrize("kind", ["cut", "reset"])
def test_a_link_that_ends_anywhere_is_resumed(
    way: str, board: Sshd, proxy: Proxy, tmp_path: Path, kind: str
) -> None:
    source, target = tmp_path / "large", board.folder / "arrived"
    source.write_bytes(noise(SIZE))
    device = through(board, proxy)
    count = worst = 0
    for offset in offsets():
        target.unlink(missing_ok=True)
        Path(f"{target}.part").unlink(missing_ok=True)
        before = proxy.struck
        proxy.harm = Harm(kind=kind, after=offset)
        with pytest.raises(ConnectionFailed):
            push(device, source, target)
        assert proxy.struck == before + 1
        assert not target.exists(), "half a file has its name"
        settled(board)
        proxy.harm = Harm()
        again = push(device, source, target)
        assert target.read_bytes() == source.read_bytes(), f"{kind} at {offset}"
        count += 1
        worst = max(worst, again - (SIZE - offset))
    print(f"{way}, {kind} and resumed: {count}, at most {worst} bytes sent again")  # noqa: T201
    assert count
    assert worst <= TWICE[way]


def settled(board: Sshd) -> None:
    """Until sshd has seen the end of the link and written what it had."""
    assert board.process is not None
    listing = Path(f"/proc/{board.process.pid}/task/{board.process.pid}/children")
    end = time.monotonic() + 20
    while listing.read_text().split() and time.monotonic() < end:
        time.sleep(0.005)


@pytest.mark.parametrize("kind", ["sliced", "throttled"])
def test_a_slow_link_is_only_slow(board: Sshd, proxy: Proxy, tmp_path: Path, kind: str) -> None:
    source, target = tmp_path / "large", board.folder / f"slow-{kind}"
    source.write_bytes(noise(1 << 20))
    proxy.harm = Harm(kind=kind, after=100)
    assert push(through(board, proxy), source, target) >= 1 << 20
    assert target.read_bytes() == source.read_bytes()
    assert proxy.struck == 1


@pytest.mark.parametrize("after", [30, 700, 2500, 9000, 100_000, 700_000])
def test_a_flipped_bit_ends_the_link_and_harms_nothing(
    board: Sshd, proxy: Proxy, tmp_path: Path, after: int
) -> None:
    source, target = tmp_path / "large", board.folder / f"flipped-{after}"
    source.write_bytes(noise(1 << 20))
    proxy.harm = Harm(kind="flip", after=after)
    with pytest.raises(ConnectionFailed):
        push(through(board, proxy), source, target)
    assert proxy.struck == 1
    assert not target.exists()
    proxy.harm = Harm()
    settled(board)
    push(through(board, proxy), source, target)
    assert target.read_bytes() == source.read_bytes()


@pytest.mark.parametrize("kind", ["black hole", "half closed"])
def test_a_link_that_swallows_is_given_up(
    board: Sshd, proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(connection, "TRANSFER_STALL", 3.0)
    source, target = tmp_path / "large", board.folder / f"swallowed-{kind.split(maxsplit=1)[0]}"
    source.write_bytes(noise(6 << 20))
    proxy.harm = Harm(kind=kind, after=500_000)
    with pytest.raises(ConnectionFailed):
        push(through(board, proxy), source, target)
    assert proxy.struck == 1
    assert not target.exists()


def test_a_deployment_over_a_link_that_keeps_ending_gets_there(
    way: str, board: Sshd, proxy: Proxy, tmp_path: Path
) -> None:
    """Each try ends after the same number of bytes, until one is done before."""
    folder = make_bundle(tmp_path / "b", extra={"models/m": noise(6_000_000)})
    device = dataclasses.replace(through(board, proxy), root=str(board.folder / "kept-ending"))
    tries, sent = 0, 0
    while True:
        tries += 1
        assert tries < 30
        # the handshake and the agent's program come first
        proxy.harm = Harm(kind="reset" if tries % 2 else "cut", after=1_200_000)
        try:
            with connection.connect(device) as conn:
                done = release.deploy(conn, folder)
            break
        except EdgewrightError:
            settled(board)
    sent = proxy.sent
    assert done.status == "done"
    print(f"deployment cut {tries - 1} times: {sent} bytes for 6000000")  # noqa: T201
    assert tries > 4
    assert sent < 6_000_000 + tries * (TWICE[way] + 300_000)
