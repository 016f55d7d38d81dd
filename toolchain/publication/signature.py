"""Signatures that OpenSSH makes and checks, by the key that signs releases.

`ssh-keygen -Y` signs a file under a namespace (PROTOCOL.sshsig), so that a signature made for one
use is none for another. Ed25519 gives the same signature each time.
"""

from __future__ import annotations

from pathlib import Path

from toolchain.core import process, signing
from toolchain.core.errors import CommandError, UsageError

NAMESPACE = "edgewright-wheel"
SUFFIX = ".sig"  # OpenSSH's


def has_key() -> bool:
    """Whether this machine has a key to sign with."""
    return signing.key_path().exists()


def sign(content: bytes, scratch: Path) -> bytes:
    """The signature of some bytes.

    Args:
        content: what is signed.
        scratch: a folder of the caller's, for the files that ssh-keygen works on.

    Raises:
        UsageError: the key can't be used.
    """
    path, made = scratch / "signed", scratch / f"signed{SUFFIX}"
    path.write_bytes(content)
    made.unlink(missing_ok=True)
    key = signing.key_path()
    try:
        process.run(["ssh-keygen", "-q", "-Y", "sign", "-f", key, "-n", NAMESPACE, path])
    except CommandError as error:
        raise UsageError(
            f"the key {key} can't sign",
            detail=error.output.strip(),
            resolution=f"see that only you can read it, and that ssh-keygen takes it: "
            f"ssh-keygen -y -f {key}",
        ) from error
    return made.read_bytes()
