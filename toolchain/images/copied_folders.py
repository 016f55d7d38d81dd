"""Folders of this machine in a container of an engine that does not see them: copied, not mounted.

Before each command what has changed here goes there, after it what has changed there comes here, so
that whoever gave the folders finds in them what a mount would have left. What has changed GNU tar
knows, by the snapshot that its incremental archives keep on either side; such an archive also
says what a folder holds, so what is gone on one side goes on the other.

Nothing here is for two that write to a folder at once.
"""

from __future__ import annotations

import tarfile
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Self

from toolchain.core import process
from toolchain.core.errors import EngineError
from toolchain.core.store import digest_file
from toolchain.images.build_container import Mount
from toolchain.images.engine_connection import explained

# where a container has its snapshots and the archives that come and go
STATE = "/var/lib/edgewright"
# Sorted and without times of reading: of a folder in which nothing has changed, each archive is
# the one before, its folders alone.
FORMAT = (
    "--format=posix", "--pax-option=delete=atime,delete=ctime", "--sort=name", "--numeric-owner",
    "--no-check-device",
)  # fmt: skip
# The kernel's stamp on a file is up to a tick old: one written within it seems older than the
# snapshot.
TICK_S = 0.01
DEFINED = f"""
state={STATE}
changes() {{
  tar --create {" ".join(FORMAT)} -g "$state/$1.snapshot" -C "$2" -f "$state/$1.tar" .
}}
settle() {{
  changes "$1" "$2"; sha256sum < "$state/$1.tar" > "$state/$1.still"; rm "$state/$1.tar"
}}
"""
TAKE = """
for number in "$@"; do
  target=$(cat "$state/$number.target")
  tar --extract -p --numeric-owner -g /dev/null -C "$target" -f "$state/$number.tar"
  settle "$number" "$target"
done
sleep 0.01
"""
GIVE = """
changed=
for number in "$@"; do
  target=$(cat "$state/$number.target")
  changes "$number" "$target"
  if [ "$(sha256sum < "$state/$number.tar")" = "$(cat "$state/$number.still")" ]; then
    continue
  fi
  changed="$changed $number.tar"
done
tar --create -C "$state" -f - -T /dev/null $changed
for archive in $changed; do
  number=${archive%.tar}
  settle "$number" "$(cat "$state/$number.target")"
done
sleep 0.01
"""


class CopiedFolders:
    """The folders of one container, from when it has started.

    Args:
        api: the SDK's, of the engine.
        container: its id.
        mounts: what it would see. A file of this machine, and a folder to read, goes there once.
        kept: paths in the container that are never copied, but exist.
        user: "uid:gid" that commands run as there; root when None.

    Raises:
        EngineError: the engine refused or went away, or the image has no GNU tar.
    """

    def __init__(
        self,
        api: Any,
        container: str,
        mounts: Sequence[Mount],
        kept: Iterable[str],
        user: str | None,
    ) -> None:
        self._api, self._container = api, container
        mounts = [mount for mount in mounts if mount.target not in (kept := {*kept})]
        folders = {str(n): m for n, m in enumerate(mounts) if m.source.is_dir()}
        self._both_ways = {n: m for n, m in folders.items() if not m.read_only}
        self._snapshots = tempfile.TemporaryDirectory(prefix="edgewright-")
        self._still: dict[str, str] = {}
        every = [m.target for m in folders.values()]
        self._run('mkdir -p "$@"', STATE, *every, *kept, *(_above(m) for m in mounts))
        if user and kept:
            self._run('owner=$1; shift; chown "$owner" "$@"', user, *sorted(kept))
        for number, mount in folders.items():
            self._run('printf %s "$2" > "$state/$1.target"', number, mount.target)
        for mount in mounts:
            if mount.source.is_file():
                self._put(_above(mount), {PurePosixPath(mount.target).name: mount.source})
        self._send(folders)

    def send(self) -> None:
        """Bring to the container what has changed here."""
        self._send(self._both_ways)

    def bring(self) -> None:
        """Bring here what has changed in the container."""
        with tempfile.TemporaryDirectory(prefix="edgewright-") as scratch:
            come = Path(scratch) / "come.tar"
            with come.open("wb") as stream, explained():
                for chunk in self._started(GIVE, *self._both_ways):
                    stream.write(chunk)
            with tarfile.open(come) as archive:
                names = archive.getnames()
                archive.extractall(scratch, filter="data")
            for name in names:
                number = name.removesuffix(".tar")
                source = str(self._both_ways[number].source)
                _stay_inside(Path(source), Path(scratch) / name)
                process.run(
                    ["tar", "--extract", "-p", "--numeric-owner", "-g", "/dev/null"]
                    + ["-C", source, "-f", f"{scratch}/{name}"]
                )
                self._settle(number, Path(scratch))
        time.sleep(TICK_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._snapshots.cleanup()

    def _send(self, folders: dict[str, Mount]) -> None:
        with tempfile.TemporaryDirectory(prefix="edgewright-") as scratch:
            archives = {n: self._changes(n, m, Path(scratch)) for n, m in folders.items()}
            changed = {n: a for n, a in archives.items() if digest_file(a) != self._still.get(n)}
            if not changed:
                return
            self._put(STATE, {archive.name: archive for archive in changed.values()})
            self._run(TAKE, *changed)
            for number in changed.keys() & self._both_ways.keys():
                self._settle(number, Path(scratch))
        time.sleep(TICK_S)

    def _settle(self, number: str, scratch: Path) -> None:
        """Take what a folder now holds as known on both sides."""
        archive = self._changes(number, self._both_ways[number], scratch)
        self._still[number] = digest_file(archive)

    def _changes(self, number: str, mount: Mount, scratch: Path) -> Path:
        """An archive of what has changed in a folder here since the last one."""
        archive = scratch / f"{number}.tar"
        snapshot = f"{self._snapshots.name}/{number}"
        process.run(
            ["tar", "--create", *FORMAT, "-g", snapshot]
            + ["-C", str(mount.source), "-f", str(archive), "."]
        )
        return archive

    def _put(self, target: str, files: dict[str, Path]) -> None:
        """Put files into a folder of the container, by their names there."""
        with tempfile.TemporaryFile() as archive:
            with tarfile.open(fileobj=archive, mode="w") as tar:
                for name, path in files.items():
                    tar.add(path, arcname=name)
            archive.seek(0)
            with explained():
                self._api.put_archive(self._container, target, archive)

    def _run(self, script: str, *args: str) -> None:
        with explained():
            for _ in self._started(script, *args):
                pass

    def _started(self, script: str, *args: str) -> Iterable[bytes]:
        """What a script of the shell prints, which root runs in the container.

        Raises:
            EngineError: it failed.
        """
        command = ["sh", "-ec", DEFINED + script, "sh", *args]
        # a build may have set a false clock for all commands
        environment = {"LD_PRELOAD": "", "LC_ALL": "C"}
        execution = self._api.exec_create(
            self._container, command, user="0:0", environment=environment
        )["Id"]
        said = b""
        for out, err in self._api.exec_start(execution, stream=True, demux=True):
            said = (said + (err or b""))[-2000:]
            if out:
                yield out
        if self._api.exec_inspect(execution)["ExitCode"] != 0:
            raise EngineError(
                "folders could not be copied between this machine and the Docker engine",
                detail=said.decode(errors="replace"),
            )


def _stay_inside(folder: Path, archive: Path) -> None:
    """Refuse an archive that would write out of a folder, through links that an earlier one left.

    Raises:
        EngineError: it would.
    """
    inside = folder.resolve()
    with tarfile.open(archive) as members:
        for member in members:
            *above_it, _ = PurePosixPath(member.name).parts or (".",)
            above = folder.joinpath(*above_it).resolve()
            if not above.is_relative_to(inside):
                raise EngineError(
                    "the Docker engine gave a file for another folder than it was given",
                    detail=f"{member.name} would be written to {above}",
                    resolution="use an engine that you trust, and look at what is in that folder",
                )


def _above(mount: Mount) -> str:
    return str(PurePosixPath(mount.target).parent)
