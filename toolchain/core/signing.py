"""Keys that sign releases and entries of a shared cache, and the seals of releases.

A seal says, signed by an ed25519 key: this release, this counter, not after this second. A release
is named by the hash of its manifest, which holds the hash of every file, so the seal covers all of
it; and the same content stays the same release, however often it is sealed. What a device makes of
a seal is `deploy.agent.trust`'s. The key file is OpenSSH's: `ssh-keygen -p` gives it a passphrase.
"""

from __future__ import annotations

import getpass
import json
import os
import time
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import BaseModel, ConfigDict, ValidationError

from toolchain.core import paths
from toolchain.core.errors import BuildError, UsageError
from toolchain.core.field_types import Sha256
from toolchain.core.store import fsync_path, write_atomically

SEAL = "seal.json"
DOMAIN = b"edgewright release 1\n"
VALID_S = 90 * 24 * 3600


class Seal(BaseModel):
    """What lets a release into a device that trusts the key.

    Attributes:
        release: its id.
        counter: the second in which the seal was made, since 1970; a device takes no older one.
        expires: the last second in which it is taken.
        signature: Ed25519, in hexadecimal.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    release: Sha256
    counter: int
    expires: int
    signature: str


# A seal is made when a deployment begins; a clock that is further ahead than this a device refuses.
FRESH_S, MOST_AHEAD_S = 24 * 3600, 2 * 24 * 3600


def key_path() -> Path:
    """Where the key is."""
    return paths.keys() / "release"


def make_key() -> tuple[Path, bool]:
    """The key's file, and whether it was made just now.

    Raises:
        UsageError: it can't be written.
    """
    path = key_path()
    if path.exists():
        return path, False
    private = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.OpenSSH,
        serialization.NoEncryption(),
    )
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(private)
            stream.flush()
            os.fsync(descriptor)
        try:
            # of two that make one at once, the first one's key is kept
            os.link(temporary, path)
        except FileExistsError:
            return path, False
        finally:
            temporary.unlink()
        fsync_path(path.parent)
    except OSError as error:
        raise UsageError(
            f"no key can be written to {path}",
            detail=str(error),
            resolution="set EDGEWRIGHT_KEYS to a folder of yours",
        ) from error
    return path, True


def public_key() -> str:
    """The public key as a line of OpenSSH's.

    Raises:
        UsageError: there is no key, or it can't be read.
    """
    return Signer().public


class Signer:
    """The key, read once: a passphrase is asked for once.

    Raises:
        UsageError: there is no key, or it can't be read.
    """

    def __init__(self) -> None:
        self._key = _private()

    @property
    def public(self) -> str:
        """The public key as a line of OpenSSH's."""
        encoded = self._key.public_key().public_bytes(
            serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
        )
        return f"{encoded.decode()} edgewright"

    def sign(self, domain: bytes, message: bytes) -> str:
        """A signature, in hexadecimal.

        Args:
            domain: what the signature is for: the same message is signed for nothing else.
            message: what is signed.
        """
        return self._key.sign(domain + message).hex()


def is_public_key(line: str) -> bool:
    """Whether a line is an ed25519 key as OpenSSH writes it."""
    return _public(line) is not None


def same_key(line: str, other: str) -> bool:
    """Whether two lines, which are keys, name the same one; what follows it is a remark."""
    return line.split()[:2] == other.split()[:2]


def is_signed(line: str, domain: bytes, message: bytes, signature: object) -> bool:
    """Whether a public key's owner made a signature.

    Args:
        line: the public key, as OpenSSH writes it.
        domain: as for `Signer.sign`.
        message: as for `Signer.sign`.
        signature: in hexadecimal, or anything.
    """
    key = _public(line)
    try:
        if key is None or not isinstance(signature, str):
            return False
        key.verify(bytes.fromhex(signature), domain + message)
    except (ValueError, InvalidSignature):
        return False
    return True


def seal(release: str, *, counter: int, expires: int, key: Ed25519PrivateKey) -> Seal:
    """Sign a release."""
    fields = {"counter": counter, "expires": expires, "release": release}
    message = DOMAIN + json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()
    signature = key.sign(message).hex()
    return Seal(release=release, counter=counter, expires=expires, signature=signature)


def seal_bundles(bundles: dict[Path, str]) -> bool:
    """Put a seal into each bundle, when this machine has a key. Whether it has one.

    Args:
        bundles: release ids by the bundles' folders.

    Raises:
        UsageError: the key can't be read.
    """
    if not key_path().exists():
        return False
    key, now = _private(), int(time.time())
    for folder, release in bundles.items():
        made = seal(release, counter=now, expires=now + VALID_S, key=key)
        write_atomically(folder / SEAL, made.model_dump_json(indent=1).encode())
    return True


def not_before(made: Seal | None, accepted: int) -> Seal | None:
    """A seal that a device takes after one with that counter.

    A counter is a time, so one that was made under a clock that is ahead would lock out who has the
    right time. Whoever has the key may sign anew, one later.

    Args:
        made: the bundle's; None when it has none.
        accepted: the device's newest counter.

    Raises:
        UsageError: the key can't be read.
    """
    if made is None or made.counter >= accepted or not key_path().exists():
        return made
    # only who sealed it just now raises the counter: an older bundle stays an older one
    if made.counter < time.time() - FRESH_S or accepted - made.counter > MOST_AHEAD_S:
        return made
    expires = max(made.expires, accepted + VALID_S)
    return seal(made.release, counter=accepted + 1, expires=expires, key=_private())


def load(folder: Path) -> Seal | None:
    """The seal of a bundle; None when it has none.

    Raises:
        BuildError: it can't be read.
    """
    path = folder / SEAL
    try:
        return Seal(**json.loads(path.read_text()))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, ValidationError) as error:
        raise BuildError(f"{path} can't be used", detail=str(error)) from error


def _public(line: str) -> Ed25519PublicKey | None:
    try:
        key = serialization.load_ssh_public_key(line.strip().encode())
    except (ValueError, UnsupportedAlgorithm):
        return None
    return key if isinstance(key, Ed25519PublicKey) else None


def _private() -> Ed25519PrivateKey:
    path = key_path()
    try:
        content, mode = path.read_bytes(), path.stat().st_mode
        if mode & 0o077:
            raise UsageError(
                f"the key {path} can be used by others on this machine",
                detail=f"its mode is {mode & 0o777:o}",
                resolution=f"if nobody has taken it: chmod 600 {path}; else remove it, and "
                "make and trust a new one",
            )
        try:
            key = serialization.load_ssh_private_key(content, password=None)
        except TypeError:
            phrase = getpass.getpass(f"passphrase of {path}: ")
            key = serialization.load_ssh_private_key(content, password=phrase.encode())
    except FileNotFoundError as error:
        raise UsageError("there is no key to sign with", resolution="run: invoke keys") from error
    except (OSError, ValueError, EOFError, UnsupportedAlgorithm) as error:
        raise UsageError(f"the key {path} can't be used", detail=str(error)) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise UsageError(f"the key {path} is not an ed25519 key")
    return key
