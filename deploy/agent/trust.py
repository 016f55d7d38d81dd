"""Runs on the device: which releases may come here, when it was given keys.

    trusted_keys     public keys, one `ssh-ed25519 …` a line
    accepted         the counter and release of the newest seal that was switched to

A device without a file of keys takes what it is sent. One with keys takes only a release that a
seal names, whose signature one of the keys made, that has not expired, and whose counter is not
older than the newest accepted one; one whose file has no key in it takes none. A counter is the
second in which its seal was made, so it also says that it is not earlier than that, should the
device's clock say otherwise.

Python's standard library only, 3.8 or newer.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import time

from deploy.agent.files import Failure, write_durably

TYPE_CHECKING = False  # see steps
if TYPE_CHECKING:
    from typing import Any

KEYS, ACCEPTED = "trusted_keys", "accepted"
# how OpenSSH writes the type before the 32 bytes of a key: length and name, then their length
PREFIX = b"\0\0\0\x0bssh-ed25519\0\0\0 "
DOMAIN = b"edgewright release 1\n"
WHAT = "sign it with a key that this device trusts: invoke keys"


def key_of(line: str) -> bytes:
    """The 32 bytes of a line of trusted_keys."""
    try:
        kind, text = line.split()[:2]
        blob = base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        kind, blob = "", b""
    if kind != "ssh-ed25519" or not blob.startswith(PREFIX) or len(blob) != len(PREFIX) + 32:
        raise Failure("refused", f"not an ed25519 public key: {line[:80]!r}")
    return blob[len(PREFIX) :]


def keys(root: str) -> list[str]:
    """The lines of trusted_keys."""
    try:
        with open(os.path.join(root, KEYS), encoding="utf-8") as stream:
            return [line.strip() for line in stream if line.strip()]
    except FileNotFoundError:
        return []


def add(root: str, line: str) -> bool:
    """Trust a key from now on; False when it was trusted already."""
    known, new = keys(root), key_of(line)
    if new in [key_of(other) for other in known]:
        return False
    write_durably(os.path.join(root, KEYS), "".join(f"{x}\n" for x in [*known, line.strip()]))
    return True


def drop(root: str, line: str) -> None:
    """Trust a key no longer.

    Raises:
        Failure: it is not trusted, or is the only one, without which no release could come.
    """
    known, gone = keys(root), key_of(line)
    left = [other for other in known if key_of(other) != gone]
    if len(left) == len(known):
        raise Failure("refused", "the device does not trust that key")
    if not left:
        raise Failure(
            "refused", "it is the only key that the device trusts",
            "without one it would take no release", "give it another first: invoke keys",
        )  # fmt: skip
    write_durably(os.path.join(root, KEYS), "".join(f"{x}\n" for x in left))


def accepted(root: str) -> int:
    """The newest accepted counter; 0 when there is none.

    Raises:
        Failure: what was noted of it can't be read, so that nothing says what is old.
    """
    try:
        with open(os.path.join(root, ACCEPTED), encoding="utf-8") as stream:
            return int(json.load(stream)["counter"])
    except FileNotFoundError:
        return 0
    except (ValueError, KeyError, TypeError):
        raise Failure(
            "untrusted", "what the device noted of the newest release's seal can't be read",
            os.path.join(root, ACCEPTED), "see who changed that file; remove it to begin anew",
        ) from None  # fmt: skip


def accept(root: str, counter: int, release: str) -> None:
    """Take no older seal from now on."""
    noted = json.dumps({"counter": counter, "release": release})
    write_durably(os.path.join(root, ACCEPTED), noted)


def signed_bytes(release: str, counter: int, expires: int) -> bytes:
    """What a signature is made over."""
    fields = {"counter": counter, "expires": expires, "release": release}
    return DOMAIN + json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()


def check(
    root: str,
    release: str,
    seal: dict[str, Any] | None,
) -> int:
    """The counter of a seal that lets a release in; 0 on a device without keys.

    Raises:
        Failure: the seal is missing, altered, expired, older, or for another release.
    """
    trusted = [key_of(line) for line in keys(root)]
    if not trusted:
        if os.path.lexists(os.path.join(root, KEYS)):
            # one that was emptied, or cut off by a full disk, is no leave to take anything
            raise Failure(
                "untrusted", "the device's list of trusted keys is empty", os.path.join(root, KEYS),
                "give it a key (invoke keys --host NAME), or remove the file to take any release",
            )  # fmt: skip
        return 0
    if seal is None:
        raise Failure("untrusted", "the release is not signed", "this device has keys", WHAT)
    try:
        named, counter, expires = str(seal["release"]), seal["counter"], seal["expires"]
        signature = bytes.fromhex(seal["signature"])
        if type(counter) is not int or type(expires) is not int:
            raise ValueError(seal)
    except (KeyError, TypeError, ValueError):
        raise Failure("untrusted", "the release's seal can't be read", "", WHAT) from None
    from deploy.agent.ed25519 import verify

    message = signed_bytes(named, counter, expires)
    if named != release or not any(verify(key, message, signature) for key in trusted):
        raise Failure(
            "untrusted", "no key that this device trusts signed the release",
            f"it trusts {len(trusted)}", WHAT,
        )  # fmt: skip
    newest = accepted(root)
    if counter < newest:
        raise Failure(
            "untrusted", "the release's seal is older than one that was accepted",
            f"its counter is {counter}, {newest} was accepted", "sign and deploy it anew",
        )  # fmt: skip
    if expires < max(time.time(), counter):
        raise Failure(
            "untrusted", "the release's seal has expired",
            time.strftime("at %Y-%m-%dT%H:%M:%SZ", time.gmtime(expires)), "sign and deploy it anew",
        )  # fmt: skip
    return counter
