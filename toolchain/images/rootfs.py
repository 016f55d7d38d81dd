"""A Debian root from locked packages: mmdebstrap over a local repository, with no network.

The output is a tar whose bytes depend on the lock and on nothing else.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from debian.debfile import DebFile

from toolchain.core import process
from toolchain.core.errors import BuildError, CommandError
from toolchain.lock.pins import ImageLock, Pinned

# What differs between two runs although the packages are the same, and is made again when needed;
# host keys also because a key that stands in an image is nobody's secret. Shell patterns.
VOLATILE = (
    "/etc/ssh/ssh_host_*",
    "/etc/machine-id",
    "/var/cache/ldconfig/aux-cache",
    "/var/log/apt/history.log",
    "/var/log/apt/term.log",
    "/var/log/alternatives.log",
    "/var/log/bootstrap.log",
    "/var/log/dpkg.log",
)


def build(
    name: str,
    locked: ImageLock,
    file_of: Callable[[Pinned], Path],
    tar: Path,
    scratch: Path,
    *,
    epoch: int,
    progress: Callable[[str], None],
) -> None:
    """Write the root of an image as a tar.

    Args:
        name: of the image.
        locked: what it installs, closed under dependencies.
        file_of: gives a package's file, its bytes checked.
        tar: the file to write.
        scratch: an empty folder on the disk of the packages' files.
        epoch: SOURCE_DATE_EPOCH, seconds; no file in the tar is younger.
        progress: called with each step.

    Raises:
        LockError: a package's file can't be had.
        BuildError: the packages can't be installed.
    """
    repository = scratch / "repository"
    repository.mkdir()
    progress(f"indexing {len(locked.packages)} packages")
    _repository(locked, file_of, repository)
    clean = " ".join(f'"$1"{path}' for path in VOLATILE)
    progress(f"installing {len(locked.packages)} packages")
    # a network namespace of its own: a package that is not in the lock can't be fetched
    command = [
        "unshare", "--net", "mmdebstrap", "--variant=apt", "--format=tar",
        f"--architectures={','.join(locked.arches)}",
        f"--include={','.join(locked.include)}",
        f"--customize-hook=rm -f {clean}",
        '--customize-hook=: > "$1/etc/machine-id"',
        '--customize-hook=rm -rf "$1/var/lib/apt/lists"; mkdir "$1/var/lib/apt/lists"',
        '--customize-hook=: > "$1/etc/apt/sources.list"',
        '--customize-hook=rm -f "$1/etc/resolv.conf" "$1/etc/hostname"',
        "--dpkgopt=path-exclude=/usr/share/man/*",
        "--dpkgopt=path-exclude=/usr/share/locale/*",
        "--dpkgopt=path-exclude=/usr/share/doc/*",
        "--dpkgopt=path-include=/usr/share/doc/*/copyright",
        locked.suite, str(tar),
        f"deb [trusted=yes] copy:{repository} ./",
    ]  # fmt: skip
    try:
        process.run(
            command,
            env={"SOURCE_DATE_EPOCH": str(epoch), "TMPDIR": str(scratch), "LC_ALL": "C.UTF-8"},
            on_line=lambda line: progress(line[:100]),
        )
    except CommandError as error:
        raise BuildError(
            f"the packages of {name} could not be installed", detail=error.output
        ) from error


def _repository(locked: ImageLock, file_of: Callable[[Pinned], Path], folder: Path) -> None:
    """A flat repository of the locked files with its index."""
    index: list[str] = []
    for package in locked.packages:
        blob = file_of(package.pinned())
        name = f"{package.sha256}.deb"
        os.link(blob, folder / name)
        with blob.open("rb") as stream:
            control = DebFile(fileobj=stream).debcontrol()
        control["Filename"] = f"./{name}"
        control["Size"] = str(package.size)
        control["SHA256"] = package.sha256
        index.append(control.dump())
    (folder / "Packages").write_text("\n".join(index))
