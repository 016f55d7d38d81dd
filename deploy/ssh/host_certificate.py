"""A host's certificate: whom it is for, until when, and who vouches for it.

The format is OpenSSH's (PROTOCOL.certkeys); what makes one good is what `ssh` asks of it. Which
authorities are trusted for which hosts is not decided here, but by known_hosts.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import paramiko

# how many fields of each type of certificate are the key's own, after the nonce
KEY_FIELDS = {"ssh-ed25519": 1, "ssh-rsa": 2, "ecdsa-sha2-nistp256": 2, "ecdsa-sha2-nistp384": 2,
              "ecdsa-sha2-nistp521": 2}  # fmt: skip
OF_A_HOST = 2
LENGTH_BYTES = 4
SIGNERS = {
    "ssh-ed25519": paramiko.Ed25519Key, "ssh-rsa": paramiko.RSAKey,
    "ecdsa-sha2-nistp256": paramiko.ECDSAKey, "ecdsa-sha2-nistp384": paramiko.ECDSAKey,
    "ecdsa-sha2-nistp521": paramiko.ECDSAKey,
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class _Certificate:
    kind: int
    principals: list[str]
    after: int
    before: int
    critical: bytes
    authority: bytes
    signed: bytes
    signature: bytes
    whole: bool


def authority(blob: bytes) -> bytes:
    """The public key that has signed a certificate; empty when there is none to be read."""
    return _read(blob).authority


def fault(blob: bytes, host: str) -> str:
    """Why a certificate does not hold for a host now; empty when it does.

    Args:
        blob: the certificate, as SSH sends it.
        host: the host's name, without a port.
    """
    certificate = _read(blob)
    now = time.time()
    if certificate.kind != OF_A_HOST:
        return "it is not a host's certificate"
    if not certificate.after <= now < certificate.before:
        return "it is not valid now"
    named = certificate.principals
    if named and host not in named:
        return f"it is for {', '.join(named)}"
    if certificate.critical:
        return "it has critical options, which are not understood"
    good = certificate.whole and _signed(certificate)
    return "" if good else "its signature is wrong"


def _signed(certificate: _Certificate) -> bool:
    kind = _text(paramiko.Message(certificate.authority))
    algorithm = _text(paramiko.Message(certificate.signature))
    # OpenSSH's CASignatureAlgorithms: no SHA-1
    if kind not in SIGNERS or algorithm == "ssh-rsa":
        return False
    signature = paramiko.Message(certificate.signature)
    try:
        key = SIGNERS[kind](data=certificate.authority)
        return bool(key.verify_ssh_sig(certificate.signed, signature))
    except (paramiko.SSHException, ValueError):
        return False


def _text(message: paramiko.Message) -> str:
    """The next field; from a stranger, so it may be anything."""
    return bytes(message.get_binary()).decode("latin-1")


def _names(content: bytes) -> Iterator[str]:
    """The strings of a list, each after its length; not by copies of what is left each time."""
    at = 0
    while at < len(content):
        begins = at + LENGTH_BYTES
        at = begins + int.from_bytes(content[at:begins], "big")
        yield content[begins:at].decode("latin-1")


def _read(blob: bytes) -> _Certificate:
    message = paramiko.Message(blob)
    plain = _text(message).partition("-cert-v01@")[0]
    for _ in range(1 + KEY_FIELDS.get(plain, 0)):
        message.get_binary()
    message.get_int64()
    kind = message.get_int()
    message.get_binary()
    principals = list(_names(message.get_binary()))
    after, before = message.get_int64(), message.get_int64()
    critical = message.get_binary()
    message.get_binary()
    message.get_binary()
    signer = message.get_binary()
    signed = message.get_so_far()
    signature = message.get_binary()
    return _Certificate(
        kind=kind,
        principals=principals,
        after=after,
        before=before,
        critical=critical,
        authority=signer,
        signed=signed,
        signature=signature,
        # paramiko reads zeros where nothing is left
        whole=len(signed) + LENGTH_BYTES + len(signature) == len(blob),
    )
