"""inventory.yml, in Ansible's YAML form, turned into devices.

Everything in the file is checked when it is read, whichever host is asked for; an error names the
file, the line and the key. Variables of groups reach hosts as in Ansible (`all` first, then outer
to inner groups, then the host), except that our `edgewright` blocks are merged key by key. Nothing
here opens a connection.
"""

from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.inventory import editing, strict_yaml
from deploy.inventory.program import NONE, Program
from deploy.inventory.schema import TOP, Block, Group, InventoryFile, Vars, validate
from deploy.inventory.strict_yaml import Document, Place
from toolchain import targets
from toolchain.core.errors import UsageError
from toolchain.targets import boards


@dataclass(frozen=True, kw_only=True)
class Device:
    """One host of the inventory, with everything needed to reach it and to build for it."""

    name: str
    host: str
    target: str
    board: str = ""
    python: str = "3"
    root: str = "~/edgewright"
    port: int | None = None
    user: str | None = None
    key_file: Path | None = None
    known_hosts: Path | None = None
    emulated: bool = False
    container: str | None = None
    strict_kex: bool = True
    host_keys: str = "strict"
    program: Program = NONE
    groups: tuple[str, ...] = ()

    def exceptions(self) -> list[str]:
        """Where its entry asks for less security than is usual, in words: said in every run."""
        found = []
        if not self.strict_kex:
            found.append("its ssh server may lack strict key exchange")
        if self.host_keys != "strict":
            found.append("a host key that is not known yet is taken as it comes")
        return [f"{self.name}: {words}, as its entry says" for words in found]


class Inventory:
    """A file that was read and found good."""

    def __init__(self, document: Document, model: InventoryFile) -> None:
        self.document = document
        self.model = model
        self._hosts: dict[str, dict[str, Vars]] = {}
        self._places: dict[str, list[Place]] = {}
        self._depth: dict[str, int] = {}
        self._vars: dict[str, list[Vars]] = {}
        self._parents: dict[str, set[str]] = {}
        if model.all is not None:
            self._walk("all", model.all, ("all",), ())

    def names(self) -> list[str]:
        """Every host, in the file's order."""
        return list(self._places)

    def words(self) -> list[str]:
        """Every name that means something in it: of hosts, and of groups."""
        return [*self._places, *self._parents]

    def group(self, name: str) -> list[str]:
        """The hosts of a group and of all groups below it.

        Raises:
            UsageError: there is no such group.
        """
        if name not in self._parents:
            raise _unknown("group", name, list(self._parents), self.document.path)
        return [host for host in self._places if name in self._groups_of(host)]

    def select(
        self, hosts: Sequence[str], groups: Sequence[str] = (), limit: Sequence[str] = ()
    ) -> list[Device]:
        """The devices of some hosts and groups, each once, in the order asked for.

        Args:
            hosts: names of hosts.
            groups: names of groups.
            limit: keeps only what one of these means: a host, a group or a pattern with `*`; one
                with `!` before it leaves out instead. Without any everything stays.

        Raises:
            UsageError: a name means nothing, none was given, or nothing is left.
            InventoryError: as for `host`.
        """
        unknown = [name for name in hosts if name not in self._places]
        if unknown:
            raise _unknown("host", unknown[0], self.names(), self.document.path)
        chosen = list(dict.fromkeys([*hosts, *(h for g in groups for h in self.group(g))]))
        if not chosen:
            raise UsageError(
                "which device? neither a host nor a group with hosts was given",
                detail=f"{self.document.path} has: {', '.join(self.names()) or 'none yet'}",
                resolution="give --host NAME or --group NAME",
            )
        within = [self._meant(p) for p in limit if not p.startswith("!")]
        without = set().union(*(self._meant(p[1:]) for p in limit if p.startswith("!")))
        kept = set(chosen) & set().union(*within) if within else set(chosen)
        left = [name for name in chosen if name in kept - without]
        if not left:
            raise UsageError(f"--limit {','.join(limit)} leaves none of {', '.join(chosen)}")
        return [self.host(name) for name in left]

    def _meant(self, pattern: str) -> set[str]:
        """The hosts that a name of a host or group, or a pattern of either, means."""
        hosts = set(fnmatch.filter(self._places, pattern))
        for group in fnmatch.filter(self._parents, pattern):
            hosts.update(self.group(group))
        if not hosts and pattern not in self._parents:
            known = [*self._places, *self._parents]
            raise _unknown("host or group", pattern, known, self.document.path)
        return hosts

    def host(self, name: str) -> Device:
        """The device of that name.

        Raises:
            UsageError: there is no such host.
            InventoryError: it lacks a target, or its key file can't be read.
        """
        if name not in self._places:
            raise _unknown("host", name, self.names(), self.document.path)
        groups = self._groups_of(name)
        plain: dict[str, Any] = {}
        block: dict[str, Any] = {}
        for layer in self._layers(name, groups):
            given = layer.model_dump(exclude_unset=True)
            own = given.pop("edgewright", {})
            if "board" in own and "target" not in own:
                # what is said nearer to the host counts: its board, before its group's target
                block.pop("target", None)
            block.update(own)
            plain.update(given)
        ours = Block(**block)
        place = self._places[name][0]
        target = ours.target or (ours.board and boards.all_boards()[ours.board].target)
        if not target:
            raise self.document.error(
                place,
                "edgewright.target is missing",
                resolution=f"add `edgewright: {{target: {next(iter(targets.all_targets()))}}}`, or "
                f"`board:` with one of: {', '.join(boards.all_boards())}",
            )
        key_file = self._local_path(plain.get("ansible_ssh_private_key_file"))
        if key_file is not None:
            self._readable(key_file, name)
        return Device(
            name=name,
            host=plain.get("ansible_host", name).strip("[]"),
            port=plain.get("ansible_port"),
            user=plain.get("ansible_user"),
            key_file=key_file,
            known_hosts=self._local_path(ours.known_hosts),
            target=target,
            board=ours.board or "",
            python=ours.python,
            root=ours.root,
            emulated=ours.emulated,
            container=ours.container,
            strict_kex=ours.strict_kex,
            host_keys=ours.host_keys,
            program=Program(service=ours.service, health=ours.health),
            groups=tuple(groups),
        )

    def _walk(self, name: str, group: Group, place: Place, above: tuple[str, ...]) -> None:
        if name in above:
            raise self.document.error(place, f"the group {name} contains itself")
        if above and name == "all":
            raise self.document.error(place, "`all` can't be inside a group")
        self._depth[name] = max(self._depth.get(name, 0), len(above))
        self._parents.setdefault(name, set()).update(above)
        if group.vars is not None:
            self._vars.setdefault(name, []).append(group.vars)
        for host, variables in (group.hosts or {}).items():
            self._places.setdefault(host, []).append((*place, "hosts", host))
            members = self._hosts.setdefault(host, {})
            earlier = members.get(name)
            members[name] = _merged(earlier, variables) if earlier else variables or Vars()
        for child, inner in (group.children or {}).items():
            self._walk(child, inner or Group(), (*place, "children", child), (*above, name))
        if not above:
            self._check_names()

    def _check_names(self) -> None:
        for name, places in self._places.items():
            if name in self._parents:
                raise self.document.error(places[0], "this is the name of a group as well")

    def _groups_of(self, host: str) -> list[str]:
        """Its groups from the outermost in; those of one depth by name, as Ansible has it."""
        direct = set(self._hosts[host])
        every = direct.union(*(self._parents[group] for group in direct))
        return sorted(every, key=lambda group: (self._depth[group], group))

    def _layers(self, host: str, groups: list[str]) -> Iterator[Vars]:
        for group in groups:
            yield from self._vars.get(group, [])
        for group in groups:
            if group in self._hosts[host]:
                yield self._hosts[host][group]

    def _local_path(self, text: str | None) -> Path | None:
        """A path of this machine; one that is relative starts at the inventory's folder."""
        return self.document.path.parent / Path(text).expanduser() if text else None

    def _readable(self, key_file: Path, host: str) -> None:
        try:
            with key_file.open("rb") as stream:
                stream.read(1)
        except OSError as error:
            key = "ansible_ssh_private_key_file"
            at = [p for p in self.document.lines if p and p[-1] == key]
            own = [p for p in at if p[:-1] in self._places[host]]
            raise self.document.error(
                (own or at or self._places[host])[0],
                f"the key file {key_file} of {host} can't be read: {error.strerror}",
                resolution="make one with `ssh-keygen -t ed25519 -f FILE`, or correct the path; "
                "without the key, ssh's own defaults and ssh-agent are used",
            ) from error


def load(path: Path) -> Inventory:
    """Read an inventory.

    Raises:
        InventoryError: it can't be used; the message has file, line and key.
    """
    document = strict_yaml.read(path, TOP)
    return Inventory(document, validate(document))


def json_schema() -> dict[str, Any]:
    """The JSON Schema of the file, for editors."""
    return InventoryFile.model_json_schema()


def add_host(path: Path, name: str, entry: Mapping[str, object]) -> None:
    """Put a host under `all: hosts:`, in place of one of that name; comments stay.

    Raises:
        InventoryError: the file, or what it would become, can't be used.
    """
    editing.edit(path, lambda hosts: editing.put(hosts, name, entry), _check)


def remove_host(path: Path, name: str) -> bool:
    """Take a host out of `all: hosts:`; False when it was not there.

    Raises:
        InventoryError: the file can't be used.
    """
    if not path.exists():
        return False
    return editing.edit(path, lambda hosts: hosts.pop(name, None) is not None, _check)


def _check(document: Document) -> None:
    Inventory(document, validate(document))


def _merged(first: Vars, second: Vars | None) -> Vars:
    given = {**first.model_dump(exclude_unset=True)}
    later = second.model_dump(exclude_unset=True) if second is not None else {}
    block = {**given.pop("edgewright", {}), **later.pop("edgewright", {})}
    return Vars(**{**given, **later, "edgewright": Block(**block)})


def _unknown(kind: str, name: str, known: list[str], path: Path) -> UsageError:
    close = difflib.get_close_matches(name, known, n=1)
    listed = ", ".join(known) if known else "none yet"
    return UsageError(
        f"unknown {kind}: {name if name.isprintable() else ascii(name)}",
        detail=f"{path} has: {listed}",
        resolution=f"did you mean {close[0]}?"
        if close
        else "add it to the inventory, or make an emulated one with `invoke emulator.up`",
    )
