"""Where a finished bundle's folder takes its place in dist/, and other folders of the same files.

Several deployments of one checkout fill and read these at once. What is in a bundle is not decided
here.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

from toolchain.core import process
from toolchain.core.store import Store, digest_file, digest_of

MANIFEST = "manifest.json"
NAME_LENGTH = 150  # of a bundle's folder; a disk takes 255 bytes


def name_of(models: set[str]) -> str:
    """The folder's name: the models', as many as a disk takes."""
    full = "+".join(sorted(models)) or "runtime"
    return full if len(full) <= NAME_LENGTH else f"{full[:NAME_LENGTH]}+{digest_of(full)[:8]}"


def put(folder: Path, final: Path, store: Store, own: Path | None = None) -> None:
    """Let a finished bundle take its place, which another process may want to fill."""
    with store.locked(f"bundle-{digest_of(str(final))}"):
        if not same(folder, final):
            _replace(folder, final)
        if own is not None:
            # its files are never written to again, so they may be the same ones
            shutil.copytree(final, own, copy_function=share)


def share(source: str, target: str) -> None:
    """Give a file a second name; where the disk has no such names, a copy."""
    try:
        Path(target).hardlink_to(source)
    except OSError:
        shutil.copyfile(source, target)


def _replace(folder: Path, final: Path) -> None:
    prefix = f".{process.own_name()}-"
    with tempfile.TemporaryDirectory(dir=final.parent, prefix=prefix) as beside:
        staged, replaced = Path(beside) / "new", Path(beside) / "old"
        shutil.move(folder, staged)
        if final.exists():
            final.rename(replaced)
        staged.rename(final)


def same(folder: Path, final: Path) -> bool:
    """Whether a bundle that is there already is the one in the folder, byte by byte."""
    try:
        text = (folder / MANIFEST).read_text()
        return (final / MANIFEST).read_text() == text and all(
            digest_file(final / file["path"]) == file["sha256"]
            for file in json.loads(text)["files"]
        )
    except OSError:
        return False
