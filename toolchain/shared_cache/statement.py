"""What stands beside the files of a shared entry: which they are, signed.

The signature covers the key, so that no entry can stand in another's place, and every file's name,
size and hash, so that nothing in it can be exchanged. It is Ed25519's, by the key that signs
releases, over a text that begins with `DOMAIN`: no signature of a release is one of an entry.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from toolchain.core import signing
from toolchain.core.field_types import Sha256
from toolchain.core.store import MANIFEST

DOMAIN = b"edgewright cache 1\n"
LARGEST = 1 << 20  # bytes of a statement
MOST_FILES = 5000
LONGEST_PART, DEEPEST = 200, 20  # of a path: what every file system takes


class Refused(Exception):
    """An entry that is not taken, or not given; its text says why, in a few words."""


class SharedFile(BaseModel):
    """A file of an entry.

    Attributes:
        sha256: of its bytes.
        size: bytes.
        executable: whether it is a program.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    sha256: Sha256
    size: int = Field(ge=0)
    executable: bool


class Statement(BaseModel):
    """An entry.

    Attributes:
        version: of this form.
        key: the hash of all that made it.
        files: by their paths in the entry.
        folders: paths of all folders in it, sorted.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    version: Literal[1] = 1
    key: Sha256
    files: dict[str, SharedFile] = Field(max_length=MOST_FILES)
    folders: tuple[str, ...] = Field(max_length=MOST_FILES, strict=False)

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files.values())

    def message(self) -> bytes:
        """What is signed of it, but for the domain."""
        fields = self.model_dump(mode="json")
        return json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()


def written(statement: Statement, signer: signing.Signer) -> bytes:
    """A statement with its signature, as JSON."""
    signature = signer.sign(DOMAIN, statement.message())
    value = {"statement": statement.model_dump(mode="json"), "signature": signature}
    return json.dumps(value, indent=1, sort_keys=True).encode()


def read(content: bytes, key: str, trusted: Sequence[str]) -> Statement:
    """The statement of an entry, when a trusted key has signed it.

    Args:
        content: from `written`, or anything.
        key: of the entry that it should be of.
        trusted: public keys.

    Raises:
        Refused: it is none, of another entry, signed by nobody we trust, or names what no entry
            has.
    """
    if len(content) > LARGEST:
        raise Refused("its statement is too large")
    try:
        value = json.loads(content)
        signature = value["signature"]
        found = Statement.model_validate(value["statement"])
    except (ValueError, TypeError, KeyError, RecursionError, ValidationError) as error:
        raise Refused("its statement can't be read") from error
    message = found.message()
    if not any(signing.is_signed(one, DOMAIN, message, signature) for one in trusted):
        raise Refused("no key that this project trusts has signed it")
    if found.key != key:
        raise Refused("it is another entry's")
    names = [*found.files, *found.folders]
    if len(set(names)) < len(names) or not all(_is_inside(name) for name in names):
        raise Refused("it has a name that no entry has")
    folders = set(found.folders)
    if any(name.rpartition("/")[0] not in folders | {""} for name in names):
        raise Refused("it has a file in no folder")
    return found


def _is_inside(name: str) -> bool:
    """Whether a path names something in an entry's own folder."""
    parts = name.split("/")
    plain = name.isprintable() and "\\" not in name and name != MANIFEST
    whole = all(part not in ("", ".", "..") and len(part) <= LONGEST_PART for part in parts)
    return plain and whole and len(parts) <= DEEPEST
