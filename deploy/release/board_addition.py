"""A board that is in no inventory yet: reached, asked what it is, and described as an entry.

Nothing on the board is changed. Whether its host key is taken is the caller's to decide.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from deploy.inventory import reading
from deploy.inventory.reading import Device
from deploy.inventory.schema import NO_PYTHON, Vars
from deploy.release import preflight
from deploy.release.probed_facts import DeviceFacts
from deploy.ssh import connection
from deploy.ssh.host_key_policy import UnknownHostKeyError
from toolchain import targets
from toolchain.core.errors import DeviceRefused, UsageError
from toolchain.targets import boards
from toolchain.targets.boards import Board
from toolchain.targets.catalogue import Target

# [user@]host[:port]; an IPv6 address has brackets where a port follows
ADDRESS = re.compile(r"(?:([^@]+)@)?(\[[^\]]+\]|[^@\[\]]+?)(?::(\d+))?")
INSTALLED = re.compile(r"there: apt-get install (\S+)")
SHORTEST_IPV6 = 2  # colons in one, such as ::1

Accepts = Callable[[UnknownHostKeyError], bool]


@dataclass(frozen=True, kw_only=True)
class Described:
    """What was found out of a board.

    Attributes:
        facts: what it is.
        board: its entry in boards.toml, where it has one.
        fitting: the targets whose code it runs, the best first.
        target: the one proposed for it.
    """

    facts: DeviceFacts
    board: Board | None
    fitting: list[Target]
    target: str

    def block(self) -> dict[str, object]:
        """The `edgewright` block of its entry."""
        known = self.board is not None and self.board.target == self.target
        block: dict[str, object] = (
            {"board": self.board.name} if self.board and known else {"target": self.target}
        )
        return block | ({"emulated": True} if self.facts.emulated else {})

    def extensions(self) -> list[str]:
        """Those of its CPU that some target asks for: vectors and the like."""
        of_machine = (t for t in targets.all_targets().values() if t.machine == self.facts.machine)
        asked = {name for target in of_machine for name in target.cpu}
        return [name for name in self.facts.isa if name in asked]

    def to_do(self) -> list[str]:
        """What stands in the way of a release there, in lines; the packages in one command."""
        found = preflight.lacking(self.facts)
        packages = [m[1] for _, remedy in found if (m := INSTALLED.fullmatch(remedy))]
        lines = [f"{w}: {remedy}" for w, remedy in found if not INSTALLED.fullmatch(remedy)]
        if packages:
            lines.insert(0, f"there: sudo apt-get install {' '.join(dict.fromkeys(packages))}")
        return lines

    def works(self) -> str:
        """What works there, in a sentence, where that is not all; empty otherwise."""
        if self.facts.python != NO_PYTHON:
            return ""
        return (
            "it has no Python: programs in C and C++ run networks there "
            "(docs/how-to/board-without-python.md), and bench, run, tune and accuracy would need "
            "python3 and python3-numpy"
        )

    def following(self, name: str) -> list[str]:
        """What to type next for it, once an inventory has it under a name."""
        if self.facts.python != NO_PYTHON:
            return [f"invoke deploy --host {name} --dry-run"]
        build = f"invoke build-library --target {self.target}"
        return [build, f"invoke deploy --host {name} --library --dry-run"]


def variables(address: str, key: str) -> dict[str, object]:
    """How a board is reached, in an entry's own words.

    Args:
        address: as ssh takes it: [user@]host[:port].
        key: file of the private key; empty for ssh's own.

    Raises:
        UsageError: it is no address, or the key is not there.
    """
    parts = ADDRESS.fullmatch(address.strip().removeprefix("ssh://"))
    if parts is None:
        raise _no_address(address)
    user, host, port = parts.groups()
    if port and host.count(":") >= SHORTEST_IPV6 - 1 and not host.startswith("["):
        host, port = f"{host}:{port}", None  # IPv6, and no port
    found: dict[str, object] = {"ansible_host": host.strip("[]")}
    if port and int(port) != 22:
        found["ansible_port"] = int(port)
    if user:
        found["ansible_user"] = user
    if key:
        path = Path(key).expanduser()
        if not path.is_file():
            raise UsageError(
                f"--key: there is no file {path}",
                resolution=f"make one: ssh-keygen -t ed25519 -f {path}",
            )
        # one that is relative would start at the inventory's folder
        found["ansible_ssh_private_key_file"] = key if key.startswith("~") else str(path.resolve())
    try:
        Vars.model_validate(found)
    except ValidationError as error:
        raise _no_address(address, error.errors()[0]["msg"]) from error
    return found


def refuse_unknown(board: str, target: str) -> None:
    """Refuse names that mean nothing, before anyone is asked anything.

    Raises:
        UsageError: there is no such board or target; either may be empty.
    """
    if board:
        _named(board)
    if target:
        targets.target(target)


def refuse_known(inventory: Path, name: str, reached: Mapping[str, object]) -> None:
    """Refuse a board that is in an inventory already, by its name or by its address.

    Raises:
        UsageError: it is.
        InventoryError: the inventory can't be read.
    """
    if not inventory.exists():
        return
    known = reading.load(inventory)
    if name in known.names():
        raise UsageError(
            f"{inventory} has a host {name} already",
            resolution="give another --name, or take the entry out first",
        )
    where = (reached["ansible_host"], reached.get("ansible_port", 22))
    for other in known.names():
        device = known.host(other)
        if (device.host, device.port or 22) == where:
            raise UsageError(
                f"{where[0]} is in {inventory} already, as {other}",
                resolution=f"see what it is: invoke probe --host {other}",
            )


def look(name: str, reached: Mapping[str, Any], python: str, accepts: Accepts) -> DeviceFacts:
    """Ask a board what it is.

    Args:
        name: what messages call it.
        reached: `variables`.
        python: which of its Pythons to use.
        accepts: asked about each host key that isn't known; True takes it and writes it down.

    Raises:
        HostKeyError: a host key was not accepted, or can't be written down.
        DeviceRefused: the board has no Python 3.
        ConnectionFailed: it can't be reached, or does not let us in.
    """
    key = reached.get("ansible_ssh_private_key_file")
    device = Device(
        name=name,
        host=reached["ansible_host"],
        port=reached.get("ansible_port"),
        user=reached.get("ansible_user"),
        key_file=Path(key).expanduser() if key else None,
        target="",
        python=python,
    )
    taken: set[str] = set()
    while True:
        try:
            with connection.connect(device) as conn:
                return preflight.probe(conn)
        except UnknownHostKeyError as unknown:
            # a host to jump over may have a key of its own; one that can't be kept comes again
            if unknown.fingerprint in taken or not accepts(unknown):
                raise
            unknown.write_down()
            taken.add(unknown.fingerprint)


def describe(facts: DeviceFacts, *, board: str = "", target: str = "") -> Described:
    """What an inventory should say of a board.

    Args:
        facts: what it is.
        board: its name in boards.toml; found by what its kernel calls it when empty.
        target: the target it is to have; the best that fits when empty.

    Raises:
        DeviceRefused: no target fits it, or the one that was asked for does not.
        UsageError: there is no such board or target.
    """
    known = _named(board) if board else boards.called(facts.board)
    fitting = preflight.fitting(facts)
    names = [one.name for one in fitting]
    wanted = targets.target(target).name if target else ""
    if not wanted and known is not None and (board or known.target in names):
        wanted = known.target
    if not fitting or (wanted and wanted not in names):
        raise DeviceRefused(
            f"{facts.name}: no target fits a {facts.machine} board with its CPU"
            if not fitting
            else f"{facts.name}: it does not run code of the target {wanted}",
            detail=f"it is {facts.machine}: {facts.cpu}",
            resolution=f"give --target with one that fits it: {', '.join(names)}"
            if names
            else "CONTRIBUTING.md adds a target",
        )
    return Described(facts=facts, board=known, fitting=fitting, target=wanted or names[0])


def name_for(inventory: Path, host: str, facts: DeviceFacts) -> str:
    """A name that an inventory does not have yet: of the address, or what the board calls itself.

    Args:
        inventory: the file, there or not.
        host: the board's address or name.
        facts: what it is.

    Raises:
        InventoryError: the inventory can't be read.
    """
    try:
        ipaddress.ip_address(host.partition("%")[0])
        proposed = facts.hostname
    except ValueError:
        proposed = host
    proposed = re.sub(r"[^A-Za-z0-9_-]+", "-", proposed.partition(".")[0]).strip("-")[:56]
    proposed = proposed if proposed not in ("", "localhost", "all") else "my-board"
    taken = set(reading.load(inventory).words()) if inventory.exists() else set()
    name, number = proposed, 1
    while name in taken:
        number += 1
        name = f"{proposed}-{number}"
    return name


def _named(board: str) -> Board:
    known = boards.all_boards()
    if board not in known:
        raise UsageError(f"unknown board: {board}", resolution=f"known boards: {', '.join(known)}")
    return known[board]


def _no_address(address: str, why: str = "") -> UsageError:
    shown = address if address.isprintable() else ascii(address)
    return UsageError(
        f"that is no address of a board: {shown or 'nothing'}",
        detail=why,
        resolution="for example: invoke add-board pi@192.0.2.10",
    )
