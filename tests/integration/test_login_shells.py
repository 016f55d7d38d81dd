"""What a login's own shell does before any command: it is said so, at once."""

from __future__ import annotations

import time

import pytest

from deploy.release import preflight
from deploy.ssh import connection
from tests.support.sshd import Sshd
from toolchain.core.errors import ConnectionFailed, DeviceRefused, EdgewrightError

pytestmark = pytest.mark.integration
# what sshd has the shell do in a command's place
GOES_ON = 'sh -c "$SSH_ORIGINAL_COMMAND"'


def refused(sshd: Sshd, shell: str) -> tuple[EdgewrightError, float]:
    """The error of a probe of a device whose login does that, and how long it took, in seconds."""
    sshd.more = [f"ForceCommand {shell}"]
    sshd.stop()
    sshd.start()
    with connection.connect(sshd.device) as conn:
        began = time.monotonic()
        with pytest.raises(EdgewrightError) as caught:
            preflight.probe(conn)
        return caught.value, time.monotonic() - began


@pytest.mark.parametrize(
    ("shell", "shown"),
    [
        (f"echo Welcome to the board; {GOES_ON}", "Welcome to the board"),
        (f"printf 'one\\ntwo\\nthree\\n'; {GOES_ON}", "one"),
        (f"printf 'no end of the line '; {GOES_ON}", "no end of the line"),
        (f"echo 42; {GOES_ON}", "42"),
        (f"echo; {GOES_ON}", ""),
    ],
)
def test_a_shell_that_prints_is_named(sshd: Sshd, shell: str, shown: str) -> None:
    error, seconds = refused(sshd, shell)
    assert isinstance(error, DeviceRefused)
    assert "prints" in error.brief
    assert shown in error.detail
    assert "Python" not in str(error)
    assert ".bashrc" in error.resolution
    assert seconds < 8  # two waits of five seconds, before


@pytest.mark.parametrize(
    ("shell", "shown"),
    [
        ("exit 0", "0"),
        ("echo 'this account is not available' >&2; exit 1", "not available"),
        ("echo 'this account is not available'; exit 1", "not available"),
        ("exit 127", "127"),
        ("kill -9 $$", ""),
    ],
)
def test_a_shell_that_ends_before_the_command_is_named(sshd: Sshd, shell: str, shown: str) -> None:
    error, seconds = refused(sshd, shell)
    assert isinstance(error, DeviceRefused)
    assert "shell" in error.brief
    assert shown in error.detail
    assert "Python" not in str(error)
    assert seconds < 8  # two waits of five seconds, before


def test_a_shell_that_prints_on_its_standard_error_disturbs_nothing(sshd: Sshd) -> None:
    sshd.more = [f"ForceCommand echo Welcome >&2; {GOES_ON}"]
    sshd.stop()
    sshd.start()
    with connection.connect(sshd.device) as conn:
        assert conn.run(["echo", "here"]) == "here\n"


def test_a_link_that_is_lost_before_a_command_begins_is_no_shells_fault(sshd: Sshd) -> None:
    sshd.more = ["ForceCommand sleep 30"]
    sshd.stop()
    sshd.start()
    with connection.connect(sshd.device) as conn, conn.start(["true"], limit=20) as process:
        conn.abort()
        with pytest.raises(ConnectionFailed, match="lost"):
            process.line()
