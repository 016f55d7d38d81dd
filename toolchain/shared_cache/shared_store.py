"""The store with a second level: what is not here is looked for in the team's cache, then made."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from toolchain.core.errors import UsageError
from toolchain.core.store import Entry, Store, digest_of
from toolchain.shared_cache import addresses

if TYPE_CHECKING:
    from toolchain.shared_cache.shared_cache import SharedCache

# What is shared, by the words in its inputs: what takes long to make. Unpacked sources and objects
# are not; of an image it is the root file system, which may have been installed under emulation.
# For the emulator that counts instructions an image is built and a plugin compiled.
KINDS = ("wheel", "root", "counter")
STEPS = ("convert", "variant", "weights", "link")
TRAINED = "tuned "  # what the steps of variants that are trained begin with
# and between the machines of a cluster: a job's files, and what is made on the way to a library
OF_JOBS = ("input", "prepare", "compile", "again")

Say = Callable[[str], None]
# lines that this process has printed: several tasks may run in it
_said: set[str] = set()


def opened(say: Say, *, share: bool = False, jobs: bool = False) -> Store:
    """This machine's store, with the team's cache behind it where there is one.

    Args:
        say: takes a line for the reader.
        share: whether the team's cache is given what is made or found here, as `EDGEWRIGHT_SHARE=1`
            asks for too.
        jobs: whether it also carries what jobs on a cluster need and make.

    Raises:
        UsageError: the address or the list of trusted keys can't be used. Or entries shall be
            given, and there is no cache, no key to sign with, or a place that takes nothing.
    """
    sharing = share or os.environ.get("EDGEWRIGHT_SHARE", "") not in ("", "0")
    address = addresses.address()
    if not address and sharing:
        raise UsageError(
            "there is no shared cache to give to",
            resolution="say where it is: EDGEWRIGHT_SHARED_CACHE=ADDRESS",
        )
    if not address:
        return Store()
    from toolchain.core import signing
    from toolchain.shared_cache import trusted_keys

    trusted = tuple(trusted_keys.keys())
    team = _team(address, trusted, signing.key_path() if sharing else None, say)
    return SharedStore(team, steps=OF_JOBS if jobs else ())


@functools.cache
def _team(address: str, trusted: tuple[str, ...], key: Path | None, say: Say) -> SharedCache:
    """The cache at an address: one for a process, which remembers that it does not answer.

    Args:
        address: of the place, which is opened when something is asked of it.
        trusted: public keys.
        key: that signs what is given; None to give nothing.
        say: takes a line for the reader.

    Raises:
        UsageError: nothing can be given there, or there is no key to sign with.
    """
    from toolchain.core import signing
    from toolchain.shared_cache import trusted_keys
    from toolchain.shared_cache.shared_cache import SharedCache

    shown, signer = addresses.shown(address), None
    team = functools.partial(SharedCache, functools.partial(addresses.place_at, address), shown)
    if key is not None:
        _refuse_read_only(address)
        signer = signing.Signer()
        if not any(signing.same_key(signer.public, one) for one in trusted):
            say(
                f"shared cache: {trusted_keys.path()} does not name the key of this machine; who "
                "has this project takes nothing that it signs"
            )
    elif not trusted:
        say(
            f"shared cache: nothing is taken from it, since {trusted_keys.path()} names no key; "
            "put there what invoke keys prints where entries are made"
        )
    return team(trusted, signer, say)


def _refuse_read_only(address: str) -> None:
    """Refuse a place that can't be given anything, before anything is made.

    Raises:
        UsageError: it is one, or its library is not installed.
    """
    shown = addresses.shown(address)
    try:
        reason = addresses.place_at(address).read_only
    except OSError as error:
        reason = str(error)
    if reason:
        raise UsageError(
            f"nothing can be given to the shared cache {shown}",
            detail=reason,
            resolution="leave --share and EDGEWRIGHT_SHARE out, or name a cache that can be "
            "written to",
        )


class SharedStore(Store):
    """The store of this machine, with a team's cache behind it.

    Args:
        team: the cache.
        root: as for `Store`.
        steps: what is shared besides what always is, by the words in its inputs.
    """

    def __init__(
        self, team: SharedCache, root: Path | None = None, steps: Sequence[str] = ()
    ) -> None:
        super().__init__(root)
        self._team = team
        self._steps = (*STEPS, *steps)

    @property
    def gives(self) -> bool:
        """Whether the team's cache is given what is made here: it was asked for, and it works."""
        return self._team.gives

    def kind(self, inputs: Mapping[str, object]) -> str:
        """What an entry is, in a word; empty for what is not shared."""
        kind, step = str(inputs.get("kind", "")), str(inputs.get("step", ""))
        if kind in KINDS:
            return kind
        return step if step in self._steps or step.startswith(TRAINED) else ""

    @contextmanager
    def entry_or_folder(self, inputs: Mapping[str, object]) -> Iterator[Entry | Path]:
        """As `Store.entry_or_folder`; what the team's cache has is an entry that is found."""
        what, key = self.kind(inputs), digest_of(inputs)
        with ExitStack() as held:
            found = held.enter_context(super().entry_or_folder(inputs))
            if isinstance(found, Path) and what and self._taken(key, what, found):
                held.close()  # what fills the folder is kept, and its key is free
                entry = self.entry(key)
                assert entry is not None
                found = entry
            yield found
        if what and self._team.gives:
            made = found if isinstance(found, Entry) else self.entry(key)
            assert made is not None
            self._give(made, what)

    def give(self, inputs: Mapping[str, object]) -> None:
        """Give an entry that nothing asks for now, where it is here and entries are given."""
        entry = self.entry(digest_of(inputs)) if self._team.gives else None
        if entry is not None:
            self._give(entry, self.kind(inputs))

    def take(self, inputs: Mapping[str, object], into: Path) -> bool:
        """Fill an empty folder with an entry of the team's cache, when it has it; whether it has.

        For who waits for another machine to make it, and holds its key here meanwhile.
        """
        return self._taken(digest_of(inputs), self.kind(inputs), into)

    def _give(self, entry: Entry, what: str) -> None:
        with self.scratch() as scratch:
            self._team.give(entry, what, scratch)

    def _taken(self, key: str, what: str, into: Path) -> bool:
        with self.scratch() as scratch:
            return self._team.take(key, what, into, scratch)
