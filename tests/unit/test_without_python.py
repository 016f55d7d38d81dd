"""A device without Python: its agent under the shells that boards have, in a folder of ours."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest

from deploy.agent.state import State
from deploy.agent.steps import Steps
from deploy.inventory.program import Health, Program, Service
from deploy.release import deployment, removal
from deploy.release.agent_session import Session
from deploy.release.shell import agent, facts
from deploy.release.shell.session import ShellSession
from deploy.release.shell.sessions import open_session
from deploy.release.shell.state import Said
from deploy.ssh.connection import Connection
from tests.support.without_python import SHELLS, Board, bundle, own
from toolchain.bundle import assemble
from toolchain.core.errors import ConnectionFailed, DeviceRefused, ReleaseError, UsageError

ODD = 'share/it\'s $(touch pwned) `touch pwned` \\ "name" ; -rf *é.txt'
# more than one piece of a transfer
LARGE = bytes(range(256)) * 5000


@pytest.fixture(params=SHELLS)
def board(request: pytest.FixtureRequest, tmp_path: Path) -> Board:
    return Board(tmp_path / "home", request.param)


@pytest.fixture
def bundles(tmp_path: Path) -> list[Path]:
    return [
        bundle(tmp_path / str(n), {ODD: b"odd %d" % n, "lib/large.bin": LARGE, "empty": b""})
        for n in range(4)
    ]


def connection(board: Board) -> Connection:
    return cast("Connection", board)


def eventually(holds: Callable[[], bool]) -> bool:
    """Whether it holds before long: a process on the device looks once a second."""
    for _ in range(200):
        if holds():
            return True
        time.sleep(0.05)
    return False


def test_releases_come_go_back_and_are_cleared_away(board: Board, bundles: list[Path]) -> None:
    first = board.deploy(bundles[0])
    assert (first.status, first.sent) == ("done", assemble.load(own(bundles[0])).payload_size())
    running = board.running()
    assert running is not None
    sent = own(bundles[0])
    assert {p.relative_to(running) for p in running.rglob("*")} == {
        *(p.relative_to(sent) for p in sent.rglob("*")),
        Path("installed.json"),
    }
    assert (running / "library" / ODD).read_bytes() == b"odd 0"
    assert (running / "library/lib/large.bin").read_bytes() == LARGE
    assert board.deploy(bundles[0]).status == "unchanged"
    second = board.deploy(bundles[1])
    assert second.sent == len("odd 1"), "what is there is not sent again"
    assert second.replaced == first.folder
    back = board.rollback()
    assert (back.folder, back.replaced) == (first.folder, second.folder)
    assert board.running() == running
    assert board.deploy(bundles[1]).sent == 0
    third = board.deploy(bundles[2], keep=1)
    assert third.removed == [first.folder]
    assert {p.name for p in (board.root / "releases").iterdir()} == {second.folder, third.folder}
    used = {f.sha256 for n in (1, 2) for f in assemble.load(own(bundles[n])).files}
    assert {p.name for p in (board.root / "blobs").iterdir()} == used
    assert board.debris() == []
    assert list(board.home.rglob("pwned")) == []
    listed = deployment.releases(connection(board))
    assert [(r.folder, r.running, r.previous) for r in listed] == [
        (second.folder, False, True),
        (third.folder, True, False),
    ]


def test_a_release_is_removed_by_its_name(board: Board, bundles: list[Path]) -> None:
    first, second = (board.deploy(one).folder for one in bundles[:2])
    with pytest.raises(ReleaseError, match="is the release that runs"):
        removal.remove_release(connection(board), second, previous=False)
    with pytest.raises(ReleaseError, match="what a rollback goes back to"):
        removal.remove_release(connection(board), first, previous=False)
    half = board.root / "incoming" / f"{'a' * 64}.part"
    half.write_text("received so far")
    assert removal.remove_release(connection(board), first, previous=True).folder == first
    assert half.exists()  # a transfer that was cut goes on
    assert [p.name for p in (board.root / "releases").iterdir()] == [second]
    assert not (board.root / "previous").is_symlink()
    used = {f.sha256 for f in assemble.load(own(bundles[1])).files}
    assert {p.name for p in (board.root / "blobs").iterdir()} == used


def test_a_python_that_comes_later_goes_on(board: Board, bundles: list[Path]) -> None:
    folders = [board.deploy(one).folder for one in bundles[:2]]
    state = State(str(board.root))
    assert [r["folder"] for r in state.releases()] == folders
    assert all(state.whole(folder) for folder in folders)
    assert (state.linked("current"), state.linked("previous")) == (folders[1], folders[0])
    steps = Steps(str(board.root))
    steps.lock("python")
    assert steps.rollback(60)["to"] == folders[0]
    assert steps.clean(3) == []


def test_damage_is_found_and_mended(board: Board, bundles: list[Path]) -> None:
    board.hurt = lambda content: content[:-1] + b"?" if content == b"odd 0" else content
    with pytest.raises(ReleaseError, match="arrived damaged"):
        board.deploy(bundles[0])
    assert board.running() is None
    board.hurt = lambda content: content
    first, second = (board.deploy(one) for one in bundles[:2])
    for path in ("releases/{}/library/" + ODD, "blobs"):
        there = board.root / path.format(first.folder)
        for one in [there] if there.is_file() else there.iterdir():
            if one.read_bytes() == b"odd 0":
                one.unlink()
                one.write_bytes(b"odd ?")
    with pytest.raises(ReleaseError, match=r"is damaged"):
        board.rollback()
    again = board.deploy(bundles[0])
    assert again.folder == f"{first.folder}-2"
    assert board.running() == board.root / "releases" / again.folder
    assert board.rollback().folder == second.folder


def test_a_release_that_went_bad_is_laid_out_again(board: Board, bundles: list[Path]) -> None:
    first = board.deploy(bundles[0])
    board.deploy(bundles[1])
    hurt = board.root / "releases" / first.folder / "library" / ODD
    hurt.unlink()
    hurt.write_bytes(b"odd")
    assert board.rollback().folder == f"{first.folder}-2"
    running = board.running()
    assert running is not None
    assert (running / "library" / ODD).read_bytes() == b"odd 0"


def test_one_deployer_at_a_time(board: Board, bundles: list[Path]) -> None:
    with open_session(connection(board)) as session:
        session.lock("the first")
        with pytest.raises(DeviceRefused, match="another deployment") as refused:
            board.deploy(bundles[0])
        assert refused.value.detail == "by the first"
        with open_session(connection(board)) as other:
            assert other.inspect().holder == "the first"
    assert board.deploy(bundles[0]).status == "done"


def test_a_switch_that_is_not_confirmed_goes_back(board: Board, bundles: list[Path]) -> None:
    first = board.deploy(bundles[0])
    board.deploy(bundles[1])
    with pytest.raises(ConnectionFailed), open_session(connection(board)) as session:  # noqa: PT012
        session.lock("me")
        assert session.switch(first.folder, confirm_within=60)
        assert board.running() == board.root / "releases" / first.folder
        board.started[-1].kill()
        session.confirm()
    assert eventually(lambda: board.debris() == [])
    assert board.running() != board.root / "releases" / first.folder
    assert board.deploy(bundles[1]).status == "unchanged"
    assert board.debris() == []


def test_a_confirmation_that_comes_too_late_is_none(board: Board, bundles: list[Path]) -> None:
    first = board.deploy(bundles[0])
    second = board.deploy(bundles[1])
    with pytest.raises((ConnectionFailed, ReleaseError)), open_session(connection(board)) as s:  # noqa: PT012
        s.lock("me")
        assert s.switch(first.folder, confirm_within=1)
        assert eventually(lambda: board.debris() == [])
        assert board.running() == board.root / "releases" / second.folder
        s.confirm()
    assert board.deploy(bundles[1]).status == "unchanged"


def test_after_a_power_cut_whoever_comes_next_goes_back(board: Board, bundles: list[Path]) -> None:
    first = board.deploy(bundles[0])
    second = board.deploy(bundles[1])
    note = {"back": second.folder, "previous": first.folder, "program": None}
    (board.root / "pending").write_text(json.dumps(note))
    link = board.root / "current"
    link.unlink()
    link.symlink_to(f"releases/{first.folder}")
    third = board.deploy(bundles[2])
    assert third.replaced == second.folder
    assert board.debris() == []


def test_keys_keep_out_what_no_signature_was_checked_of(board: Board, bundles: list[Path]) -> None:
    board.deploy(bundles[0])
    (board.root / "trusted_keys").write_text("")
    with pytest.raises(DeviceRefused, match="signed releases only"):
        board.deploy(bundles[1])
    assert removal.trusted(connection(board)).keys == {}
    with pytest.raises(DeviceRefused, match="no signature"):
        deployment.trust(connection(board), "ssh-ed25519 AAAA")


def test_a_list_of_keys_without_its_last_line_break_hides_no_release(
    board: Board, bundles: list[Path]
) -> None:
    first = board.deploy(bundles[0])
    (board.root / "trusted_keys").write_text("ssh-ed25519 AAAA\nssh-ed25519 BBBB")
    with open_session(connection(board)) as session:
        there = session.inspect()
    assert there.keys == ["ssh-ed25519 AAAA", "ssh-ed25519 BBBB"]
    assert [release.folder for release in there.releases] == [first.folder]


def test_a_folder_of_someone_else_is_left_alone(board: Board, bundles: list[Path]) -> None:
    board.root.mkdir()
    (board.root / "photos").mkdir()
    with pytest.raises(DeviceRefused, match="has other things in it: photos"):
        board.deploy(bundles[0])
    with (
        pytest.raises(ReleaseError, match="has other things in it"),
        open_session(connection(board)) as session,
    ):
        session.lock("me")
    assert [p.name for p in board.root.iterdir()] == ["photos"]


def test_a_device_that_lacks_programs_is_told_which(tmp_path: Path, bundles: list[Path]) -> None:
    board = Board(tmp_path / "home", "dash")
    board.path = str(board.home / "bin")
    with pytest.raises(DeviceRefused, match=r"no Python, and no .*setsid.*sha256sum"):
        board.deploy(bundles[0])


def test_one_that_says_nothing_loses_the_lock(
    board: Board, bundles: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as soon:
        soon.setattr(agent, "IDLE", 1 - agent.LONGEST_STEP)
        with pytest.raises(ConnectionFailed), open_session(connection(board)) as session:  # noqa: PT012
            session.lock("one who vanished")
            assert board.started[-1].wait() != 0
            session.inspect()
    assert board.deploy(bundles[0]).status == "done"


def test_no_name_becomes_a_line_of_its_own(board: Board) -> None:
    with open_session(connection(board)) as session:
        with pytest.raises(UsageError, match="line break"):
            session.lock("me\nbye 0")
        assert session.inspect().holder is None


PROGRAM = """\
echo "$EDGEWRIGHT_RELEASE" > ~/started
echo "hello from ${EDGEWRIGHT_RELEASE##*/}"
grep -q 1 "$EDGEWRIGHT_RELEASE"/library/share/* && exit 3
sleep 600
"""


def alive(number: int) -> bool:
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_the_program_goes_where_the_releases_go(board: Board, bundles: list[Path]) -> None:
    (board.home / "program.sh").write_text(PROGRAM)
    (board.home / "well.sh").write_text('[ "$(cat ~/started)" = "$EDGEWRIGHT_RELEASE" ]\n')
    program = Program(
        service=Service(command="sh ~/program.sh"),
        health=Health(command="sh ~/well.sh", within=10),
    )

    def process() -> int:
        return int(json.loads((board.root / "program.json").read_text())["process"])

    try:
        first = board.deploy(bundles[0], program=program)
        assert Path((board.home / "started").read_text().strip()).name == first.folder
        number = process()
        assert alive(number)
        assert board.deploy(bundles[0], program=program).status == "unchanged"
        assert process() == number
        with pytest.raises(ReleaseError, match=f"so it went back to {first.folder}$") as failed:
            board.deploy(bundles[1], program=program)
        assert "its program ended" in failed.value.brief
        assert "hello from" in failed.value.detail
        assert not alive(number)
        assert alive(process())
        assert board.running() == board.root / "releases" / first.folder
        third = board.deploy(bundles[2], program=program)
        assert board.rollback().folder == first.folder
        assert Path((board.home / "started").read_text().strip()).name == first.folder
        log = (board.root / "program.log").read_text()
        assert log.count(f"hello from {first.folder}") == 3
        assert f"hello from {third.folder}" in log
        assert board.debris() == []
    finally:
        os.killpg(process(), signal.SIGKILL)


def test_a_health_check_that_never_succeeds_or_ends(board: Board, bundles: list[Path]) -> None:
    (board.home / "slow.sh").write_text("sleep 600\n")
    first = board.deploy(bundles[0])
    # a busy machine may take seconds to start and end one
    for command, why, within in (
        ("sh ~/slow.sh", "did not end", 1),
        ("false", "exit status 1", 6),
    ):
        unwell = Program(health=Health(command=command, within=within))
        with pytest.raises(ReleaseError, match=f"did not succeed within {within} s") as failed:
            board.deploy(bundles[1], program=unwell)
        assert why in failed.value.detail
        assert board.running() == board.root / "releases" / first.folder


@pytest.mark.parametrize(
    ("program", "why"),
    [
        (Program(service=Service(unit="detector.service")), "service must be a command"),
        (Program(health=Health(url="http://127.0.0.1/")), "health must be a command"),
        (Program(service=Service(command="no-such-program")), "there is no program no-such"),
    ],
)
def test_a_program_that_cant_be_run_there(
    board: Board, bundles: list[Path], program: Program, why: str
) -> None:
    with pytest.raises(DeviceRefused, match=why):
        board.deploy(bundles[0], program=program)
    assert not board.root.exists()


def test_the_script_has_no_fault_that_shellcheck_knows(tmp_path: Path) -> None:
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not installed")
    script = tmp_path / "agent.sh"
    script.write_text("".join((agent.SCRIPT / f"{part}.sh").read_text() for part in agent.PARTS))
    # `a && b || c` is meant so: c where either fails. A ~ in a pattern is one that came in a word.
    found = subprocess.run(
        ["shellcheck", "--shell", "sh", "--exclude", "SC2015,SC2088", script],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert found.stdout == ""


def test_every_step_of_a_session_has_its_way_without_python() -> None:
    asked = {name for name in vars(Session) if not name.startswith("_")}
    own_ways = {name for one in (ShellSession, agent.ShellAgent) for name in vars(one)}
    assert asked <= own_ways


@pytest.mark.parametrize(
    ("mounts", "executable"),
    [
        (["/dev/root / ext4 rw 0 0", "tmpfs /data tmpfs rw,noexec 0 0"], False),
        (["tmpfs / tmpfs noexec 0 0", "/dev/sda /data ext4 rw 0 0"], True),
        (["/dev/root / ext4 rw 0 0", "tmpfs /data/x tmpfs noexec 0 0"], True),
        (["/dev/root / ext4 rw 0 0", "tmpfs /dat tmpfs noexec 0 0", "odd"], True),
        ([], True),
    ],
)
def test_where_nothing_may_be_run(mounts: list[str], *, executable: bool) -> None:
    lines = ["class 1", "disk 5 4096 0", "where /data", "ram 7", "time 8", "auxv 16 3 26 4"]
    said = Said([*lines, *(f"mount {line}" for line in mounts)])
    found = facts.facts(said, "/data/edgewright", ())
    assert found["executable"] is executable
    assert (found["disk_free"], found["ram"], found["bits"]) == (5 * 4096, 7 * 1024, 32)
    assert (found["hwcap"], found["hwcap2"]) == (3, 4)
