"""Apply a series of patches/ to an unpacked source, in the container."""

from __future__ import annotations

from collections.abc import Callable

from toolchain.core import paths
from toolchain.core.errors import BuildError
from toolchain.images.build_container import Executor

FOLDER = paths.ROOT / "patches"


def series(folder: str) -> list[str]:
    """The patches of a folder in the order of its `series` file.

    Raises:
        BuildError: the file is missing, or names a patch that is not there, or leaves one out.
    """
    path = FOLDER / folder / "series"
    if not path.is_file():
        raise BuildError(f"patches/{folder} has no series file")
    lines = (line.split("#")[0].strip() for line in path.read_text().splitlines())
    names = [line for line in lines if line]
    present = {p.name for p in path.parent.glob("*.patch")}
    if set(names) != present:
        odd = ", ".join(sorted(present ^ set(names)))
        raise BuildError(f"patches/{folder}: series and folder disagree", detail=odd)
    return names


def apply(
    executor: Executor, folder: str, source: str, patches: str, say: Callable[[str], None]
) -> None:
    """Apply a series to a source folder of the container, where `patches` holds this folder.

    Raises:
        BuildError: a patch doesn't apply; the error names its file and hunk.
    """
    for name in series(folder):
        say(f"patching: {name}")
        # no fuzz: a hunk that fits elsewhere by luck is worse than an error
        try:
            executor.call(
                ["patch", "-p1", "--fuzz=0", "--batch", "--forward", "--no-backup-if-mismatch"]
                + ["-i", f"{patches}/{folder}/{name}"],
                cwd=source,
            )
        except BuildError as error:
            raise BuildError(
                f"patches/{folder}/{name} does not apply", detail=error.detail
            ) from error
