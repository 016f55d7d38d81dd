"""The files of a job as an entry of the store, named by their content."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from toolchain.cluster.work import GIVEN
from toolchain.core.store import Store, digest_file


def keep(files: Mapping[str, Path], store: Store) -> dict[str, object]:
    """Have the entry of some files in a store, and in the shared cache that it gives to.

    Copies are hashed: another job may write a file anew meanwhile, such as a model's manifest.

    Args:
        files: by the names that they have in the entry.
        store: this machine's.

    Returns:
        all that decides the entry: the names and hashes.
    """
    with store.scratch() as scratch:
        copies = {name: scratch / str(number) for number, name in enumerate(files)}
        for name, path in files.items():
            shutil.copyfile(path, copies[name])
        hashes = {name: digest_file(copy) for name, copy in copies.items()}

        def fill(folder: Path) -> None:
            for name, copy in copies.items():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                copy.rename(folder / name)

        inputs: dict[str, object] = {"step": GIVEN, "files": hashes}
        store.get_or_build(inputs, fill)
    return inputs
