"""Results of many people in one folder, here or elsewhere: `EDGEWRIGHT_SHARED_RESULTS`.

It is laid out as results/ is, but that a file's name ends in the sha256 of its bytes:

    20261128T101500Z-my-board-ABCD….json, accuracy/….json, metrics/….json

So two files have one name only when they are the same, and none ever takes another's place. What
is there is kept in this machine's cache, and of each look only what is new is fetched.

Whoever can write there may have written anything: a file is held to a size and to the hash that its
name says, and then validated by who loads it, as each of results/ is. That its numbers are true
nobody can prove. Nothing here fails a task.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from toolchain.core import paths
from toolchain.core.errors import UsageError
from toolchain.core.store import Store, digest_file, digest_of
from toolchain.shared_cache import addresses
from toolchain.shared_cache.place import Place, Sent, Wanted
from toolchain.shared_cache.waiting import waited

VARIABLE = "EDGEWRIGHT_SHARED_RESULTS"
CACHED = "shared-results"  # in the cache
# what is shared of results/: measurements, and two folders of it
MEASUREMENTS, ACCURACY, METRICS = KINDS = ("", "accuracy", "metrics")
NAMED = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}-([0-9a-f]{64})\.json")
# A result of hundreds of configurations has some megabytes.
LARGEST = 16 << 20
MOST_FILES, AT_ONCE = 100_000, 100
MOST_BYTES = 4 << 30  # that are kept of a kind
# what is kept in the place of a file that is not what its name says, or larger than any may be
REFUSED = ".refused"
# seconds without an answer or more bytes; and for what is sent, beside bytes a second
PATIENCE_S, SEND_S, SEND_RATE = 10.0, 60.0, 50_000
# refused files that are named one by one
MOST_SAID = 3

Say = Callable[[str], None]


def address() -> str:
    """What the variable says; empty when it is not set."""
    return os.environ.get(VARIABLE, "").strip()


def files(say: Say, kinds: Sequence[str] = KINDS) -> dict[str, list[Path]]:
    """What others have measured: the files that are there and not in results/ as well.

    Args:
        say: told in a line what can't be had; then what came at an earlier time is given.
        kinds: some of `KINDS`.

    Returns:
        files by their kind.

    Raises:
        UsageError: nothing can be at that address.
    """
    where = address()
    if not where:
        return {kind: [] for kind in kinds}
    kept = paths.cache() / CACHED / digest_of([where])[:16]
    own = {kind: {digest_file(p) for p in _of_results(kind)} for kind in kinds}
    try:
        for kind in kinds:
            _renew(where, kind, own[kind], kept / kind, say)
    except OSError as error:
        say(f"{_shown(where)}: {error}; what came before is shown")
    return {kind: _others(kept / kind, own[kind]) for kind in kinds}


def measurements(say: Say) -> list[Path]:
    """Others' results; see `files`."""
    return files(say, [MEASUREMENTS])[MEASUREMENTS]


def give(path: Path, kind: str, say: Say) -> None:
    """Give a file of results/ where there is a shared folder; when it can't be, a line says so.

    Args:
        path: of the file.
        kind: one of `KINDS`.
        say: takes a line for the reader.
    """
    where = address()
    if not where or _too_large(path, say):
        return
    try:
        _send(where, kind, [path])
    except (OSError, UsageError) as error:
        say(f"{_shown(where)}: {path.name} is in results/ alone: {error}")
        say("to give it later: invoke share-results")


def give_all(say: Say) -> int:
    """Give all of results/ that is not there yet.

    Args:
        say: told in a line of each file that others would not take.

    Returns:
        how many files were given.

    Raises:
        UsageError: there is no shared folder, or it can't be given anything.
    """
    where = address()
    if not where:
        raise UsageError(
            "there is no shared folder of results",
            resolution=f"say where it is: {VARIABLE}=ADDRESS, such as /srv/results or "
            "s3://bucket/results",
        )
    given = 0
    try:
        for kind in KINDS:
            there = {sha256 for _, sha256 in _listed(where, kind, say)}
            new = [path for path in _of_results(kind) if digest_file(path) not in there]
            new = [path for path in new if not _too_large(path, say)]
            for start in range(0, len(new), AT_ONCE):
                _send(where, kind, new[start : start + AT_ONCE])
            given += len(new)
    except OSError as error:
        raise UsageError(
            f"{_shown(where)} can't be given results", detail=str(error),
            resolution=f"name a folder that you may write to: {VARIABLE}=ADDRESS",
        ) from error  # fmt: skip
    return given


@functools.cache
def _place(where: str) -> Place:
    return addresses.place_at(where)


def _of_results(kind: str) -> list[Path]:
    return sorted((paths.results() / kind).glob("*.json"))


def _others(kept: Path, own: set[str]) -> list[Path]:
    names = {path: NAMED.fullmatch(path.name) for path in sorted(kept.glob("*.json"))}
    return [path for path, named in names.items() if named and named[1] not in own]


def _renew(where: str, kind: str, own: set[str], kept: Path, say: Say) -> None:
    """Have a folder of the cache hold what is there, but for what is in results/.

    Raises:
        OSError: the place does not answer.
    """
    kept.mkdir(parents=True, exist_ok=True)
    there = {name for name, sha256 in _listed(where, kind, say) if sha256 not in own}
    new = [n for n in there if not ((kept / n).exists() or (kept / f"{n}{REFUSED}").exists())]
    _fetch(where, kind, sorted(new, reverse=True), kept, say)
    for path in kept.iterdir():
        if path.is_file() and path.name.removesuffix(REFUSED) not in there:
            path.unlink(missing_ok=True)  # it was taken away there


def _shown(where: str) -> str:
    return f"shared results {addresses.shown(where)}"


def _too_large(path: Path, say: Say) -> bool:
    """Whether a file is larger than others take, which a line says then."""
    if path.stat().st_size <= LARGEST:
        return False
    say(f"{path.name} is in results/ alone: nobody takes more than {LARGEST >> 20} MiB")
    return True


def _named(path: Path) -> str:
    """A file's name there."""
    stem = re.sub(r"[^A-Za-z0-9_.-]", "_", path.stem).lstrip(".-")[:200] or "_"
    return f"{stem}-{digest_file(path)}.json"


def _inside(kind: str, name: str) -> str:
    return f"{kind}/{name}" if kind else name


def _send(where: str, kind: str, found: Sequence[Path]) -> None:
    """Send files.

    Raises:
        OSError: they can't be.
    """
    size = sum(path.stat().st_size for path in found)
    sent = [Sent(name=_inside(kind, _named(path)), path=path) for path in found]
    waited(lambda: _place(where).send(sent), lambda: 0, SEND_S + size / SEND_RATE)


def _listed(where: str, kind: str, say: Say) -> list[tuple[str, str]]:
    """Names and hashes of what is there, the newest first, as many as are taken.

    Raises:
        OSError: it can't be told.
    """
    names = waited(lambda: _place(where).names(kind), lambda: 0, PATIENCE_S)
    found = [(name, named[1]) for name in names if (named := NAMED.fullmatch(name))]
    if len(found) > MOST_FILES:
        say(f"{_shown(where)}: of {len(found)} files there the last {MOST_FILES} are taken")
    return sorted(found, reverse=True)[:MOST_FILES]


def _fetch(where: str, kind: str, names: Sequence[str], into: Path, say: Say) -> None:
    """Fetch files into a folder; one that is not what its name says is left out.

    Raises:
        OSError: the place does not answer.
    """
    refused: list[str] = []
    held = sum(path.stat().st_size for path in into.glob("*.json"))
    with Store().scratch() as scratch:
        left = list(names)
        while left:
            # each may be of the largest size: what there is no room for then is not begun
            room = (MOST_BYTES - held) // LARGEST
            if room < 1:
                say(f"{_shown(where)}: {len(left)} files are left: more than can be kept")
                break
            some, left = left[: min(AT_ONCE, room)], left[min(AT_ONCE, room) :]
            try:
                _all_of(where, kind, some, scratch)
            except TimeoutError:
                raise
            except OSError as error:
                # one of them: which, is found one by one
                refused += _one_by_one(where, kind, some, scratch, error)
            for name in some:
                path, named = scratch / name, NAMED.fullmatch(name)
                if not path.exists():
                    continue
                if named and digest_file(path) == named[1]:
                    held += path.stat().st_size
                    path.rename(into / name)
                else:
                    path.unlink()
                    (into / f"{name}{REFUSED}").touch()
                    refused.append(f"{name} is not what its name says")
    for line in refused[:MOST_SAID]:
        say(f"{_shown(where)}: left out: {line}")
    if len(refused) > MOST_SAID:
        say(f"{_shown(where)}: left out: {len(refused) - MOST_SAID} more")


def _one_by_one(
    where: str, kind: str, names: Sequence[str], scratch: Path, first: OSError
) -> list[str]:
    """Fetch files of which one can't be had.

    Returns:
        a line for each such.

    Raises:
        OSError: none can be had: it is the place.
    """
    refused = []
    for name in names:
        (scratch / name).unlink(missing_ok=True)
        try:
            _all_of(where, kind, [name], scratch)
        except TimeoutError:
            raise
        except OSError as error:
            came = scratch / name
            if came.exists() and came.stat().st_size >= LARGEST:
                continue  # it is the file and not the place: judged by what came
            came.unlink(missing_ok=True)
            refused.append(f"{name}: {error}")
            if len(refused) > MOST_SAID and len(refused) == names.index(name) + 1:
                raise first from error
    return refused


def _all_of(where: str, kind: str, names: Sequence[str], scratch: Path) -> None:
    wanted = [
        Wanted(name=_inside(kind, name), path=scratch / name, limit=LARGEST) for name in names
    ]
    waited(
        lambda: _place(where).fetch(wanted),
        lambda: sum(path.stat().st_size for path in scratch.iterdir()),
        PATIENCE_S,
    )
