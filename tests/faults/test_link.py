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
from contextlib import contextmanager
from pathlib import Path

import pytest

from deploy.inventory.reading import Device
from deploy.release import deployment
from deploy.ssh import connection, login, rsync_transfer, sftp_transfer, stream_transfer
from tests.support import tools
from tests.support.bundles import make_bundle, noise
from tests.support.faults.bench import LONG, SEED
from tests.support.faults.cores import on_every_core
from tests.support.faults.link import Harm, Proxy
from tests.support.sshd import Sshd
from toolchain.core.errors import ConnectionFailed, EdgewrightError

SIZE = (4 << 20) if LONG else (1 << 20)
STEP = 64 << 10
RANDOM = int(os.environ.get("EDGEWRIGHT_OFFSETS", "1000" if LONG else "20"))
# what may be under way, and a stream's piece that is being written; rsync's own words for a small
# file. A link ends at a byte of SSH, so what SSH itself said by then is counted as sent again.
SSH = 32 << 10
TWICE = {
    "sftp": sftp_transfer.UNDER_WAY + SSH,
    "stream": stream_transfer.UNDER_WAY + stream_transfer.PIECE,
    "rsync": rsync_transfer.UNDER_WAY + rsync_transfer.PIECE + rsync_transfer.HELD + (32 << 10),
}


@pytest.fixture(scope="module", params=TWICE)
def way(request: pytest.FixtureRequest) -> str:
    """How files go: every test is done by each."""
    return str(request.param)


@pytest.fixture(scope="module")
def programs(way: str, tmp_path_factory: pytest.TempPathFactory) -> Path | None:
    """Where both ends have rsync from; None when they have none."""
    if way != "rsync":
        return None
    return tools.install("rsync", "usr/bin/rsync", tmp_path_factory.mktemp("link") / "rsync")


@contextmanager
def serving(folder: Path, way: str, programs: Path | None) -> Iterator[Sshd]:
    server = Sshd(folder)
    server.sftp = way == "sftp"
    if programs is not None:
        (server.folder / "bin" / "rsync").symlink_to(programs / "rsync")
    server.start()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="module")
def board(
    way: str, programs: Path | None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Sshd]:
    with serving(tmp_path_factory.mktemp("link") / "device", way, programs) as server:
        yield server


@pytest.fixture(autouse=True)
def here(way: str, programs: Path | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home of the test's own, and rsync for files of any size where it is tested."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    monkeypatch.setattr(rsync_transfer, "FROM", 0 if way == "rsync" else 1 << 60)
    if programs is not None:
        monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")


@contextmanager
def proxied(board: Sshd) -> Iterator[Proxy]:
    made = Proxy(board.port)
    key = (board.folder / "host_key.pub").read_text()
    (board.folder / "known_hosts").write_text(f"[127.0.0.1]:{made.port} {key}")
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def proxy(board: Sshd) -> Iterator[Proxy]:
    with proxied(board) as made:
        yield made


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
    way: str, programs: Path | None, tmp_path: Path, kind: str
) -> None:
    source = tmp_path / "large"
    source.write_bytes(noise(SIZE))

    def part(number: int, parts: int) -> dict[str, int]:
        with serving(tmp_path / f"part{number}", way, programs) as board, proxied(board) as proxy:
            again = [resumed(board, proxy, source, kind, o) for o in offsets()[number::parts]]
        return {"count": len(again), "worst": max(again, default=0)}

    found = on_every_core(part)
    count, worst = sum(f["count"] for f in found), max(f["worst"] for f in found)
    print(f"{way}, {kind} and resumed: {count}, at most {worst} bytes sent again")  # noqa: T201
    assert count == len(offsets())
    assert worst <= TWICE[way]


def resumed(board: Sshd, proxy: Proxy, source: Path, kind: str, offset: int) -> int:
    """End a transfer there, and go on with it; returns how many bytes were sent twice."""
    target, device = board.folder / "arrived", through(board, proxy)
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
    return again - (SIZE - offset)


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


@pytest.mark.parametrize("kind", ["cut", "reset"])
def test_a_server_that_closes_before_a_word_is_asked_again(
    board: Sshd, proxy: Proxy, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(login, "AGAIN_AFTER", (0, 0))
    proxy.harm = Harm(kind=kind, after=1 << 30)
    proxy.turns_away = 2
    with connection.connect(through(board, proxy)) as conn:
        assert conn.run(["echo", "here"]) == "here\n"
    assert proxy.turns_away == 0
    proxy.turns_away = 5
    with pytest.raises(ConnectionFailed, match="no connection to"):
        login.open_fabric(through(board, proxy))
    assert proxy.turns_away == 2, "not three tries"


@pytest.mark.parametrize("kind", ["black hole", "half closed"])
def test_a_link_that_swallows_is_given_up(
    board: Sshd, proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(connection, "TRANSFER_STALL", 3.0)
    # what is begun there is to be ended over this link too, which is tried for so long
    monkeypatch.setattr(login, "ANSWER_LIMIT", 8.0)
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
                done = deployment.deploy(conn, folder)
            break
        except EdgewrightError:
            settled(board)
    sent = proxy.sent
    assert done.status == "done"
    print(f"deployment cut {tries - 1} times: {sent} bytes for 6000000")  # noqa: T201
    assert tries > 4
    assert sent < 6_000_000 + tries * (TWICE[way] + 300_000)
