"""A device whose first process is a real systemd: a container of the emulated device's image.

Debian's packages of systemd, pinned, are installed as it starts. Logins are those of `edge`, who
may call systemctl by sudo and whose own units run without a login; logind knows of each.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from deploy.inventory.program import Program
from deploy.inventory.reading import Device
from tests.support import tools
from tests.support.sshd import free_port, keygen
from toolchain import targets
from toolchain.core import process
from toolchain.core.errors import CommandError
from toolchain.core.store import Store
from toolchain.images import build, specification
from toolchain.images.engine import Engine
from toolchain.lock import fetch
from toolchain.lock.pins import Pinned

SYSTEM = "debian12"  # its systemd runs on machines with control groups of version 1 too
PYTHON = "3.11"
HOME = "/home/edge"
# One package wants another configured before it is unpacked: all of them come at once. A container
# has control groups of version 2 for reading alone.
BEGIN = """
dpkg --install --force-unsafe-io --force-depends /packages/*.deb > /var/log/packages 2>&1 || {
  tail -n 5 /var/log/packages
  exit 1
}
printf '%s\\n' "$AUTHORIZED_KEY" > /home/edge/.ssh/authorized_keys
chown edge:edge /home/edge/.ssh/authorized_keys
ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/ssh_host_ed25519_key
echo 'edge ALL=(root) NOPASSWD: /usr/bin/systemctl' > /etc/sudoers.d/edge
sed -i 's/^UsePAM no/UsePAM yes/' /etc/ssh/sshd_config.d/*.conf
mkdir -p /var/lib/systemd/linger
touch /var/lib/systemd/linger/edge
test ! -e /sys/fs/cgroup/cgroup.controllers || mount -o remount,rw /sys/fs/cgroup
exec /lib/systemd/systemd --log-target=console --show-status=false
"""
# what systemd mounts and asks of the kernel, a container may not by itself
ALLOWED = (
    *("--cap-add=SYS_ADMIN", "--cgroupns=private"),
    *("--security-opt=seccomp=unconfined", "--security-opt=apparmor=unconfined"),
)


class SystemdDevice:
    """The running device; the test is skipped where systemd can't begin in a container.

    Args:
        folder: where to put its keys.
    """

    def __init__(self, folder: Path) -> None:
        if os.uname().machine != "x86_64" or shutil.which("docker") is None:
            pytest.skip("the pinned packages of systemd are for x86-64, in a container of Docker")
        self.folder, self.port = folder, free_port()
        self.name = f"edgewright-systemd-{os.getpid()}"
        store = Store()
        packages = [fetch.path_of(Pinned(**pin), store) for pin in tools.pins("systemd")]
        spec = specification.spec("device", targets.target("x86_64"), SYSTEM)
        image = build.build(spec, Engine(), store, progress=lambda _: None)
        keygen(folder / "user_key")
        key = (folder / "user_key.pub").read_text().strip()
        options = ["--publish", f"127.0.0.1:{self.port}:22", "--env", f"AUTHORIZED_KEY={key}"]
        options += ["--tmpfs", "/run", "--tmpfs", "/tmp"]  # noqa: S108 (in the container)
        begin = ["--entrypoint", "/bin/sh", image.tag, "-c", BEGIN]
        process.run(["docker", "create", "--name", self.name, *ALLOWED, *options, *begin])
        try:
            self._bring(packages)
            self._await()
        except BaseException:
            self.end()
            raise

    def device(self, root: str, program: Program) -> Device:
        """As an inventory would describe it."""
        return Device(
            name="board",
            host="127.0.0.1",
            port=self.port,
            user="edge",
            target="rv64gc",
            python=PYTHON,
            key_file=self.folder / "user_key",
            known_hosts=self.folder / "known_hosts",
            root=root,
            program=program,
        )

    def call(self, command: Sequence[str], *, user: str = "root") -> str:
        """What a command there prints.

        Raises:
            CommandError: it exited non-zero.
        """
        about = ["--user", user, "--env", "XDG_RUNTIME_DIR=/run/user/1000"]
        return process.run(["docker", "exec", *about, self.name, *command])

    def write(self, path: str, content: str, *, user: str = "edge") -> None:
        """Put a file there, and the folders above it."""
        script = 'mkdir -p "$(dirname "$0")" && printf %s "$1" > "$0"'
        self.call(["sh", "-c", script, path, content], user=user)

    def drop_links(self) -> None:
        """End every login's connection, as if the cable had been pulled."""
        self.call(["pkill", "-KILL", "-u", "edge", "sshd"])

    def end(self) -> None:
        """Take it down."""
        process.run(["docker", "rm", "--force", "--volumes", self.name])

    def _bring(self, packages: Sequence[Path]) -> None:
        folder = self.folder / "packages"
        folder.mkdir()
        for number, package in enumerate(packages):
            shutil.copyfile(package, folder / f"{number}.deb")
        process.run(["docker", "cp", str(folder), f"{self.name}:/packages"])
        process.run(["docker", "start", self.name])

    def _await(self) -> None:
        """Until its sshd and both of its systemds answer."""
        shown = ["docker", "inspect", "--format", "{{.State.Running}}", self.name]
        until = time.monotonic() + 120
        while not self._answers():
            ended = process.run(shown).strip() != "true"
            if ended or time.monotonic() > until:
                said = process.run(["docker", "logs", "--tail", "5", self.name])
                if ended:
                    pytest.skip(f"systemd can't be a container's first process here: {said}")
                pytest.fail(f"its systemd did not begin in time: {said}")
            time.sleep(0.2)
        public = self.call(["cat", "/etc/ssh/ssh_host_ed25519_key.pub"])
        (self.folder / "known_hosts").write_text(f"[127.0.0.1]:{self.port} {public}")

    def _answers(self) -> bool:
        try:
            self.call(["systemctl", "is-active", "ssh.service"])
            self.call(["systemctl", "--user", "list-units"], user="edge")
        except CommandError:
            return False
        return True
