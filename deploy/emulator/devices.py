"""Devices for those who have none: containers with a real sshd, under qemu-user where needed.

An emulated device is reached like any other, over SSH on a port of 127.0.0.1, with an entry in
inventory.yml and a host key of its own. `stop` and `start` are its power switch, after which, and
after a restart of this machine, it has what it had; `down` takes all of it away. Its times are not
a board's.
"""

from __future__ import annotations

import re
import shutil
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from deploy.emulator.device_engine import DeviceEngine
from deploy.inventory import reading
from deploy.measure.runner_protocol import Counter
from toolchain import targets
from toolchain.core import paths, process
from toolchain.core.errors import EngineError, UsageError
from toolchain.core.store import Store
from toolchain.images import build, specification
from toolchain.images import instruction_counter as counting
from toolchain.images.container import Container
from toolchain.images.engine import Engine
from toolchain.targets import Target

USER = "edge"
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}")  # as an inventory has them, and the engine
HOST_KEY = "/etc/ssh/ssh_host_ed25519_key.pub"
# the key's own length and kind begin what is encoded, whatever stands behind it
PUBLIC_KEY = re.compile(r"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI[A-Za-z0-9+/]{43}={0,2}(?=\s|$)")
START_S = 90
# before a command, so that it is by the engine of here
HERE = "env -u DOCKER_HOST DOCKER_CONTEXT=default"
# Where a device has the emulator that counts.
COUNTER = "/opt/edgewright-counter"


@dataclass(frozen=True, kw_only=True)
class Emulated:
    """An emulated device.

    Attributes:
        name: its name in the inventory.
        target: the target's name.
        port: of its sshd on 127.0.0.1.
        state: as the engine says it, such as running.
        image: the image's name, such as device-riscv64-debian13.
    """

    name: str
    target: str
    port: int
    state: str
    image: str


def default_name(target: Target, system: str = "") -> str:
    """The name of a target's emulated device, of its first system when none is named."""
    usual = system in ("", *target.systems()[:1])
    return f"emu-{target.name}" if usual else f"emu-{target.name}-{system}"


def folder(name: str) -> Path:
    """Where the device's keys and known_hosts are kept on this machine."""
    return paths.cache() / "emulator" / name


def up(
    target: Target,
    name: str,
    inventory_path: Path,
    *,
    cpu: str,
    system: str = "",
    store: Store,
    progress: Callable[[str], None],
) -> Emulated:
    """Start an emulated device and enter it into the inventory; one that is there is kept.

    Args:
        target: what it is.
        name: its name in the inventory.
        inventory_path: the file that gets the entry.
        cpu: QEMU_CPU; the target's own when empty.
        system: such as debian12; the target's first when empty.
        store: where what its image is made of is, or is put.
        progress: called with each step.

    Raises:
        UsageError: the target has no emulator, or none of that system, or the name can't be one.
        EngineError: the device did not start.
    """
    if not NAME.fullmatch(name):
        raise UsageError(
            f"a device can't be called {name!r}",
            resolution="take letters, digits and _ . - : --name my-device",
        )
    if target.emulator is None:
        raise UsageError(f"{target.name} has no emulator")
    spec = specification.spec("device", target, system)
    engine = DeviceEngine()
    if not engine.shares_files:
        raise UsageError(
            "an emulated device needs this machine's own Docker engine: at another its port is "
            "open there, not here",
            resolution=f"run: {HERE} invoke emulator.up --target {target.name}",
        )
    known = status(engine).get(name)
    # without its keys (the cache was emptied) nobody can reach it: it is made anew
    if known is not None and _has_keys(name) and known.image == spec.name:
        return _awake(engine, known, inventory_path, progress)
    image = build.build(spec, engine, store, progress=progress)
    _remove(engine, name)
    device = Emulated(
        name=name, target=target.name, port=_free_port(), state="running", image=spec.name
    )
    try:
        _start(engine, image.tag, device, cpu or target.emulator.cpu, progress)
        _enter(inventory_path, target, device)
    except BaseException:
        down(name, inventory_path)
        raise
    return device


def start(name: str, inventory_path: Path, progress: Callable[[str], None]) -> Emulated:
    """Start an emulated device that was stopped, with the port, keys and releases that it had.

    Args:
        name: the device's.
        inventory_path: the file that gets its entry again.
        progress: called with each step.

    Raises:
        UsageError: there is none of that name, or its keys are gone.
        EngineError: it did not start.
    """
    engine = DeviceEngine()
    known = _known(engine, name)
    if not _has_keys(name):
        raise UsageError(
            f"the keys of {name} are gone, so nobody can reach it",
            resolution=f"make it anew: invoke emulator.up --target {known.target} --name {name}",
        )
    return _awake(engine, known, inventory_path, progress)


def stop(name: str) -> None:
    """Stop an emulated device; all that it has stays, and its inventory entry.

    Raises:
        UsageError: there is none of that name.
        EngineError: the engine refused.
    """
    engine = DeviceEngine()
    engine.stop(_container(_known(engine, name).name))


def _known(engine: Engine, name: str) -> Emulated:
    devices = status(engine)
    if name not in devices:
        raise UsageError(
            f"there is no emulated device {name} on this machine",
            detail=f"there are: {', '.join(sorted(devices)) or 'none'}",
            resolution="start one with: invoke emulator.up",
        )
    return devices[name]


def _has_keys(name: str) -> bool:
    return (folder(name) / "known_hosts").is_file()


def _container(name: str) -> str:
    """The name of a device's container."""
    return f"edgewright-{name}"


def _awake(
    engine: DeviceEngine, device: Emulated, inventory_path: Path, progress: Callable[[str], None]
) -> Emulated:
    """A device that is there, running and in the inventory.

    Raises:
        EngineError: it did not start.
    """
    name = _container(device.name)
    if device.state != "running":
        _refuse_taken(device)
        progress("starting the device again")
        engine.start_again(name)
        progress("waiting for its sshd")
        _await_sshd(engine.exec_in(name), device.port, lambda: engine.has_ended(name))
    _enter(inventory_path, targets.target(device.target), device)
    return replace(device, state="running")


def _refuse_taken(device: Emulated) -> None:
    """Refuse to start a device whose port something else has.

    Raises:
        EngineError: it has.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", device.port))
        except OSError as error:
            raise EngineError(
                f"port {device.port} of 127.0.0.1, which {device.name} had, is taken",
                detail=str(error),
                resolution="end what listens there (ss -ltnp tells it); or give the device up with "
                f"invoke emulator.down --name {device.name}",
            ) from error


def _start(
    engine: Engine, image: str, device: Emulated, cpu: str, progress: Callable[[str], None]
) -> None:
    """Make its keys, start its container, and know its host key once its sshd answers.

    Raises:
        EngineError: the device did not start.
    """
    home = folder(device.name)
    home.mkdir(parents=True, mode=0o700)
    identity = home / "id_ed25519"
    process.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", device.name, "-f", identity])
    progress("starting the device")
    container = engine.start_service(
        image,
        name=_container(device.name),
        port=22,
        publish=device.port,
        env={
            "AUTHORIZED_KEY": identity.with_suffix(".pub").read_text().strip(),
            **({"QEMU_CPU": cpu} if cpu else {}),
        },
        labels={
            "name": device.name,
            "target": device.target,
            "port": str(device.port),
            "image": device.image,
        },
    )
    progress("waiting for its sshd")
    _await_sshd(container, device.port)
    key = host_key(container.call(["cat", HOST_KEY]))
    (home / "known_hosts").write_text(f"[127.0.0.1]:{device.port} {key}\n")


def host_key(printed: str) -> str:
    """The host key among the lines that reading its file printed: the emulator may warn there too.

    Raises:
        EngineError: there is none.
    """
    for line in printed.splitlines():
        if found := PUBLIC_KEY.match(line):
            return found[0]
    raise EngineError("the emulated device has no host key", detail=printed[:2000])


def down(name: str, inventory_path: Path) -> bool:
    """Stop an emulated device and take away its container, keys and inventory entry.

    Returns:
        whether there was one.
    """
    existed = _remove(Engine(), name)
    reading.remove_host(inventory_path, name)
    return existed


def counter(name: str, store: Store, progress: Callable[[str], None]) -> Counter:
    """Give a running emulated device the emulator that counts instructions.

    Args:
        name: the device's.
        store: the cache.
        progress: called with each step.

    Returns:
        what the runner needs to use it: the emulator's command line and the plugin's path.

    Raises:
        UsageError: there is no emulated device of that name on this machine.
        EdgewrightError: it can't be built or copied.
    """
    engine = Engine()
    running = status(engine).get(name)
    if running is None:
        raise UsageError(
            f"{name} is no emulated device of this machine: its instructions can't be counted",
            resolution="start one with: invoke emulator.up",
        )
    with_plugin = counting.folder(store, progress)
    progress("copying the emulator that counts")
    engine.copy_in(_container(name), with_plugin, COUNTER)
    return Counter(
        emulator=counting.emulator(COUNTER, targets.target(running.target)),
        plugin=f"{COUNTER}/{counting.PLUGIN}",
    )


def status(engine: Engine) -> dict[str, Emulated]:
    """Every emulated device of this machine, by name."""
    return {
        labels["name"]: Emulated(
            name=labels["name"],
            target=labels["target"],
            port=int(labels["port"]),
            state=labels["state"],
            image=labels.get("image", ""),
        )
        for labels in engine.services().values()
    }


def _remove(engine: Engine, name: str) -> bool:
    existed = name in status(engine)
    engine.remove_container(_container(name))
    shutil.rmtree(folder(name), ignore_errors=True)
    return existed


def _enter(path: Path, target: Target, device: Emulated) -> None:
    home = folder(device.name)
    reading.add_host(
        path,
        device.name,
        {
            "ansible_host": "127.0.0.1",
            "ansible_port": device.port,
            "ansible_user": USER,
            "ansible_ssh_private_key_file": str(home / "id_ed25519"),
            "edgewright": {
                "target": target.name,
                "known_hosts": str(home / "known_hosts"),
                "emulated": not target.native(),
            },
        },
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _await_sshd(
    container: Container, port: int, has_ended: Callable[[], bool] = lambda: False
) -> None:
    """Wait until something on the port says that it speaks SSH.

    Raises:
        EngineError: it did not in time; what the device printed is in the error, since the
            container is taken away.
    """
    deadline = time.monotonic() + START_S
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
                if connection.recv(4) == b"SSH-":
                    return
        except OSError:
            pass
        if time.monotonic() > deadline or has_ended():
            raise EngineError(
                f"the emulated device's sshd did not answer within {START_S} s",
                detail=container.log(),
                resolution="see whether this machine is busy and whether its emulator runs "
                "(invoke doctor), then run the same command again",
            )
        time.sleep(0.3)
