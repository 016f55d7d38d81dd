"""Changes the hosts of inventory.yml and leaves the rest of the file as it is.

The user's comments, order and quotes stay. The new text is checked like any inventory and then
replaces the old one in a single rename. What makes a good inventory is the caller's to say.
"""

from __future__ import annotations

import codecs
import io
import os
import re
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
BOM = codecs.BOM_UTF8
# a line at the left, and the first that stands further to the right; a key, and its list's dash
STEP = re.compile(r"^[^\s#-].*\n(?:[ \t]*(?:#.*)?\n)*( +)[^\s#-]", re.MULTILINE)
LISTED = re.compile(r"^( *)[^\s#-].*:[ \t]*\n( *)- ", re.MULTILINE)


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
        raw = real.read_bytes() if exists else EMPTY.encode()
        # line ends are one byte while it is changed, and the mark of UTF-8 is none of its text
        marked, text = raw.startswith(BOM), raw.decode("utf-8-sig").replace("\r\n", "\n")
        # what stands before the document's beginning is nothing to its reader
        begins = re.match(r"(?:[ \t]*(?:#[^\n]*)?\n)*(?=---\s)", text)
        before = begins[0] if begins else ""
        yaml = _as_written(text)
        root = yaml.load(text[len(before) :])
        changed = change(_child(_child(root, "all"), "hosts"))
        if changed:
            stream = io.StringIO()
            yaml.dump(root, stream)
            made = before + stream.getvalue()
            check(strict_yaml.parse(made, path, TOP))
            end = "\r\n" if b"\r\n" in raw else "\n"
            _replace(real, BOM * marked + made.replace("\n", end).encode())
    return changed


def _as_written(text: str) -> YAML:
    """What reads a text, and writes it with its own indents, beginning and end."""
    yaml = YAML(typ="rt")
    yaml.preserve_quotes = True
    yaml.width = 4096
    # the first step to the right is a mapping's: `hosts` below `all`
    step = re.search(
        r"^[^\s#-][^\n]*:[^\n]*\n(?:[ \t]*(?:#[^\n]*)?\n)*( +)[^\s#-]", text, re.MULTILINE
    )
    mapping = len(step[1]) if step else 2
    listed = LISTED.search(text)
    dash = len(listed[2]) - len(listed[1]) if listed else 0
    yaml.indent(mapping=mapping, sequence=dash + 2, offset=dash)
    yaml.explicit_start = re.search(r"^---(\s|$)", text, re.MULTILINE) is not None
    yaml.explicit_end = re.search(r"^\.\.\.\s*$", text, re.MULTILINE) is not None
    return yaml


def put(hosts: CommentedMap, name: str, entry: Mapping[str, object]) -> bool:
    """Set one host's entry."""
    hosts[name] = _plain(entry)
    return True


def _replace(path: Path, content: bytes) -> None:
    mode = path.stat().st_mode & 0o777 if path.exists() else 0o644
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        temporary = Path(name)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
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
