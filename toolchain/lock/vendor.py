"""A folder with every file of the lock: with it the whole build needs no network.

`keep` fills it; with EDGEWRIGHT_VENDOR set to it, `sources` takes files from there and from nowhere
else. debian/ holds pool paths, pypi/ a folder a project, python/ what `make` installs, python-NAME/
an extra.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from toolchain import targets
from toolchain.core import process
from toolchain.core.errors import CommandError, LockError, UsageError
from toolchain.core.store import digest_file
from toolchain.images import specification
from toolchain.lock import mirrors
from toolchain.lock import pins as lock
from toolchain.lock.pins import Pinned

PARTS = ("debian", "pypi")
PYTHON = "python"
REQUIREMENTS = "requirements"
# Stands in a folder that is ours to tidy.
MARK = "edgewright-vendor"
SHOWN = 10


def pins() -> list[Pinned]:
    """Every file of the lock, of all images and sources."""
    specs = specification.every(specification.kinds(), targets.all_targets().values())
    packages = [p.pinned() for s in specs for p in lock.image(s.name).packages]
    return list(dict.fromkeys([*lock.sources().values(), *packages]))


def place(folder: Path, pin: Pinned) -> Path:
    """Where a file of the lock stands in a vendor folder."""
    return folder / pin.origin / pin.project / pin.path


def keep(
    folder: Path,
    wanted: Iterable[Pinned],
    path_of: Callable[[Pinned], Path],
    say: Callable[[str], None],
) -> int:
    """Bring a vendor folder up to date: what it lacks is added, what is no more pinned goes away.

    Args:
        folder: the vendor folder; made when it isn't there.
        wanted: the lock's files.
        path_of: gives a pin's verified file.
        say: called with each step.

    Returns:
        the number of files of the lock in it.

    Raises:
        UsageError: the folder holds something else.
        LockError: a file can't be had.
    """
    if folder.is_dir() and any(folder.iterdir()) and not (folder / MARK).is_file():
        raise UsageError(
            f"{folder} is not empty and no vendor folder",
            resolution="name a new or an empty folder",
        )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MARK).touch()
    places = {place(folder, pin): pin for pin in wanted}
    for target, pin in places.items():
        if not target.is_file() or digest_file(target) != pin.sha256:
            say(pin.file_name)
            target.parent.mkdir(parents=True, exist_ok=True)
            temporary = target.with_name(f".{target.name}.new")
            shutil.copyfile(path_of(pin), temporary)
            temporary.rename(target)
    for path in _files(folder) - places.keys():
        path.unlink()
    return len(places)


def wheels(folder: Path, requirements: Path) -> Path:
    """Where a vendor folder has what a file of requirements pins."""
    return folder / requirements.stem.replace(REQUIREMENTS, PYTHON)


def keep_requirements(
    folder: Path, requirements: Path, say: Callable[[str], None], *, bare: bool = False
) -> None:
    """Put what a file of requirements pins, and nothing else, into the vendor folder.

    pip checks the hashes here and again when it installs from there.

    Args:
        folder: the vendor folder.
        requirements: the file.
        say: called with each line that pip prints.
        bare: whether its projects ask for others that it leaves out.

    Raises:
        LockError: pip can't fetch a file, or its hash is another; what was there stays.
    """
    command = [sys.executable, "-m", "pip", "download", "--disable-pip-version-check"]
    command += ["--require-hashes", "-r", str(requirements), *(["--no-deps"] if bare else [])]
    there = wheels(folder, requirements)
    fresh = there.with_name(f".{there.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    # what is there, of these or of those beside which they are installed, needs no fetching
    for known in dict.fromkeys([there, folder / PYTHON]):
        command += ["--find-links", str(known)] if known.is_dir() else []
    try:
        process.run(
            [*command, "-d", str(fresh)], env={"PIP_INDEX_URL": mirrors.pypi()}, on_line=say
        )
    except CommandError as error:
        shutil.rmtree(fresh, ignore_errors=True)
        raise LockError(
            f"pip can't fetch what {requirements.name} pins",
            detail=error.output,
            resolution=lock.RENEW,
        ) from error
    shutil.rmtree(there, ignore_errors=True)
    fresh.rename(there)


def check(folder: Path, wanted: Iterable[Pinned]) -> None:
    """Check that a vendor folder holds the lock's files, each of its size, and no others.

    python/ and those of extras are pip's to check, by the hashes of their requirements.

    Raises:
        LockError: some are missing, of another size, or not in the lock; they are named.
    """
    places = {place(folder, pin): pin for pin in wanted}
    there = _files(folder)
    faults = [f"missing: {_name(folder, path)}" for path in sorted(places.keys() - there)]
    faults += [f"not in the lock: {_name(folder, path)}" for path in sorted(there - places.keys())]
    faults += [
        f"{_name(folder, path)}: {path.stat().st_size} bytes, the lock says {pin.size}"
        for path, pin in sorted(places.items())
        if path in there and path.stat().st_size != pin.size
    ]
    if faults:
        more = len(faults) - SHOWN
        raise LockError(
            f"the vendor folder {folder} is not the lock's",
            detail="\n".join(faults[:SHOWN] + ([f"and {more} more"] if more > 0 else [])),
            resolution=f"with a network: invoke lock --keep --vendor {folder}",
        )


def _files(folder: Path) -> set[Path]:
    return {p for part in PARTS for p in (folder / part).rglob("*") if p.is_file()}


def _name(folder: Path, path: Path) -> str:
    return path.relative_to(folder).as_posix()
