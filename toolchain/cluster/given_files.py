"""The files of a job as an entry of the store, named by their content."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from toolchain.cluster.work import GIVEN
from toolchain.core.store import Entry, Store, digest_file


def inputs_of(files: Mapping[str, Path]) -> dict[str, object]:
    """All that decides the entry of some files: their names and hashes."""
    return {"step": GIVEN, "files": {name: digest_file(path) for name, path in files.items()}}


def keep(files: Mapping[str, Path], inputs: Mapping[str, object], store: Store) -> Entry:
    """Have the entry of some files in a store, and in the shared cache that it gives to."""

    def fill(folder: Path) -> None:
        for name, path in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, folder / name)

    return store.get_or_build(inputs, fill)
