"""Pinned inputs, fetched and verified: from the lock to files of the store.

Nothing here is unpacked before its bytes were checked, and nothing is built. What speaks to mirrors
is imported when something is fetched: most commands, a deployment among them, fetch nothing.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from toolchain.core.errors import LockError
from toolchain.core.store import Store, explain_no_space
from toolchain.lock import mirrors, vendor
from toolchain.lock import pins as lock
from toolchain.lock import unpack as unpacking
from toolchain.lock.pins import Pinned

PARALLEL = 8
TIMEOUT_S = 60
TRIES = 3
CHUNK = 1 << 18

Progress = Callable[[int, int, str], None]


class Unavailable(LockError):
    """A mirror doesn't serve a file of the lock."""


def fetch_all(pins: Iterable[Pinned], store: Store, progress: Progress | None = None) -> None:
    """Bring every file of the lock that the store lacks.

    Args:
        pins: the files.
        store: where they go.
        progress: called with (done, all, file name) after each file.

    Raises:
        LockError: a file's bytes don't match, or a mirror serves other or no bytes; all missing
            files are named in one error. Or the vendor folder is not the lock's.
    """
    missing = [p for p in dict.fromkeys(pins) if not store.has_blob(p.sha256, p.size)]
    if not missing:
        return
    folder = mirrors.vendor()
    if folder is not None:
        vendor.check(folder, vendor.pins())
    gone: list[str] = []
    with explain_no_space(store.root), ThreadPoolExecutor(PARALLEL) as pool:
        futures = {pool.submit(_fetch, pin, store): pin for pin in missing}
        try:
            for done, (future, pin) in enumerate(futures.items(), start=1):
                try:
                    future.result()
                except Unavailable as error:
                    gone.append(f"{pin.file_name} {pin.version}: {error.detail}")
                if progress is not None:
                    progress(done, len(missing), pin.file_name)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    if gone:
        raise LockError(
            f"{len(gone)} files of the lock can't be had from this machine's mirrors",
            detail="\n".join(gone),
            resolution=lock.RENEW,
        )


def path_of(pin: Pinned, store: Store) -> Path:
    """The file in the store, its bytes checked; fetched when absent or damaged.

    Raises:
        LockError: it can't be had.
    """
    path = store.blob(pin.sha256)
    if path is None:
        fetch_all([pin], store)
        path = store.blob(pin.sha256)
    if path is None:
        raise LockError(f"{pin.file_name} is damaged again after a fresh download")
    return path


def unpack(pin: Pinned, store: Store, into: Path, parts: Sequence[str] = ()) -> None:
    """Unpack a file of the lock, as `toolchain.lock.unpack` does; fetched when absent or damaged.

    Raises:
        LockError: it can't be had or unpacked.
    """
    unpacking.unpack(path_of(pin, store), pin.file_name, into, parts)


def _fetch(pin: Pinned, store: Store) -> None:
    kept = mirrors.vendor()
    if kept is not None:
        with store.scratch() as folder:
            target = shutil.copyfile(vendor.place(kept, pin), folder / pin.file_name)
            store.add_blob(target, pin.sha256)
        return
    import requests

    address = _address(pin)
    with store.scratch() as folder:
        target = folder / pin.file_name
        for attempt in range(1, TRIES + 1):
            try:
                size = _download(address, target, pin.size)
                break
            except (requests.ConnectionError, requests.Timeout) as error:
                if attempt == TRIES:
                    raise Unavailable(
                        f"can't fetch {pin.file_name}", detail=type(error).__name__
                    ) from error
        if size != pin.size:
            raise LockError(
                f"{pin.file_name}: the mirror's file has another size than the lock says",
                detail=f"expected {pin.size} bytes, got {size}",
                resolution="try again; if it stays so, " + lock.RENEW,
            )
        store.add_blob(target, pin.sha256)


def _download(address: str, target: Path, limit: int) -> int:
    """Write what the address serves, at most one byte more than the limit; return the size."""
    import requests

    size = 0
    with (
        requests.get(address, stream=True, timeout=TIMEOUT_S, allow_redirects=False) as answer,
        target.open("wb") as stream,
    ):
        if answer.status_code != requests.codes.ok:
            kind = "a redirect" if answer.is_redirect else f"status {answer.status_code}"
            raise Unavailable(f"can't fetch {target.name}", detail=f"the mirror answered {kind}")
        for chunk in answer.iter_content(CHUNK):
            size += len(chunk)
            stream.write(chunk)
            if size > limit:
                return size
    return size


def _address(pin: Pinned) -> str:
    if pin.origin == "debian":
        return f"{mirrors.debian()}/{pin.path}"
    import requests
    from pypi_simple import NoSuchProjectError, PyPISimple

    try:
        with PyPISimple(mirrors.pypi() + "/") as index:
            page = index.get_project_page(pin.project, timeout=TIMEOUT_S)
    except (requests.RequestException, NoSuchProjectError, ValueError) as error:
        raise Unavailable(f"can't fetch {pin.path}", detail=type(error).__name__) from error
    for package in page.packages:
        if package.filename == pin.path:
            return str(package.url)
    raise Unavailable(f"can't fetch {pin.path}", detail="the index does not list it")
