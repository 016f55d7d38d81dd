"""Where ssh would go for a host, as whom and through what: the answer of `ssh -G`.

Include, Match, aliases, jumps and defaults are then ssh's own. Where OpenSSH's client is not
installed paramiko reads the same files, of which it knows less; a line of the run says so. Nothing
here opens a connection.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import pwd
import re
import shlex
import shutil
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import paramiko

from deploy.inventory.reading import Device
from toolchain.core import process
from toolchain.core.errors import CommandError, ConnectionFailed

WITHOUT_SSH = (
    "OpenSSH's client is not installed here: ssh's configuration is read without Include, Match "
    "exec and canonical names (apt-get install openssh-client)"
)
USER_CONFIG = "~/.ssh/config"
SYSTEM_CONFIG = "/etc/ssh/ssh_config"
GLOBAL_KNOWN_HOSTS = (Path("/etc/ssh/ssh_known_hosts"), Path("/etc/ssh/ssh_known_hosts2"))
FAMILIES = {"inet": socket.AF_INET, "inet6": socket.AF_INET6}
# as many as anyone has; more of them go in a circle
MOST_JUMPS = 8
NONE = "none"
NOWHERE = Path("/dev/null")
# what stands for something else in a command, and in the name of a file
TOKEN = re.compile(r"%.?")
VARIABLE = re.compile(rf"{TOKEN.pattern}|\$\{{[^}}]*\}}")


@dataclass(frozen=True, kw_only=True)
class Destination:
    """A host as ssh would reach it.

    Attributes:
        asked: the arguments of ssh that mean it; the last is its name.
        host: the address or name that is connected to.
        port: of its sshd.
        user: who logs in there.
        alias: what known_hosts calls it instead of its name; empty for none.
        key_files: files of private keys, there or not, in the order they are tried.
        known_hosts: files of host keys.
        new_keys: the file of them that a new key goes into; None where none is kept.
        revoked: file of host keys that are never taken.
        family: of addresses that may be used.
        through: the host to jump over.
        command: what carries the connection instead of a socket; empty for none.
    """

    asked: tuple[str, ...]
    host: str
    port: int
    user: str
    alias: str = ""
    key_files: tuple[Path, ...] = ()
    known_hosts: tuple[Path, ...] = ()
    new_keys: Path | None = None
    revoked: Path | None = None
    family: int = socket.AF_UNSPEC
    through: Destination | None = None
    command: str = ""

    @property
    def name(self) -> str:
        """What the user calls it."""
        return self.asked[-1]

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def has_ssh() -> bool:
    """Whether OpenSSH's client is here to be asked."""
    return shutil.which("ssh") is not None


def resolve(device: Device) -> Destination:
    """Where ssh would go for a device; what its entry says wins over ssh's configuration.

    Raises:
        ConnectionFailed: the configuration can't be read; the detail is in ssh's own words.
    """
    options = ["-p", str(device.port)] if device.port else []
    options += ["-l", device.user] if device.user else []
    found = _resolved(device, (*options, device.host), ())
    if device.known_hosts is None:
        return found
    return _with_known_hosts(found, (device.known_hosts.expanduser(),))


def _with_known_hosts(found: Destination, files: tuple[Path, ...]) -> Destination:
    through = _with_known_hosts(found.through, files) if found.through else None
    return dataclasses.replace(found, known_hosts=files, new_keys=files[0], through=through)


def _resolved(device: Device, asked: tuple[str, ...], before: tuple[str, ...]) -> Destination:
    """Where some arguments of ssh lead.

    Args:
        device: for whom.
        asked: options of ssh and the host.
        before: the hosts that are jumped over already, on the way back to this machine.
    """
    name = asked[-1]
    if len(before) > MOST_JUMPS:
        raise ConnectionFailed(
            f"{device.name}: ssh's configuration jumps over too many hosts",
            detail=" <- ".join((*before, name)),
            resolution="a host to jump over needs `ProxyJump none` where a pattern names it too",
        )
    own = None if before else device.key_file
    said = _answer(device, asked, own)
    one = {keyword: values[0] for keyword, values in said.items()}
    users = _paths(one.get("userknownhostsfile"))
    found = Destination(
        asked=asked,
        host=one["hostname"],
        port=int(one["port"]),
        user=one["user"],
        alias=one.get("hostkeyalias", ""),
        known_hosts=users + _paths(one.get("globalknownhostsfile")),
        new_keys=next((path for path in users[:1] if path != NOWHERE), None),
        revoked=next(iter(_paths(one.get("revokedhostkeys"))), None),
        family=FAMILIES.get(one.get("addressfamily", ""), socket.AF_UNSPEC),
    )
    texts = [_home(text) for text in said.get("identityfile", []) if text != NONE]
    files = [Path(_expanded(device, VARIABLE, text, found)) for text in texts]
    keys = (*([own] if own else []), *files)
    jump, command = one.get("proxyjump", NONE), one.get("proxycommand", NONE)
    through = None
    if jump != NONE:
        through = _resolved(device, _jump(jump), (*before, name))
    elif command != NONE:
        command = _expanded(device, TOKEN, command, found)
    return dataclasses.replace(
        found,
        key_files=keys,
        through=through,
        command=command if through is None and command != NONE else "",
    )


def _answer(device: Device, asked: tuple[str, ...], own: Path | None) -> dict[str, list[str]]:
    """Keywords in small letters and their values, as `ssh -G` prints them."""
    if not has_ssh():
        return _read(device, asked)
    # ssh's default keys are not tried where the entry names one; others that are configured are
    first = ["-o", f"IdentityFile={NONE}"] if own else []
    options, host = asked[:-1], asked[-1]
    try:
        text = process.run(["ssh", "-T", "-G", *first, *options, "--", host])
    except CommandError as error:
        raise ConnectionFailed(
            f"{device.name}: ssh does not know how to reach {host}",
            detail=error.detail.strip(),
            resolution="correct ssh's configuration until this prints it: "
            + shlex.join(["ssh", "-G", *asked]),
        ) from error
    said: dict[str, list[str]] = {}
    for line in text.splitlines():
        keyword, _, value = line.partition(" ")
        said.setdefault(keyword, []).append(value)
    return said


def _read(device: Device, asked: tuple[str, ...]) -> dict[str, list[str]]:
    """The same, as far as paramiko understands the files; what was asked wins over them."""
    config = paramiko.SSHConfig()
    for path in (Path(_home(name)) for name in (USER_CONFIG, SYSTEM_CONFIG)):
        try:
            config.parse(path.read_text(errors="replace").splitlines())
        except FileNotFoundError:
            continue
        except (OSError, paramiko.ConfigParseError) as error:
            raise ConnectionFailed(
                f"{device.name}: {path} can't be read", detail=str(error)
            ) from error
    host = asked[-1]
    options = dict(zip(asked[:-1:2], asked[1:-1:2], strict=True))
    given = config.lookup(host)
    said = {k: v if isinstance(v, list) else [v] for k, v in given.items()}
    # a zone of an address is no token of the configuration
    said["hostname"] = [host.lower() if ":" in host else given["hostname"].lower()]
    said["port"] = [options.get("-p", given.get("port", "22"))]
    said["user"] = [options.get("-l", given.get("user", pwd.getpwuid(os.getuid()).pw_name))]
    said["proxyjump"] = [options.get("-J", given.get("proxyjump", NONE))]
    names = ("id_rsa", "id_ecdsa", "id_ed25519")
    said.setdefault("identityfile", [] if device.key_file else [f"~/.ssh/{n}" for n in names])
    said.setdefault("userknownhostsfile", [_home("~/.ssh/known_hosts")])
    said.setdefault("globalknownhostsfile", [" ".join(map(str, GLOBAL_KNOWN_HOSTS))])
    return said


def _jump(spec: str) -> tuple[str, ...]:
    """What ssh is asked with to reach the last host of ProxyJump, each [user@]host[:port]."""
    over, _, last = spec.rpartition(",")
    user, _, place = last.removeprefix("ssh://").rpartition("@")
    bracketed = re.fullmatch(r"\[(.*)\](?::(\d+))?", place) or re.fullmatch(
        r"([^:]*)(?::(\d+))?", place
    )
    host, port = (bracketed[1], bracketed[2]) if bracketed else (place, None)
    options: Sequence[tuple[str, str | None]] = (("-l", user), ("-p", port), ("-J", over))
    return (*(part for name, value in options if value for part in (name, value)), host)


def _paths(text: str | None) -> tuple[Path, ...]:
    """Files that ssh has expanded and printed with blanks between them, or in their names."""
    listed = re.split(r" (?=[/~])", text) if text and text != NONE else []
    return tuple(Path(_home(path)) for path in listed)


def _expanded(device: Device, what: re.Pattern[str], text: str, found: Destination) -> str:
    """A value with its tokens put in, which `ssh -G` leaves to later."""
    here = socket.gethostname()
    hashed = f"{here}{found.host}{found.port}{found.user}"
    tokens = {
        "%": "%", "d": _home("~"), "h": found.host, "i": str(os.getuid()),
        "k": found.alias or found.name, "L": here.partition(".")[0], "l": here, "n": found.name,
        "p": str(found.port), "r": found.user, "u": pwd.getpwuid(os.getuid()).pw_name,
        "C": hashlib.sha1(hashed.encode(), usedforsecurity=False).hexdigest(),
    }  # fmt: skip

    def value(match: re.Match[str]) -> str:
        word = match[0]
        known = os.environ.get(word[2:-1]) if word.startswith("$") else tokens.get(word[1:])
        if known is None:
            raise ConnectionFailed(
                f"{device.name}: ssh's configuration of {found.name} can't be followed",
                detail=f"{word} means nothing in: {text}",
            )
        return known

    return what.sub(value, text)


def _home(path: str) -> str:
    """A path with its ~ put in as ssh does: the account's home, whatever HOME says."""
    account, slash, rest = path.partition("/")
    if not account.startswith("~"):
        return path
    try:
        entry = pwd.getpwnam(account[1:]) if account != "~" else pwd.getpwuid(os.getuid())
    except KeyError:
        return path
    return f"{entry.pw_dir}{slash}{rest}"
