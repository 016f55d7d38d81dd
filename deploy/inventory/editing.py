"""Changes the hosts of inventory.yml and leaves the rest of the file as it is.

The user's comments, order and quotes stay. The new text is checked like any inventory and then
replaces the old one in a single rename. What makes a good inventory is the caller's to say.
"""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from filelock import FileLock
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap

from deploy.inventory import strict_yaml
from deploy.inventory.schema import TOP
from deploy.inventory.strict_yaml import Document
from toolchain.core import paths
from toolchain.core.errors import InventoryError
from toolchain.core.store import digest_of, fsync_path

EMPTY = "all:\n  hosts: {}\n"


def edit(
    path: Path, change: Callable[[CommentedMap], bool], check: Callable[[Document], None]
) -> bool:
    """Change the mapping below `all: hosts:`.

    Args:
        path: the inventory; made when there is none.
        change: changes the mapping; False when it found nothing to do.
        check: raises InventoryError for a document that is no good; called before and after.

    Returns:
        what `change` returned.

    Raises:
        InventoryError: the file, or what it would become, can't be used.
    """
    real = path.resolve()
    locks = paths.cache() / "locks"
    locks.mkdir(parents=True, exist_ok=True)
    with FileLock(locks / f"inventory-{digest_of(str(real))[:16]}.lock"):
        exists = real.exists()
        if exists:
            check(strict_yaml.read(path, TOP))
        yaml = YAML(typ="rt")
        yaml.preserve_quotes = True
        yaml.width = 4096
        root = yaml.load(real.read_text(encoding="utf-8") if exists else EMPTY)
        changed = change(_child(_child(root, "all"), "hosts"))
        if changed:
            stream = io.StringIO()
            yaml.dump(root, stream)
            check(strict_yaml.parse(stream.getvalue(), path, TOP))
            _replace(real, stream.getvalue())
    return changed


def put(hosts: CommentedMap, name: str, entry: Mapping[str, object]) -> bool:
    """Set one host's entry."""
    hosts[name] = _plain(entry)
    return True


def _replace(path: Path, text: str) -> None:
    mode = path.stat().st_mode & 0o777 if path.exists() else 0o644
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        temporary = Path(name)
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fchmod(stream.fileno(), mode)
            os.fsync(stream.fileno())
        temporary.rename(path)
        fsync_path(path.parent)
    except OSError as error:
        raise InventoryError(f"{path} can't be written", detail=str(error)) from error
    finally:
        if temporary is not None:
            with suppress(OSError):
                temporary.unlink()


def _child(parent: CommentedMap, key: str) -> CommentedMap:
    """The mapping below a key, in block style so that more can be added to it."""
    if parent.get(key) is None:
        parent[key] = CommentedMap()
    child = parent[key]
    if not child:
        child.fa.set_block_style()
    assert isinstance(child, CommentedMap)
    return child


def _plain(value: object) -> Any:
    if isinstance(value, Mapping):
        made = CommentedMap()
        for key, inner in value.items():
            made[key] = _plain(inner)
        return made
    return os.fspath(value) if isinstance(value, Path) else value
