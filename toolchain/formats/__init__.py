"""The kinds of model file: one module of this folder each.

A module holds `FORMAT`. A user's own stand in `formats/` of a folder that `EDGEWRIGHT_PLUGINS`
names. No module here imports a heavy library at its top, as the tasks' help lists them: that is for
`load`, which runs in the worker, and for `graphs/`, which several kinds share.
"""

from __future__ import annotations

import inspect
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from toolchain.core import plugins
from toolchain.core.errors import ModelError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from toolchain.formats.network import Network

KIND = "formats"
HEAD = 8  # bytes of a file that tell what it is


@dataclass(frozen=True, kw_only=True)
class Format:
    """A kind of model file, and all that differs between kinds.

    Attributes:
        name: as manifests call it.
        title: as help and errors call its files.
        suffixes: of its files; none for a folder.
        marker: the file that tells its folder; empty for a kind of file.
        export: how to make one, for the errors of what is none.
        extras: what reads or converts it and is not always installed.
        has_variants: whether all numeric variants are made of it: its graph is TensorFlow's.
        rounded_as_onnx: whether those that round are made of the ONNX graph instead.
        has_layers: whether a network can be trained on, as some variants are.
    """

    name: str
    title: str
    suffixes: tuple[str, ...] = ()
    marker: str = ""
    export: str = "copy it again, or save the model again"
    extras: tuple[str, ...] = ()
    has_variants: bool = False
    rounded_as_onnx: bool = False
    has_layers: bool = False

    def holds(self, path: Path) -> bool:
        """Whether the name of a file, or what is in a folder, says that it is of this kind."""
        if path.is_dir():
            return bool(self.marker) and (path / self.marker).is_file()
        return path.suffix in self.suffixes

    def begins_right(self, path: Path, head: bytes) -> bool:
        """Whether a file can be what its name says.

        Args:
            path: the file.
            head: its first bytes, HEAD at the most.
        """
        del path, head
        return True

    def refuse_other(self, path: Path) -> None:
        """Refuse a file that is visibly not what its name says, before anything heavy is started.

        Raises:
            UsageError: it can't be read.
            ModelError: it is empty, cut short or of another kind.
        """
        if path.is_dir():
            return
        try:
            with path.open("rb") as stream:
                head = stream.read(HEAD)
        except OSError as error:
            raise UsageError(f"{path}: can't be read", detail=str(error)) from error
        if not head:
            raise ModelError(f"{path.name} is empty", resolution="copy it again")
        if not self.begins_right(path, head):
            raise ModelError(
                f"{path.name} is not a {path.suffix} file, or was cut short",
                detail=f"it begins with the bytes {head.hex(' ')}",
                resolution=self.export,
            )

    def files(self, path: Path) -> list[Path]:
        """The files or folders that a model is read from; the worker can read no others.

        Raises:
            ModelError: one that belongs to it isn't there.
        """
        return [path]

    def digest(self, path: Path) -> str:
        """The sha256 of all that a model is made of, in hex.

        Raises:
            ModelError: a file that belongs to it isn't there.
        """
        from toolchain.core import store

        return store.digest_of(store.digest_tree(path)) if self.marker else store.digest_file(path)

    def load(self, path: Path, progress: Callable[[str], None], signature: str = "") -> Network:
        """Read a model; called in the worker.

        Args:
            path: a file or folder that `holds` and `refuse_other` passed.
            progress: called with each step.
            signature: the name of one of several functions of the file; empty for its usual one.

        Raises:
            UsageError: a signature was named, and this kind of file has one function.
            ModelError: it can't be read, or not be used; nothing in it is run.
        """
        raise NotImplementedError

    def refuse_signature(self, name: str) -> None:
        """Refuse a signature that was named, for a kind whose files have no such names.

        Raises:
            UsageError: one was named.
        """
        if name:
            raise UsageError(
                f"--signature can't be chosen for {self.title}: there is one function in a file",
                resolution="leave --signature out",
            )

    @property
    def code(self) -> Path:
        """The module that this kind is, which decides what is made of its files."""
        return Path(inspect.getfile(type(self)))


def all_formats() -> dict[str, Format]:
    """Every kind of model file by name, sorted.

    Raises:
        UsageError: a user's module can't be imported.
    """
    found = [
        module.FORMAT
        for module in plugins.modules(sys.modules[__name__], KIND)
        if isinstance(getattr(module, "FORMAT", None), Format)
    ]
    return {one.name: one for one in sorted(found, key=lambda one: one.name)}


def titles() -> str:
    """All kinds in words, for help and errors."""
    *most, last = (one.title for one in all_formats().values())
    return f"{', '.join(most)} and {last}"


def format_of(path: Path) -> Format:
    """The kind of a model file or folder, by its name; files are looked into by `refuse_other`.

    Raises:
        UsageError: a file of no known kind.
        ModelError: a folder of no known kind.
    """
    known = all_formats().values()
    for one in known:
        if one.holds(path):
            return one
    if path.is_dir():
        folders = [one for one in known if one.marker]
        raise ModelError(
            f"{path.name} is a folder without {' or '.join(one.marker for one in folders)}",
            resolution="; or ".join(one.export for one in folders),
        )
    raise UsageError(
        f"{path.name}: unknown kind of model file", resolution=f"known kinds: {titles()}"
    )
