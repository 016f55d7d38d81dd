"""Whose entries of a shared cache are taken: `trusted_keys`, beside the project's inventory.

The same lines as in a device's `trusted_keys`, one `ssh-ed25519 …` each, as `invoke keys` prints
them; blank lines and those that begin with # count for nothing. The file belongs to the project,
and is committed with it.
"""

from __future__ import annotations

from pathlib import Path

from toolchain.core import paths, signing
from toolchain.core.errors import UsageError

FILE = "trusted_keys"


def path() -> Path:
    """Where the project's file is."""
    return paths.output() / FILE


def keys() -> list[str]:
    """The trusted keys; none when there is no file.

    Raises:
        UsageError: a line of it is no key, or it can't be read.
    """
    try:
        text = path().read_text()
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        raise UsageError(f"{path()} can't be read", detail=str(error)) from error
    found = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if not signing.is_public_key(line):
            raise UsageError(
                f"{path()}, line {number}: no ssh-ed25519 key",
                resolution="put there what invoke keys prints",
            )
        found.append(line.strip())
    return found
