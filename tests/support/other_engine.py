"""A Docker engine on another machine, as far as a client can tell: reached by SSH alone.

It is a dockerd in a mount namespace of its own, in which the folders of this machine that
containers would mount are empty, behind a real sshd of 127.0.0.1. Its network is its own too: an
engine without a bridge removes the one that it finds, which is this machine's.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.sshd import Sshd
from toolchain.core import paths, process
from toolchain.core.errors import CommandError

START_S = 60
NAMESPACED = """
set -e
for folder in "$@"; do mount -t tmpfs tmpfs "$folder"; done
echo '{}' > "$STATE/daemon.json"
exec dockerd --config-file "$STATE/daemon.json" --host "unix://$STATE/docker.sock" \
  --data-root "$STATE/data" --exec-root "$STATE/run" --pidfile "$STATE/pid" \
  --bridge none --iptables=false --ip-masq=false
"""


@dataclass(frozen=True, kw_only=True)
class OtherEngine:
    """An engine that runs.

    Attributes:
        address: what DOCKER_HOST names it by.
        env: of tasks that are to use it: DOCKER_HOST, and a home with the SSH keys.
        home: that home.
    """

    address: str
    env: dict[str, str]
    home: Path


@contextmanager
def other_engine(state: Path, folder: Path, hidden: Sequence[Path]) -> Iterator[OtherEngine]:
    """An engine that sees none of some folders of this machine.

    Args:
        state: an empty folder that is in none of these; its images are there.
        folder: an empty folder for the sshd and the user's home.
        hidden: these folders, such as the cache.
    """
    engine = _dockerd(state, hidden)
    sshd = Sshd(folder / "sshd")
    try:
        _wait(engine, state)
        command = sshd.folder / "bin" / "docker"
        command.write_text(
            f'#!/bin/sh\nexec {shutil.which("docker")} --host unix://{state}/docker.sock "$@"\n'
        )
        command.chmod(0o755)
        sshd.start()
        yield _user(sshd, folder / "home")
    finally:
        sshd.stop()
        engine.send_signal(signal.SIGTERM)
        engine.wait()


def _user(sshd: Sshd, home: Path) -> OtherEngine:
    """A user who may log in there."""
    settings = home / ".ssh"
    settings.mkdir(parents=True)
    sshd.trust("host_key")
    shutil.copyfile(sshd.folder / "known_hosts", settings / "known_hosts")
    (settings / "config").write_text(f"Host *\n  IdentityFile {sshd.folder}/user_key\n")
    address = f"ssh://root@127.0.0.1:{sshd.port}"
    env = {"DOCKER_HOST": address, "HOME": str(home), "EDGEWRIGHT_CACHE": str(paths.cache())}
    return OtherEngine(address=address, env=env, home=home)


def _dockerd(state: Path, hidden: Sequence[Path]) -> subprocess.Popen[bytes]:
    if os.geteuid() != 0 or shutil.which("dockerd") is None:
        pytest.skip("only root can start a second engine")
    with (state / "log").open("wb") as log:
        return subprocess.Popen(
            [
                "unshare",
                "--mount",
                "--net",
                "--propagation",
                "private",
                "sh",
                "-c",
                NAMESPACED,
                "sh",
            ]
            + [str(path) for path in hidden],
            env={**os.environ, "STATE": str(state)},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def _wait(engine: subprocess.Popen[bytes], state: Path) -> None:
    deadline = time.monotonic() + START_S
    while engine.poll() is None and time.monotonic() < deadline:
        with suppress(CommandError):
            process.run(["docker", "--host", f"unix://{state}/docker.sock", "version"])
            return
        time.sleep(0.3)
    raise AssertionError((state / "log").read_text()[-3000:])
