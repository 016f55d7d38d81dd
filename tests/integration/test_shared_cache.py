"""A team's cache in real places: OpenSSH's server, and one that speaks S3."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Thread

import pytest

from tests.support.shared_caches import INPUTS, WHEEL, Team, build
from tests.support.sshd import Sshd
from toolchain.core.store import digest_of
from toolchain.shared_cache import shared_cache

pytestmark = pytest.mark.integration
KEY = digest_of(INPUTS)


@pytest.fixture
def over_ssh(
    sshd: Sshd, ssh_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Team, Path]:
    """The team's cache on another machine, and the folder that it is there."""
    folder = tmp_path / "there" / "a folder"
    folder.parent.mkdir()
    return Team(tmp_path, f"sftp://127.0.0.1:{sshd.port}{folder}", monkeypatch), folder


def test_one_gives_and_another_takes_over_sftp(over_ssh: tuple[Team, Path]) -> None:
    team, folder = over_ssh
    given = team.built("giver", share=True)
    assert sorted(path.name for path in folder.iterdir()) == ["entries", "files"]
    team.said.clear()
    taken = team.built("taker")
    assert taken.files == given.files
    assert team.builds == 1
    assert team.said[0].startswith(f"shared cache: wheel {KEY[:12]} is taken, 2.0 MB")
    # one that isn't there is no reason to ask nothing more
    store = team.machine("taker")
    store.get_or_build({**INPUTS, "n": 1}, build)
    assert len(team.said) == 1


def altered(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1] + b"!")


def endless(path: Path) -> None:
    with path.open("ab") as stream:
        stream.truncate(1 << 36)


@pytest.mark.parametrize("damage", [altered, endless, Path.unlink])
@pytest.mark.parametrize("what", ["files", "entries"])
def test_an_entry_that_was_altered_there_is_built_here(
    over_ssh: tuple[Team, Path], damage: Callable[[Path], None], what: str
) -> None:
    team, folder = over_ssh
    team.given()
    damage(max((folder / what).glob("*/*"), key=lambda path: path.stat().st_size))
    assert team.built("taker").fresh
    assert len(team.said) == (0 if (what, damage) == ("entries", Path.unlink) else 1)
    assert not any("taken" in line for line in team.said)


@pytest.mark.parametrize("known", ["", "other_host_key"])
def test_a_host_key_that_is_not_known_is_refused_and_not_written_down(
    over_ssh: tuple[Team, Path], sshd: Sshd, known: str
) -> None:
    team, _ = over_ssh
    team.given()
    sshd.trust(*([known] if known else []))
    before = (sshd.folder / "known_hosts").read_text()
    assert team.built("taker").fresh
    (line,) = team.said
    assert line.endswith("done without from here on: Host key verification failed.")
    assert (sshd.folder / "known_hosts").read_text() == before


def test_a_login_that_is_refused_and_a_server_that_hangs_take_two_seconds(
    over_ssh: tuple[Team, Path], sshd: Sshd
) -> None:
    team, _ = over_ssh
    (sshd.folder / "user_key.pub").write_text("")
    assert team.built("one").fresh
    assert "Permission denied" in team.said.pop()
    sshd.freeze()
    try:
        started = time.monotonic()
        assert team.built("two").fresh
        assert time.monotonic() - started < 2
        assert "no answer within 1.5 s" in team.said[0]
    finally:
        sshd.thaw()


def test_a_folder_there_that_takes_nothing_is_said_once(over_ssh: tuple[Team, Path]) -> None:
    team, folder = over_ssh
    folder.mkdir()
    (folder / "files").touch()  # root may write everywhere, but makes no folder of a file
    store = team.machine("one", share=True)
    for number in range(2):
        store.get_or_build({**INPUTS, "n": number}, build)
    (line,) = team.said
    assert "nothing is given to it" in line


def test_one_gives_and_another_takes_over_s3(
    s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import s3fs

    team = Team(tmp_path, s3, monkeypatch)
    given = team.given()
    assert team.built("taker").files == given.files
    assert team.builds == 0
    files = s3fs.S3FileSystem(skip_instance_cache=True)
    wheel = max(files.find("team/cache/files"), key=files.size)
    files.pipe_file(wheel, WHEEL[:-1] + b"!")
    assert team.built("third").fresh
    assert "was altered" in team.said[-1]
    files.pipe_file(wheel, WHEEL * 3)
    assert team.built("fourth").fresh
    assert "is larger than it says" in team.said[-1]


def test_what_a_bucket_refuses_is_one_line(
    s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    team = Team(tmp_path, "s3://nobodys/cache", monkeypatch)
    assert team.built("one", share=True).fresh
    (line,) = team.said
    assert "nothing is given to it" in line
    assert "\n" not in line
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    team.said.clear()
    team.address = s3
    monkeypatch.setenv("EDGEWRIGHT_SHARED_CACHE", s3)
    started = time.monotonic()
    assert team.built("two").fresh
    assert time.monotonic() - started < 4
    (line,) = team.said
    assert "credentials" in line.lower()


def test_a_bucket_that_is_away_takes_two_seconds(
    s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    team = Team(tmp_path, s3, monkeypatch)
    team.machine("warm").get_or_build(INPUTS, build)  # the library is imported
    assert team.said == []
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    started = time.monotonic()
    assert team.built("one").fresh
    assert time.monotonic() - started < 2
    assert len(team.said) == 1


def test_a_bucket_that_ends_connections_is_not_asked_by_two_that_try_again(
    s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import s3fs

    team = Team(tmp_path, s3, monkeypatch)
    monkeypatch.setattr(shared_cache, "PATIENCE_S", 60.0)  # it is the tries that are counted
    with socket.create_server(("127.0.0.1", 0)) as server:
        tries: list[None] = []

        def end() -> None:
            with suppress(OSError):  # at the end it is closed
                while True:
                    server.accept()[0].close()
                    tries.append(None)

        Thread(target=end, daemon=True).start()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.getsockname()[1]}")
        assert team.built("one").fresh
        # s3fs tries again, and aiohttp each of these once; botocore would five times
        assert 1 <= len(tries) <= 2 * s3fs.S3FileSystem.retries
    assert "no answer within" not in team.said[0]
