"""A switch that nobody confirms: automatic rollback, even when the deployer is gone."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from deploy.release import deployment, fleet, rollout
from deploy.release.agent_answers import SwitchedBack
from deploy.release.agent_session import Session
from deploy.release.fleet import Limits
from deploy.release.plan import Outcome
from deploy.release.shell.sessions import open_session
from deploy.ssh import connection
from tests.support.bundles import make_bundle
from tests.support.sshd import Sshd, deploy, processes_with, wait_until
from toolchain.bundle import assemble
from toolchain.core.errors import ConnectionFailed, OutcomeUnknown, ReleaseError

pytestmark = pytest.mark.integration


@pytest.fixture
def two(sshd: Sshd, tmp_path: Path) -> tuple[str, str]:
    """A device that ran the first release and runs the second."""
    return tuple(  # type: ignore[return-value]
        deploy(sshd.device, make_bundle(tmp_path / v, version=v)).folder for v in ("1.0", "2.0")
    )


def links(sshd: Sshd) -> tuple[str, str]:
    return sshd.root.joinpath("current").readlink().name, sshd.root.joinpath(
        "previous"
    ).readlink().name


def agents(sshd: Sshd) -> list[int]:
    return processes_with(str(sshd.root))


@contextmanager
def lost(sshd: Sshd) -> Iterator[Session]:
    """A session whose last request meets a link or an agent that is no more."""
    with (
        connection.connect(sshd.device) as conn,
        pytest.raises(ConnectionFailed),
        open_session(conn) as session,
    ):
        yield session


def switch(session: Session, folder: str, seconds: float) -> None:
    session.lock("test")
    manifest = Path(session.root, "releases", folder, "manifest.json").read_text()
    session.authorize(json.loads(manifest)["release"], None)
    assert session.switch(folder, confirm_within=seconds)


def test_without_a_confirmation_in_time_it_goes_back(sshd: Sshd, two: tuple[str, str]) -> None:
    """The deployer's link seems to live, and nothing comes over it."""
    with lost(sshd) as session:
        switch(session, two[0], 3)
        assert links(sshd)[0] == two[0]
        assert wait_until(lambda: links(sshd) == (two[1], two[0]))
        assert wait_until(lambda: not agents(sshd)), "it keeps the lock for nobody"
        session.confirm()
    assert not (sshd.root / "pending").exists()
    assert not (sshd.root / "returning").exists()


def test_a_link_that_drops_before_the_confirmation_undoes_it(
    sshd: Sshd, two: tuple[str, str]
) -> None:
    with lost(sshd) as session:
        switch(session, two[0], 600)
        sshd.drop_links()
        session.confirm()
    assert wait_until(lambda: links(sshd) == (two[1], two[0]))
    assert wait_until(lambda: not agents(sshd))


def test_an_agent_that_is_killed_undoes_it(sshd: Sshd, two: tuple[str, str]) -> None:
    with lost(sshd) as session:
        switch(session, two[0], 600)
        group = {os.getpgid(p) for p in agents(sshd)}
        assert len(group) == 2, "the one that waits is in the group of the one that asks"
        os.killpg(min(group), signal.SIGKILL)
        session.confirm()
    assert wait_until(lambda: links(sshd) == (two[1], two[0]))


def test_when_all_of_ours_is_killed_the_next_one_undoes_it(
    sshd: Sshd, two: tuple[str, str]
) -> None:
    with lost(sshd) as session:
        switch(session, two[0], 600)
        for number in (signal.SIGSTOP, signal.SIGKILL):  # none sees another one end
            for process in agents(sshd):
                os.kill(process, number)
        session.confirm()
    assert wait_until(lambda: not agents(sshd))
    assert links(sshd)[0] == two[0]
    with connection.connect(sshd.device) as conn:
        assert deployment.running_in(conn, "0" * 64, wait=5) is None
    assert links(sshd) == (two[1], two[0])


def test_a_first_release_that_is_not_confirmed_leaves_none(sshd: Sshd, tmp_path: Path) -> None:
    done = deploy(sshd.device, make_bundle(tmp_path / "b"))
    (sshd.root / "current").unlink()
    with lost(sshd) as session:
        switch(session, done.folder, 600)
        assert sshd.running() == done.folder
        sshd.drop_links()
        session.confirm()
    assert wait_until(lambda: sshd.running() is None)
    assert deploy(sshd.device, tmp_path / "b").folder == done.folder
    assert sshd.running() == done.folder


def test_a_confirmed_switch_holds_and_nobody_waits_on(sshd: Sshd, two: tuple[str, str]) -> None:
    with connection.connect(sshd.device) as conn, open_session(conn) as session:
        switch(session, two[0], 600)
        session.confirm()
        with pytest.raises(ReleaseError, match="too late"):
            session.confirm()
    assert links(sshd) == two
    assert wait_until(lambda: not agents(sshd))


@pytest.mark.parametrize(
    ("at", "status"), [("before", "failed"), ("after", "done"), ("for good", "unknown")]
)
def test_a_device_lost_at_its_switch_is_asked_what_it_runs(
    sshd: Sshd, two: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    at: str, status: str,
) -> None:  # fmt: skip
    confirm = Session.confirm

    def lossy(self: Session) -> None:
        if at == "after":
            confirm(self)
        sshd.drop_links()
        if at == "for good":
            sshd.stop()
        raise ConnectionFailed("cut here")

    monkeypatch.setattr(Session, "confirm", lossy)
    folder = make_bundle(tmp_path / "3", version="3.0")
    (result,) = fleet.run(
        [sshd.device], rollout.deployed({"rv64gc": folder}), limits=Limits(), show=lambda *_: None
    )
    assert result.status == status, result.plain()
    if isinstance(result.value, Outcome):  # what it did not say is not known, and no zero
        assert (result.value.sent, result.value.seconds) == (None, None)
        assert result.value.sent_in_words() == "unknown"
    new = assemble.load(folder).release[:16]
    assert wait_until(lambda: links(sshd)[0] == (new if at == "after" else two[1]))


def test_the_only_device_that_is_lost_is_an_error_of_its_own(
    sshd: Sshd, two: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rollback = Session.rollback

    def lossy(self: Session, to: str = "") -> SwitchedBack:
        sshd.drop_links()
        return rollback(self, to)

    monkeypatch.setattr(Session, "rollback", lossy)
    with connection.connect(sshd.device) as conn, pytest.raises(OutcomeUnknown, match="lost while"):
        deployment.rollback(conn)
