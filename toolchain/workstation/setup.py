"""This machine's set-up: a Docker engine that answers, emulators that are registered.

`checks` looks and changes nothing; `install` mends what it can, as root on Debian or Ubuntu, and
otherwise says exactly what to install.
"""

from __future__ import annotations

import getpass
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from toolchain.core import process, store
from toolchain.core.errors import CommandError, EngineError
from toolchain.images import engine_connection
from toolchain.images.engine import Engine
from toolchain.images.unprivileged import root_job
from toolchain.targets import all_targets

PACKAGES = {
    "dockerd": "docker.io",
    "qemu-riscv64-static": "qemu-user-static",
    "update-binfmts": "binfmt-support",
    "mmdebstrap": "mmdebstrap",
    "ssh-keygen": "openssh-client",
}
FOR_TESTS = {
    "sshd": "openssh-server",
    "strace": "strace",
    "mkfs.ext4": "e2fsprogs",
    # they change more of what a build must not depend on
    "disorderfs": "disorderfs",
    "faketime": "faketime",
    "shellcheck": "shellcheck",
    # looks at the report's page
    "chromium": "chromium",
}
BINFMT = Path("/proc/sys/fs/binfmt_misc")
PIDS = (Path("/var/run/docker.pid"), Path("/run/docker/containerd/containerd.pid"))
SOCKETS = (Path("/var/run/docker.sock"), Path("/run/docker/containerd/containerd.sock"))
ENGINE_PROCESSES = ("dockerd", "containerd")
ENGINE_START_S = 60
FREE_GB = 15


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing that this machine needs.

    Attributes:
        name: what it is.
        ok: whether it is there.
        found: what was found.
        resolution: what to do when it is missing.
    """

    name: str
    ok: bool
    found: str
    resolution: str


def checks() -> list[Check]:
    """The state of everything that the tasks need; changes nothing."""
    setup = "run: invoke setup   (as root)"
    found: list[Check] = []
    for command, package in PACKAGES.items():
        if command == "dockerd":
            continue  # an engine may run on another machine: whether one answers is what counts
        path = shutil.which(command, path=_system_path())
        found.append(
            Check(
                name=command,
                ok=path is not None,
                found=path or "missing",
                resolution=f"apt-get install {package}",
            )
        )
    try:
        found.append(
            Check(name="Docker engine", ok=True, found=Engine().version(), resolution=setup)
        )
    except EngineError as error:
        mend = _let_in() or setup
        found.append(Check(name="Docker engine", ok=False, found=error.brief, resolution=mend))
    if root_job.needed():
        found.append(_namespaces())
    for name in emulators():
        entry = BINFMT / f"qemu-{name}"
        text = entry.read_text() if entry.is_file() else "not registered"
        ok = text.startswith("enabled") and "F" in _flags(text)
        found.append(
            Check(name=f"emulator {name}", ok=ok, found=text.splitlines()[0], resolution=setup)
        )
    free = _free_gb(store.Store().root)
    found.append(
        Check(
            name="free disk",
            ok=free >= FREE_GB,
            found=f"{free:.0f} GB",
            resolution=f"{FREE_GB} GB are needed; EDGEWRIGHT_CACHE=FOLDER moves the cache",
        )
    )
    return found


def _let_in() -> str:
    """What lets this user use the engine, where its socket is there and closed to the user."""
    socket = SOCKETS[0]
    try:
        local = engine_connection.is_local(engine_connection.address())
    except EngineError:  # a context that isn't there: said where the engine is looked for
        local = False
    if not local or not socket.exists() or os.access(socket, os.W_OK):
        return ""
    return f"run as root: usermod --append --groups docker {getpass.getuser()}; then log in again"


def _namespaces() -> Check:
    """Whether this user, who is not root, may be root of a namespace, where images are made."""
    lacks = root_job.lacking()
    user = getpass.getuser()
    lent = f"usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {user}"
    return Check(
        name="user namespaces",
        ok=not lacks,
        found=lacks or f"root of one, as {user}",
        resolution=f"as root: apt-get install uidmap; {lent}; "
        "sysctl kernel.unprivileged_userns_clone=1",
    )


def emulators() -> list[str]:
    """qemu-user's names of the CPU families of all targets whose device it must stand in for."""
    foreign = (t for t in all_targets().values() if not t.native())
    return sorted({t.emulator.qemu for t in foreign if t.emulator is not None})


def install(progress: Callable[[str], None], *, tests: bool = False) -> None:
    """Install, start and register what is missing; for the tests, also what they alone need.

    Raises:
        EngineError: it can't be done here; the error says what to install by hand.
    """
    wanted = PACKAGES | FOR_TESTS if tests else PACKAGES
    if let_in := _let_in():
        raise EngineError(
            "the Docker engine is there, and this user may not use it", resolution=let_in
        )
    missing = [package for command, package in wanted.items() if _missing(command)]
    if missing:
        _may_install(missing)
        progress(f"installing {', '.join(missing)}")
        _install(missing)
    if not _answers():
        _refuse_elsewhere()
        _may_install(["docker.io"])
        progress("starting the Docker engine")
        _start_engine()
    if any(not c.ok for c in checks() if c.name.startswith("emulator ")):
        _may_install(["qemu-user-static"])
        progress("registering the emulators")
        _register()


def _missing(command: str) -> bool:
    if command == "dockerd":
        return not _answers() and shutil.which(command, path=_system_path()) is None
    return shutil.which(command, path=_system_path()) is None


def _system_path() -> str:
    return f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


def _answers() -> bool:
    try:
        Engine()
    except EngineError:
        return False
    return True


def _refuse_elsewhere() -> None:
    """Refuse to start an engine here when another machine's is wanted, and does not answer.

    Raises:
        EngineError: it is.
    """
    if not engine_connection.is_local(engine_connection.address()):
        Engine()


def _may_install(packages: list[str]) -> None:
    release = Path("/etc/os-release")
    text = release.read_text() if release.is_file() else ""
    debian = any(f"={name}" in text for name in ("debian", "ubuntu"))
    if os.geteuid() == 0 and debian:
        return
    raise EngineError(
        "this machine is not set up, and only root on Debian or Ubuntu can do it from here",
        detail=f"wanted: {', '.join(packages)}",
        resolution=f"run as root: apt-get install {' '.join(packages)}; then: invoke doctor",
    )


def _install(packages: list[str]) -> None:
    env = {"DEBIAN_FRONTEND": "noninteractive"}
    try:
        process.run(["apt-get", "update", "-qq"], env=env)
        # with what they recommend: mmdebstrap's foreign architectures need arch-test, the engine
        # iptables
        process.run(["apt-get", "install", "-y", "-qq", *packages, "iptables"], env=env)
    except CommandError as error:
        raise EngineError(
            f"apt could not install {', '.join(packages)}",
            detail=error.output,
            resolution="mend apt, then run: invoke setup",
        ) from error


def _start_engine() -> None:
    for path in PIDS:
        remove_stale_pid(path)
    for path in SOCKETS:
        path.unlink(missing_ok=True)
    log = store.Store().root / "dockerd.log"
    process.start_daemon([shutil.which("dockerd", path=_system_path()) or "dockerd"], log=log)
    deadline = time.monotonic() + ENGINE_START_S
    while not _answers():
        if time.monotonic() > deadline:
            tail = log.read_text(errors="replace").splitlines()[-15:]
            raise EngineError(
                f"dockerd did not answer within {ENGINE_START_S} s",
                detail="\n".join(tail),
                resolution=f"its log is {log}",
            )
        time.sleep(0.5)
    # no build can be under way with an engine that was not there
    Engine().remove_builds()


def remove_stale_pid(path: Path) -> None:
    """Remove a killed engine's pid file: dockerd won't start while any process has that id.

    Raises:
        EngineError: the process is an engine that runs.
    """
    if not path.is_file():
        return
    if _running(path) in ENGINE_PROCESSES:
        raise EngineError(
            "a Docker engine runs but does not answer",
            detail=f"process {path.read_text().strip()} ({_running(path)})",
            resolution="stop it, then run: invoke setup",
        )
    path.unlink()


def _running(pid_file: Path) -> str:
    """The name of the process that a pid file names; empty when it is gone or a zombie."""
    try:
        process_folder = Path(f"/proc/{int(pid_file.read_text())}")
        state = (process_folder / "stat").read_text().rsplit(")", 1)[1].split()[0]
        return "" if state in ("Z", "X") else (process_folder / "comm").read_text().strip()
    except (OSError, ValueError, IndexError):
        return ""


def _register() -> None:
    try:
        if not (BINFMT / "register").exists():
            process.run(["mount", "-t", "binfmt_misc", "binfmt_misc", str(BINFMT)])
        for name in emulators():
            process.run(["update-binfmts", "--enable", f"qemu-{name}"])
    except CommandError as error:
        raise EngineError(
            "the emulators could not be registered",
            detail=error.output,
            resolution="a kernel with binfmt_misc and the right to mount it are needed",
        ) from error


def _flags(text: str) -> str:
    return next((line[6:] for line in text.splitlines() if line.startswith("flags:")), "")


def _free_gb(folder: Path) -> float:
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free / 1e9
