"""Entries of the store in a place that a team shares: taken when they are proven, given when asked.

    entries/AB/ABCD….json    an entry's statement, by its key
    files/EF/EFGH…           a file, by its sha256

An entry is fetched beside the store, each file held to the size and hash that its signed statement
says, and only then moved to where it is wanted. So whoever can write to the place, and has no key
that the project trusts, can keep entries from being taken and do nothing else.

Nothing here fails a task: what can't be taken is made here, what can't be given is said. A place
that does not answer is asked nothing more by this process.
"""

from __future__ import annotations

import functools
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from toolchain.core.signing import Signer
from toolchain.core.store import Entry, digest_file
from toolchain.shared_cache import statement
from toolchain.shared_cache.place import Place, Sent, Wanted
from toolchain.shared_cache.statement import Refused, SharedFile, Statement
from toolchain.shared_cache.waiting import waited

# Seconds without an answer, or without more bytes, after which a place is let alone; and what is
# left of them for the first answer where a library took long to import: two seconds in all where
# that was one and a quarter.
PATIENCE_S, LEAST_S = 1.5, 0.75
# What sending may take: to begin with, and for so many bytes one second more.
SEND_S, SEND_RATE = 30.0, 1 << 18
# Refused entries after which a place is let alone: it may be one that answers everything the same.
MOST_IN_A_ROW = 3
STATEMENT = "statement"


class SharedCache:
    """A team's cache.

    Args:
        open_place: gives where it is; called when something is first asked of it.
        shown: how it is named to the reader.
        trusted: public keys whose entries are taken.
        signer: signs what is given; None to give nothing.
        say: takes a line for the reader.
    """

    def __init__(
        self,
        open_place: Callable[[], Place],
        shown: str,
        trusted: Sequence[str],
        signer: Signer | None,
        say: Callable[[str], None],
    ) -> None:
        self._open_place = open_place
        self._shown = shown
        self._trusted = list(trusted)
        self._signer = signer
        self._say = say
        self._lock = threading.RLock()
        self._off = False
        self._patience = PATIENCE_S
        self._full = signer is None
        # whoever gives takes what it gave before for its own
        self._known = [*trusted, *([signer.public] if signer else [])]
        self._said: set[str] = set()
        # keys that need not be given: they came from there
        self._there: set[str] = set()
        # and keys whose entries there are no good, whatever their statements say
        self._refused: set[str] = set()
        self._in_a_row = 0

    @functools.cached_property
    def _place(self) -> Place:
        """The place; its library may take a second to import, which its first answer has less."""
        started = time.monotonic()
        place = self._open_place()
        self._patience = max(LEAST_S, PATIENCE_S - (time.monotonic() - started))
        return place

    @property
    def gives(self) -> bool:
        """Whether entries are given to it."""
        return not self._full and not self._off

    def take(self, key: str, what: str, into: Path, scratch: Path) -> bool:
        """Fill a folder with an entry, when the place has it and it is proven.

        Args:
            key: of the entry.
            what: it is, in a word.
            into: an empty folder; it stays empty when nothing is taken.
            scratch: an empty folder on the same disk, for what is not proven yet.

        Returns:
            whether the folder is filled.
        """
        with self._lock:
            # only now: another thread may just have found out that it is away
            if self._off or not self._trusted:
                return False
            try:
                started = time.monotonic()
                found = self._statement(key, scratch, self._trusted)
                if found is None:
                    return False
                self._fetch(found, scratch)
            except Refused as error:
                self._refused.add(key)
                self._say(f"shared cache: {what} {key[:12]} is refused, and made here: {error}")
                self._in_a_row += 1
                if self._in_a_row == MOST_IN_A_ROW:
                    self._let_alone(OSError(f"so it was with {MOST_IN_A_ROW} entries in a row"))
                return False
            except OSError as error:
                self._let_alone(error)
                return False
            _move(found, scratch, into)
            self._in_a_row = 0
            self._there.add(key)
            took = f"{found.size / 1e6:.1f} MB in {time.monotonic() - started:.2f} s"
            self._say(f"shared cache: {what} {key[:12]} is taken, {took}")
        return True

    def give(self, entry: Entry, what: str, scratch: Path) -> None:
        """Send an entry to the place, unless it is there.

        Args:
            entry: from the store.
            what: it is, in a word.
            scratch: an empty folder.
        """
        with self._lock:
            if not self.gives or entry.key in self._there:
                return
            try:
                described = _described(entry)
                if self._is_there(described, what, scratch):
                    return
            except Refused as error:
                self._say(f"shared cache: {what} {entry.key[:12]} is not given: {error}")
                return
            except OSError as error:
                self._let_alone(error)
                return
            try:
                self._send(entry, what, described, scratch)
            except OSError as error:
                self._full = True
                self._say(f"shared cache {self._shown}: nothing is given to it: {_reason(error)}")
                return
            self._there.add(entry.key)

    def _is_there(self, described: Statement, what: str, scratch: Path) -> bool:
        """Whether the place has an entry that those who trust the project's keys take."""
        if described.key in self._refused:
            return False  # what is sent takes its place
        try:
            found = self._statement(described.key, scratch, self._known)
        except Refused:
            return False
        if found is not None and found != described:
            self._say(
                f"shared cache: {what} {described.key[:12]} is there with other bytes, signed by a "
                "trusted key; it is left as it is"
            )
        return found is not None

    def _statement(self, key: str, scratch: Path, trusted: Sequence[str]) -> Statement | None:
        """The statement of an entry; None when the place has none.

        Raises:
            Refused: it is not to be believed.
            OSError: the place can't be asked.
        """
        path = scratch / STATEMENT
        path.unlink(missing_ok=True)
        try:
            self._fetched([Wanted(name=_entry(key), path=path, limit=statement.LARGEST + 1)])
        except FileNotFoundError:
            return None
        except PermissionError as error:
            # where nothing may be listed, this is also said of what is not there
            self._say_once(_reason(error))
            return None
        return statement.read(path.read_bytes(), key, trusted)

    def _fetch(self, found: Statement, scratch: Path) -> None:
        """Bring an entry's files, each under its hash, and prove them.

        Raises:
            Refused: one is not what the statement says.
            OSError: the place can't be asked.
        """
        if found.size > shutil.disk_usage(scratch).free:
            raise Refused(f"it has {found.size} bytes, and no disk here has room for them")
        sizes = {file.sha256: file.size for file in found.files.values()}
        wanted = [
            Wanted(name=_file(sha256), path=scratch / sha256, limit=size)
            for sha256, size in sizes.items()
        ]
        try:
            self._fetched(wanted, sum(sizes.values()))
        except (FileNotFoundError, PermissionError) as error:
            raise Refused(f"a file of it can't be had: {_reason(error)}") from error
        for sha256 in sizes:
            if digest_file(scratch / sha256) != sha256:
                raise Refused(f"the file {sha256[:12]} of it was altered")

    def _fetched(self, wanted: Sequence[Wanted], whole: int = 0) -> None:
        if not wanted:
            return
        arrived = [one.path for one in wanted]
        place = self._place
        patience, self._patience = self._patience, PATIENCE_S
        waited(lambda: place.fetch(wanted), lambda: _sizes(arrived), patience, whole)

    def _send(self, entry: Entry, what: str, described: Statement, scratch: Path) -> None:
        """Send an entry's files, then its statement: one that is there names nothing that isn't."""
        assert self._signer is not None
        signed = scratch / f"{STATEMENT}-sent"
        signed.write_bytes(statement.written(described, self._signer))
        unique = {file.sha256: name for name, file in described.files.items()}
        files = [Sent(name=_file(sha256), path=entry.file(name)) for sha256, name in unique.items()]
        files.append(Sent(name=_entry(entry.key), path=signed))
        patience = SEND_S + described.size / SEND_RATE
        place = self._place
        waited(lambda: place.send(files), lambda: 0, patience)
        self._say(f"shared cache: {what} {entry.key[:12]} is given, {described.size / 1e6:.1f} MB")

    def _let_alone(self, error: OSError) -> None:
        """Ask the place nothing more, and say so."""
        self._off = True
        self._say(f"shared cache {self._shown}: it is done without from here on: {_reason(error)}")

    def _say_once(self, reason: str) -> None:
        if reason not in self._said:
            self._said.add(reason)
            self._say(f"shared cache {self._shown}: {reason}")


def _described(entry: Entry) -> Statement:
    """What an entry is made of.

    Raises:
        Refused: there is more in it than files and folders.
    """
    paths = sorted(path for path in entry.folder.rglob("*"))
    if any(path.is_symlink() for path in paths):
        raise Refused("there are links in it")
    files = {
        name: SharedFile(
            sha256=sha256,
            size=(entry.folder / name).stat().st_size,
            executable=bool((entry.folder / name).stat().st_mode & 0o100),
        )
        for name, sha256 in entry.files.items()
    }
    folders = [path.relative_to(entry.folder).as_posix() for path in paths if path.is_dir()]
    if len(files) > statement.MOST_FILES or len(folders) > statement.MOST_FILES:
        raise Refused(f"there are {len(files)} files in it")
    return Statement(key=entry.key, files=files, folders=tuple(folders))


def _move(found: Statement, scratch: Path, into: Path) -> None:
    """Put proven files where they belong; one that stands in several places is copied to them."""
    for folder in sorted(found.folders):
        (into / folder).mkdir()
    left = [file.sha256 for file in found.files.values()]
    for name, file in found.files.items():
        left.remove(file.sha256)
        if file.sha256 in left:
            shutil.copyfile(scratch / file.sha256, into / name)
        else:
            (scratch / file.sha256).rename(into / name)
        (into / name).chmod(0o755 if file.executable else 0o644)


def _entry(key: str) -> str:
    return f"entries/{key[:2]}/{key}.json"


def _file(sha256: str) -> str:
    return f"files/{sha256[:2]}/{sha256}"


def _sizes(arrived: Sequence[Path]) -> int:
    """Bytes that have come so far."""
    return sum(path.stat().st_size for path in arrived if path.exists())


def _reason(error: OSError) -> str:
    """What an error says, in a line: without the paths of scratch folders."""
    return (error.strerror or str(error) or type(error).__name__).splitlines()[0][:200]
