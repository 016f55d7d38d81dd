"""A device without Python: Debian's busybox and Dropbear in a changed root, reached by SSH.

No sftp-server, no flock, nothing of this machine's but its kernel: the processes see none of ours.
It needs root, and Linux's namespaces. On a board of another architecture all but Dropbear is that
one's, and emulated: busybox, and for programs the C and C++ libraries of Debian 13.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from deploy.inventory.program import NONE, Program
from deploy.inventory.reading import Device
from tests.support import tools
from tests.support.faults.link import Proxy
from tests.support.sshd import free_port, keygen
from toolchain.core.errors import EdgewrightError
from toolchain.core.store import Store
from toolchain.lock import fetch, pins
from toolchain.lock.pins import Pinned

DROPBEAR = "dropbear"
# By the target of a board: its busybox in tools.json, and whose lock has its libraries.
BOARDS = {
    "x86_64": ("busybox-static", ""),
    "aarch64": ("busybox-static-aarch64", "device-arm64-debian13"),
    "rv64gc": ("busybox-static-riscv64", "device-riscv64-debian13"),
}
LIBRARIES = ("libc6", "libgcc-s1", "libstdc++6")
# in namespaces of its own: its /proc is that of its processes alone
BEGIN = """
mount -t proc proc "$1/proc" && mount --bind /dev "$1/dev" || exit
exec chroot "$1" /usr/sbin/dropbear -F -E -s -p "127.0.0.1:$2" -r /etc/dropbear/key
"""


class SmallBoard:
    """The running device; the test is skipped where it can't be had.

    Args:
        folder: where to put its root and its keys.
        target: a key of `BOARDS`.
    """

    def __init__(self, folder: Path, target: str = "x86_64") -> None:
        if os.geteuid() != 0 or os.uname().machine != "x86_64" or not shutil.which("dpkg-deb"):
            pytest.skip("a changed root needs root and dpkg-deb, the pinned packages x86-64")
        self.folder, self.root, self.port = folder, folder / "device", free_port()
        self.target = target
        try:
            self._unpack()
        except EdgewrightError as error:
            pytest.skip(f"its packages can't be had: {error.brief} ({error.detail})")
        self._configure()
        begin = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", BEGIN, "sh"]
        with (folder / "log").open("wb") as log:
            self.process = subprocess.Popen(
                [*begin, self.root, str(self.port)], stderr=log, start_new_session=True
            )
        self._await()

    def device(self, python: str = "3", program: Program = NONE) -> Device:
        """As an inventory would describe it."""
        return Device(
            name="small",
            host="127.0.0.1",
            port=self.port,
            user="root",
            target=self.target,
            python=python,
            key_file=self.folder / "user_key",
            known_hosts=self.folder / "known_hosts",
            root="~/edgewright",
            program=program,
        )

    @contextmanager
    def proxied(self) -> Iterator[tuple[Proxy, Device]]:
        """A link to it that can be harmed, and the device at the other end."""
        proxy, known = Proxy(self.port), self.folder / "known_hosts"
        before = known.read_text()
        known.write_text(before.replace(f":{self.port} ", f":{proxy.port} "))
        try:
            yield proxy, replace(self.device("none"), port=proxy.port)
        finally:
            proxy.close()
            known.write_text(before)

    def inventory(self, path: Path) -> list[str]:
        """Write an inventory of it alone; the options that name it to tasks."""
        path.write_text(
            "all:\n  hosts:\n    small:\n      ansible_host: 127.0.0.1\n"
            f"      ansible_port: {self.port}\n      ansible_user: root\n"
            f"      ansible_ssh_private_key_file: {self.folder}/user_key\n"
            f"      edgewright:\n        target: {self.target}\n        python: none\n"
            f"        known_hosts: {self.folder}/known_hosts\n"
        )
        return ["--host", "small", "--inventory", str(path)]

    def call(self, *command: str) -> str:
        """What a command there prints; a refusal is a `CalledProcessError`."""
        ran = subprocess.run(
            ["chroot", self.root, *command], check=True, capture_output=True, text=True
        )
        return ran.stdout

    @property
    def releases(self) -> Path:
        """Our folder there."""
        return self.root / "root/edgewright"

    def end(self) -> None:
        """Take it down."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def _unpack(self) -> None:
        busybox, locked = BOARDS[self.target]
        packages = [Pinned(**pin) for name in (busybox, DROPBEAR) for pin in tools.pins(name)]
        if locked:
            there = pins.image(locked).packages
            packages += [one.pinned() for one in there if one.name in LIBRARIES]
        for pin in packages:
            path = fetch.path_of(pin, Store())
            # as a system's root it has links to absolute paths
            subprocess.run(["dpkg-deb", "--extract", path, self.root], check=True)
        # of a Debian whose /lib and /bin are links
        for path in (*self.root.glob("usr/lib/ld-linux-*"), *self.root.glob("usr/bin/busybox")):
            link = self.root / path.parent.name / path.name
            link.parent.mkdir(exist_ok=True)
            link.symlink_to(f"../usr/{path.parent.name}/{path.name}")

    def _configure(self) -> None:
        for name in ("proc", "dev", "tmp", "var/run", "etc/dropbear", "root/.ssh"):
            (self.root / name).mkdir(parents=True, exist_ok=True)
        for path in (self.root / "root", self.root / "root/.ssh"):
            path.chmod(0o700)
        (self.root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
        (self.root / "etc/group").write_text("root:x:0:\n")
        for command in (
            ["/bin/busybox", "--install", "-s", "/bin"],
            ["/usr/bin/dropbearkey", "-t", "ed25519", "-f", "/etc/dropbear/key"],
        ):
            said = self.call(*command)
        public = next(line for line in said.splitlines() if line.startswith("ssh-ed25519"))
        (self.folder / "known_hosts").write_text(f"[127.0.0.1]:{self.port} {public}\n")
        keygen(self.folder / "user_key")
        keys = self.root / "root/.ssh/authorized_keys"
        shutil.copyfile(self.folder / "user_key.pub", keys)
        keys.chmod(0o600)

    def _await(self) -> None:
        for _ in range(200):
            if "Not backgrounding" in (self.folder / "log").read_text():
                return
            if self.process.poll() is not None:
                break
            time.sleep(0.05)
        pytest.fail(f"dropbear did not start: {(self.folder / 'log').read_text()}")
