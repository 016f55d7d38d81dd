"""Deployments to a device that has busybox and Dropbear, and neither Python nor an sftp-server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.inventory.program import NONE, Health, Program, Service
from deploy.measure.exclusive_use import exclusive
from deploy.release import deployment, preflight
from deploy.release.plan import Outcome
from deploy.ssh import connection
from tests.support.faults.link import Harm
from tests.support.small_board import SmallBoard
from tests.support.without_python import bundle
from toolchain.core.errors import DeviceRefused, EdgewrightError, ReleaseError

pytestmark = pytest.mark.integration
LARGE = bytes(range(256)) * 6000  # three pieces of a transfer


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallBoard]:
    started = SmallBoard(tmp_path_factory.mktemp("small"))
    yield started
    started.end()


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("bundles")
    return [bundle(folder / str(n), {"large": LARGE, "share/n": b"%d" % n}) for n in range(3)]


def deploy(board: SmallBoard, bundle: Path, python: str = "3", program: Program = NONE) -> Outcome:
    with connection.connect(board.device(python, program)) as conn:
        return deployment.deploy(conn, bundle)


def running(board: SmallBoard) -> str:
    return (board.releases / "current/library/share/n").read_text()


def test_that_it_has_no_python_is_found_out(board: SmallBoard, bundles: list[Path]) -> None:
    with connection.connect(board.device()) as conn:
        facts = preflight.probe(conn)
    assert (facts.python, facts.machine, facts.bits) == ("none", "x86_64", 64)
    assert Path(facts.root).parts == ("/", "root", "edgewright")
    first = deploy(board, bundles[0])
    assert first.sent == len(LARGE) + 1
    assert deploy(board, bundles[0], "none").status == "unchanged"
    second = deploy(board, bundles[1], "none")
    assert (second.sent, running(board)) == (1, "1")
    with connection.connect(board.device("none")) as conn:
        back = deployment.rollback(conn)
        listed = deployment.releases(conn)
    assert (back.folder, running(board)) == (first.folder, "0")
    assert [r.running for r in listed] == [True, False]
    with pytest.raises(DeviceRefused, match=r"no python3\.12"):
        deploy(board, bundles[0], "3.12")


def test_what_a_cut_link_has_brought_there_is_not_sent_again(
    board: SmallBoard, bundles: list[Path], tmp_path: Path
) -> None:
    deploy(board, bundles[0], "none")
    long = bytes(range(256)) * 24000
    last = bundle(tmp_path / "last", {"long": long, "share/n": b"9"})
    with board.proxied() as (proxy, far):
        proxy.harm = Harm(kind="cut", after=len(long) // 2)
        with pytest.raises(EdgewrightError), connection.connect(far) as conn:
            deployment.deploy(conn, last)
        assert proxy.struck > 0
    assert running(board) == "0"
    assert 0 < (deploy(board, last, "none").sent or 0) < 0.75 * len(long)
    assert running(board) == "9"
    assert (board.releases / "current/library/long").read_bytes() == long


def test_what_needs_a_python_there_says_so(board: SmallBoard) -> None:
    with (
        connection.connect(board.device()) as conn,
        pytest.raises(DeviceRefused, match="no Python, and bench needs one there"),
        exclusive(conn, "bench", lambda _: None, quiet=False),
    ):
        pass


def test_its_program_goes_where_the_releases_go(board: SmallBoard, bundles: list[Path]) -> None:
    (board.root / "root/well").write_text('! grep -q 2 "$EDGEWRIGHT_RELEASE/library/share/n"\n')
    program = Program(
        service=Service(command="sh -c 'cat $EDGEWRIGHT_RELEASE/library/share/n; sleep 600'"),
        health=Health(command="sh ~/well", within=2),
    )
    deploy(board, bundles[1], "none", program)
    with pytest.raises(ReleaseError, match="did not succeed within 2 s, so it went back to"):
        deploy(board, bundles[2], "none", program)
    assert running(board) == "1"
    assert (board.releases / "program.log").read_text() == "121"
