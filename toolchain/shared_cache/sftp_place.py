"""A folder of another machine, over SFTP, by OpenSSH's own `sftp`.

fsspec's two ways there are not taken. Its `sftp://` believes every host key that it is shown
(paramiko's AutoAddPolicy); `sshfs` is a third implementation of SSH, which would have to be held to
the user's `ssh_config`, jump hosts and known hosts as closely as our own was
(docs/explanation/security.md). Our own connection belongs to devices: it knows the inventory, and
nothing in toolchain/ imports it. OpenSSH's client reads the user's own settings, talks to the
agent, passes jump hosts, and judges host keys; here it is told to refuse every one that it does not
know, and to ask nothing.

`prlimit` holds each file to the size that it may have: sftp itself takes whatever comes.
"""

from __future__ import annotations

import re
import shutil
import weakref
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from urllib.parse import unquote, urlsplit

from toolchain.core import process
from toolchain.core.errors import CommandError, UsageError
from toolchain.shared_cache.place import Sent, Wanted

OPTIONS = (
    *("BatchMode=yes", "StrictHostKeyChecking=yes", "UpdateHostKeys=no"),
    *("ForwardAgent=no", "ClearAllForwardings=yes", "PermitLocalCommand=no"),
    *("ConnectTimeout=2", "ServerAliveInterval=2", "ServerAliveCountMax=2"),
)
# An entry takes two calls of sftp, and a login is most of each: one connection serves those that
# follow within some seconds, in a folder of this process's.
LASTING = ("ControlMaster=auto", "ControlPersist=10")
LONGEST_FOLDER = 49  # of the socket that a login lasts by
PACKAGES = "apt-get install openssh-client"
# what sftp's commands take as it is
PLAIN = re.compile(r"[\w./+@%=,: -]+")
LOST = 255  # ssh's own exit status: there is no connection
ABSENT = re.compile(r"not found|no such file", re.IGNORECASE)
DENIED = re.compile(r"permission denied", re.IGNORECASE)


class SftpPlace:
    """A folder of another machine.

    Args:
        address: such as sftp://user@host:22/srv/cache; /~/cache is below the login's home.

    Raises:
        UsageError: it can't be used.
    """

    read_only = ""

    def __init__(self, address: str) -> None:
        parts = urlsplit(address)
        host, user = parts.hostname or "", unquote(parts.username or "")
        self._root = unquote(parts.path).removeprefix("/~/").rstrip("/")
        # what begins with - would be an option
        odd = any(text.startswith("-") or "\n" in text for text in (host, user))
        if not host or odd or parts.password or not PLAIN.fullmatch(self._root):
            raise UsageError(
                f"{parts.scheme}://{parts.hostname or ''}{parts.path} leads nowhere",
                resolution="for example: sftp://user@host/srv/cache, without a password: it is "
                "OpenSSH that logs in, by a key",
            )
        name = f"[{host}]" if ":" in host else host
        self._destination = f"{user}@{name}" if user else name
        self._port = ["-P", str(parts.port)] if parts.port else []
        self._sockets = mkdtemp(prefix="edgewright-")
        weakref.finalize(self, shutil.rmtree, self._sockets, ignore_errors=True)

    def fetch(self, wanted: Sequence[Wanted]) -> None:
        """See `Place`."""
        lines = [f"get {self._path(one.name)} {_quoted(one.path.name)}" for one in wanted]
        limit = ["prlimit", f"--fsize={max(one.limit for one in wanted)}"]
        self._run(limit, lines, wanted[0].path.parent)

    def send(self, files: Sequence[Sent]) -> None:
        """See `Place`."""
        own = process.own_name()
        folders = [f"-mkdir {_quoted(self._root)}"]
        lines = []
        with TemporaryDirectory(prefix="edgewright-") as folder:
            for number, one in enumerate(files):
                (Path(folder) / str(number)).symlink_to(one.path.absolute())
                part = self._path(f".{own}-{number}.part")
                above = [str(p) for p in reversed(Path(one.name).parents) if p.name]
                folders += [f"-mkdir {self._path(name)}" for name in above]
                lines += [f'put "{number}" {part}', f"rename {part} {self._path(one.name)}"]
            self._run([], [*dict.fromkeys(folders), *lines], Path(folder))

    def names(self, folder: str) -> list[str]:
        """See `Place`."""
        path = self._path(folder) if folder else _quoted(self._root)
        with TemporaryDirectory(prefix="edgewright-") as here:
            try:
                told = self._run([], [f"ls -1 {path}"], Path(here))
            except FileNotFoundError:
                return []
        lines = [line for line in told.splitlines() if _tells(line)]
        return [line.strip().rpartition("/")[2] for line in lines]

    def _path(self, name: str) -> str:
        """A file's path there, as sftp takes it."""
        return _quoted(f"{self._root}/{name}")

    def _run(self, before: Sequence[str], lines: Sequence[str], folder: Path) -> str:
        if shutil.which("sftp") is None:
            raise OSError(f"sftp is not installed: {PACKAGES}")
        # a socket's path has at most 107 bytes: of it %C takes 40, and ssh 17 more for a moment
        fits = len(self._sockets) < LONGEST_FOLDER and " " not in self._sockets
        lasting = (*LASTING, f"ControlPath={self._sockets}/%C") if fits else ()
        options = [part for option in (*OPTIONS, *lasting) for part in ("-o", option)]
        command = [*before, "sftp", "-b", "-", *options, *self._port, self._destination]
        text = "".join(f"{line}\n" for line in lines)
        try:
            return process.run(command, cwd=folder, env={"LC_ALL": "C"}, input_text=text)
        except CommandError as error:
            said = [line.strip() for line in error.output.splitlines()]
            reason = next((line for line in reversed(said) if _tells(line)), "it can't be reached")
            if error.returncode != LOST and ABSENT.search(reason):
                raise FileNotFoundError(reason) from error
            denied = error.returncode != LOST and DENIED.search(reason)
            raise (PermissionError if denied else OSError)(reason) from error
        except BrokenPipeError as error:
            raise OSError("sftp ended before it was asked for anything") from error


def _quoted(path: str) -> str:
    if not PLAIN.fullmatch(path):
        raise OSError(f"sftp can't be told of a path such as {path}")
    return f'"{path}"'


def _tells(line: str) -> bool:
    """Whether a line is more than sftp's echo of a command, and than its goodbye."""
    return bool(line) and not line.startswith(("sftp>", "Connection closed"))
