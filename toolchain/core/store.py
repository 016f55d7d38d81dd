"""Content-addressed files: everything fetched or built is looked up by what made it.

`blobs` holds fetched files by their sha256. `entries` holds built folders by the hash of all that
made them; `Store.get_or_build` is the one way to them. Both are hashed again when read; one whose
bytes changed is removed, so that the caller makes it again. What is here can always be made again.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from filelock import FileLock

from toolchain.core import paths, process
from toolchain.core.errors import LockError, NoSpaceError

CHUNK = 1 << 20
MANIFEST = "entry.json"


def digest_file(path: Path) -> str:
    """The sha256 of a file's bytes, in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def digest_of(value: object) -> str:
    """The sha256 of a JSON value in its canonical form (sorted keys, no spaces)."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def digest_tree(folder: Path) -> dict[str, str]:
    """The sha256 of each regular file below a folder, by its relative path, sorted."""
    files = sorted(p for p in folder.rglob("*") if p.is_file() and not p.is_symlink())
    return {p.relative_to(folder).as_posix(): digest_file(p) for p in files}


def outline(folder: Path) -> dict[str, str]:
    """What the bytes of files don't say: kind and mode of all that is below a folder, links' ends.

    Returns:
        by its relative path each file, folder and link, such as `-rwxr-xr-x` or `lrwxrwxrwx to`.
    """
    found = {}
    for path in sorted(folder.rglob("*")):
        kind = stat.filemode(path.lstat().st_mode)
        leads = f" {path.readlink()}" if path.is_symlink() else ""
        found[path.relative_to(folder).as_posix()] = f"{kind}{leads}"
    return found


def fsync_path(path: Path) -> None:
    """Bring a file's bytes, or a folder's names, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file by temporary name, fsync and rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content)
        fsync_path(temporary)
        temporary.rename(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def explain_no_space(where: Path) -> Iterator[None]:
    """Turn ENOSPC and EDQUOT into the error that says which disk and what to do."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise NoSpaceError(
            "no space left on this machine",
            detail=f"{error}\nthe cache is in {where}",
            resolution="free some space, or move the cache with EDGEWRIGHT_CACHE=FOLDER",
        ) from error


def _without_manifest(found: dict[str, str]) -> dict[str, str]:
    return {name: said for name, said in found.items() if name != MANIFEST}


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A built folder whose bytes were just checked.

    Attributes:
        key: the hash of `inputs`.
        folder: where it is; not to be written to.
        inputs: all that made it.
        files: the sha256 of each file by its relative path.
        fresh: whether it was built by the call that gave it, not found.
    """

    key: str
    folder: Path
    inputs: Mapping[str, object]
    files: Mapping[str, str]
    fresh: bool = field(default=False, compare=False)

    def file(self, name: str) -> Path:
        """The path of one of its files."""
        if name not in self.files:
            raise KeyError(name)
        return self.folder / name


class Store:
    """The cache of this machine.

    Args:
        root: its folder; `paths.cache()` when not given.
    """

    def __init__(self, root: Path | None = None) -> None:
        self.root = root if root is not None else paths.cache()

    def blob(self, sha256: str) -> Path | None:
        """The fetched file with that hash, checked; None when absent or damaged."""
        path = self._blob_path(sha256)
        if not path.is_file():
            return None
        if digest_file(path) != sha256:
            path.unlink()
            return None
        return path

    def has_blob(self, sha256: str, size: int) -> bool:
        """Whether a file of that name and size is there, without reading it."""
        path = self._blob_path(sha256)
        return path.is_file() and path.stat().st_size == size

    def add_blob(self, temporary: Path, sha256: str) -> Path:
        """Take a finished file of `scratch` into the store.

        Raises:
            LockError: its bytes don't have that hash; the file is removed.
        """
        found = digest_file(temporary)
        if found != sha256:
            temporary.unlink()
            raise LockError(
                f"{temporary.name}: its bytes don't match the lock",
                detail=f"expected sha256 {sha256}\nfound    sha256 {found}",
            )
        path = self._blob_path(sha256)
        path.parent.mkdir(parents=True, exist_ok=True)
        fsync_path(temporary)
        temporary.rename(path)
        fsync_path(path.parent)
        return path

    def entry(self, key: str) -> Entry | None:
        """The built folder with that key, checked; None when absent or damaged."""
        folder = self._entry_path(key)
        manifest = folder / MANIFEST
        try:
            recorded = json.loads(manifest.read_text())
            inputs, files = recorded["inputs"], recorded["files"]
            shape = recorded.get("outline")  # entries of earlier versions have none
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError):
            shutil.rmtree(folder)
            return None
        found = _without_manifest(digest_tree(folder))
        if found != files or (shape is not None and _without_manifest(outline(folder)) != shape):
            shutil.rmtree(folder)
            return None
        return Entry(key=key, folder=folder, inputs=inputs, files=files)

    def get_or_build(self, inputs: Mapping[str, object], build: Callable[[Path], None]) -> Entry:
        """The folder that is made of some inputs, from the store or built now.

        It is looked up; when it is absent or damaged its key is locked, so that one process at a
        time builds it, and it is looked up again, since another may have built it meanwhile. What
        `build` raises comes through, and nothing is kept of it.

        Args:
            inputs: all that decides the folder's bytes, as JSON; its key is their hash.
            build: given an empty folder on the store's disk, fills it.
        """
        with self.entry_or_folder(inputs) as found:
            if isinstance(found, Entry):
                return found
            build(found)
        entry = self.entry(digest_of(inputs))
        assert entry is not None
        return replace(entry, fresh=True)

    @contextmanager
    def entry_or_folder(self, inputs: Mapping[str, object]) -> Iterator[Entry | Path]:
        """The entry that is made of some inputs; or, when there is none, a folder to fill.

        For a part that comes into being along with something else, within the block: the folder
        becomes the entry when the block ends well, and its key is locked until then. All else goes
        by `get_or_build`.
        """
        key = digest_of(inputs)
        with ExitStack() as held:
            entry = self.entry(key)
            if entry is None:
                held.enter_context(self.locked(key))
                entry = self.entry(key)
            if entry is None:
                yield held.enter_context(self.building(key, inputs))
                return
            held.close()
            yield entry

    @contextmanager
    def building(self, key: str, inputs: Mapping[str, object]) -> Iterator[Path]:
        """A folder to fill; when the block ends well it becomes the entry with that key.

        Nothing is kept of a block that raised. The key should be locked; `get_or_build` does.
        """
        with self.scratch() as folder, explain_no_space(self.root):
            yield folder
            files, shape = digest_tree(folder), outline(folder)
            recorded = {"inputs": inputs, "files": files, "outline": shape}
            (folder / MANIFEST).write_text(json.dumps(recorded, indent=1, sort_keys=True))
            for path in [*folder.rglob("*"), folder]:
                if not path.is_symlink():
                    fsync_path(path)
            final = self._entry_path(key)
            final.parent.mkdir(parents=True, exist_ok=True)
            if final.exists():
                shutil.rmtree(final)
            folder.chmod(0o755)
            folder.rename(final)
            fsync_path(final.parent)

    @contextmanager
    def locked(self, key: str) -> Iterator[None]:
        """Hold a key, so that one process at a time builds it."""
        locks = self.root / "locks"
        locks.mkdir(parents=True, exist_ok=True)
        with FileLock(locks / f"{key}.lock"):
            yield

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """A temporary folder on the store's own disk, removed at the end whatever happens.

        A process that is killed leaves it, with its name on it; the next one's start clears it
        away (`toolchain.workstation.leftovers`).
        """
        base = self.root / paths.SCRATCH
        base.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(dir=base, prefix=f"{process.own_name()}-"))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _blob_path(self, sha256: str) -> Path:
        return self.root / "blobs" / sha256[:2] / sha256

    def _entry_path(self, key: str) -> Path:
        return self.root / "entries" / key[:2] / key
