"""A large file that the device has another form of goes by rsync, where both ends have it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support import tools
from tests.support.bundles import make_bundle, noise
from tests.support.sshd import Sshd, deploy

pytestmark = pytest.mark.integration


@pytest.fixture
def with_rsync(sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Both ends have rsync, and note each time that it is begun."""
    program = tools.install("rsync", "usr/bin/rsync", tmp_path / "rsync") / "rsync"
    log = tmp_path / "rsync-log"
    for folder, end in ((sshd.folder / "bin", "there"), (tmp_path / "path", "here")):
        folder.mkdir(exist_ok=True)
        noted = folder / "rsync"
        noted.write_text(f'#!/bin/sh\necho {end} "$@" >> {log}\nexec {program} "$@"\n')
        noted.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'path'}:{os.environ['PATH']}")
    return log


def test_of_a_file_that_changed_a_little_little_is_sent(
    sshd: Sshd, tmp_path: Path, with_rsync: Path
) -> None:
    before = noise(4 << 20)
    after = before[: 1 << 20] + b"something new" + before[1 << 20 :]
    deploy(sshd.device, make_bundle(tmp_path / "1", extra={"models/m": before}))
    assert not with_rsync.exists(), "there was nothing to compare with"
    done = deploy(
        sshd.device, make_bundle(tmp_path / "2", version="2.0", extra={"models/m": after})
    )
    assert (sshd.root / "current" / "models" / "m").read_bytes() == after
    assert (sshd.root / "previous" / "models" / "m").read_bytes() == before
    assert done.sent is not None
    assert 0 < done.sent < 200_000
    noted = with_rsync.read_text()
    assert [line.split()[0] for line in noted.splitlines()] == ["here", "there"]
    assert str(sshd.device.key_file) not in noted
    accepted = (sshd.folder / "log").read_text().count("Accepted publickey")
    assert accepted == 2, "rsync went over a connection of its own"
    assert list((sshd.root / "incoming").iterdir()) == []


def test_an_rsync_that_fails_there_leaves_the_file_to_sftp(
    sshd: Sshd, tmp_path: Path, with_rsync: Path
) -> None:
    (sshd.folder / "bin" / "rsync").write_text("#!/bin/sh\nexit 12\n")
    before, after = noise(2 << 20), noise(3 << 20)
    deploy(sshd.device, make_bundle(tmp_path / "1", extra={"models/m": before}))
    deploy(sshd.device, make_bundle(tmp_path / "2", version="2.0", extra={"models/m": after}))
    assert (sshd.root / "current" / "models" / "m").read_bytes() == after
    assert with_rsync.read_text().startswith("here")
