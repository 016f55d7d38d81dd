"""What the files of known hosts say of one host, read as OpenSSH's hostfile.c reads them.

Patterns, hashed names, `@revoked`, `@cert-authority` and several keys of a host count; a line that
can't be read is passed over. Nothing here decides what to do with a host that no key is known for.
"""

from __future__ import annotations

import base64
import binascii
import fnmatch
import hashlib
import hmac
import os
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import paramiko

from deploy.ssh import host_certificate

CERTIFICATE = "-cert-v01@openssh.com"
# Fields of a public key after its type's name: RFC 4253, 6.6; RFC 5656, 3.1; PROTOCOL.u2f.
FIELDS = {
    "ssh-ed25519": 1, "ssh-rsa": 2, "ssh-dss": 4,
    "ecdsa-sha2-nistp256": 2, "ecdsa-sha2-nistp384": 2, "ecdsa-sha2-nistp521": 2,
    "sk-ssh-ed25519@openssh.com": 2, "sk-ecdsa-sha2-nistp256@openssh.com": 3,
}  # fmt: skip
ED25519_BYTES = 32
SMALLEST_RSA_BITS = 1024
LONGEST_PATTERN = 1023
LONGEST_MARKER = 31
SALT_BYTES = 20


class Verdict(Enum):
    """What the files say of a key that a host shows."""

    KNOWN = "known"
    NEW = "new"
    CHANGED = "changed"
    REVOKED = "revoked"


class Marker(Enum):
    """What a line's key is good for."""

    NONE = ""
    AUTHORITY = "@cert-authority"
    REVOKED = "@revoked"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A line that names the host.

    Attributes:
        path: its file.
        line: its number there, from 1.
        marker: what its key is good for.
        names: the names that the line is for, as they stand there.
        kind: type of the key, such as ssh-ed25519.
        blob: the public key, as SSH sends it.
    """

    path: Path
    line: int
    marker: Marker
    names: str
    kind: str
    blob: bytes

    def __str__(self) -> str:
        return f"{self.kind} {fingerprint(self.blob)} ({self.path}, line {self.line})"


class KnownHost:
    """What the files say of one host.

    Args:
        host: its address or name, in small letters.
        port: of its sshd.
        alias: the name to look for instead; empty for none.
        files: the files; one that is not there says nothing.

    Raises:
        OSError: a file can't be read.
    """

    def __init__(self, host: str, port: int, alias: str, files: Sequence[Path]) -> None:
        self.name = alias or (host if port == paramiko.config.SSH_PORT else f"[{host}]:{port}")
        self._principal = alias or host
        self.entries = list(_entries(files, self.name))
        # OpenSSH looks for a host on another port by its mere name too, when nothing else is found
        plain = self.name != self._principal
        self._by_mere_name = list(_entries(files, host)) if plain else []

    def verdict(self, key: bytes, certificate: bytes = b"") -> Verdict:
        """What is known of a key.

        Args:
            key: the public key that the host has shown itself to own.
            certificate: what it came in, when it came in one.
        """
        verdict = self._verdict(self.entries, key, certificate)
        if verdict is Verdict.NEW:
            mere = self._verdict(self._by_mere_name, key, certificate)
            return mere if mere is Verdict.KNOWN else verdict
        return verdict

    def others(self) -> list[Entry]:
        """The keys that are known for it; where there is one, no other is taken."""
        return [e for e in self.entries if e.marker is Marker.NONE]

    def revoked(self, key: bytes) -> list[Entry]:
        """The lines that revoke a key."""
        return [e for e in self.entries if e.marker is Marker.REVOKED and e.blob == key]

    def doubt(self, certificate: bytes) -> str:
        """Why an authority that is known for the host does not vouch for it; empty if none is.

        Args:
            certificate: what the host has shown; empty when it has shown none.
        """
        known = {e.blob for e in self._authorities()}
        if not known:
            return ""
        if not certificate:
            return "an authority is known for it, but it shows no certificate"
        if host_certificate.authority(certificate) not in known:
            return "its certificate is of another authority than the one that is known for it"
        fault = host_certificate.fault(certificate, self._principal)
        return f"its certificate does not hold: {fault}" if fault else ""

    def _authorities(self) -> list[Entry]:
        every = (*self.entries, *self._by_mere_name)
        return [e for e in every if e.marker is Marker.AUTHORITY]

    def preferred(self, algorithms: Sequence[str]) -> tuple[str, ...]:
        """Algorithms for host keys, those first by which the host can show a key that is known.

        Args:
            algorithms: for plain keys, the best first; certificates' are put before them when an
                authority is known for the host.
        """
        plain = tuple(algorithms)
        kinds = {e.kind for e in self.others()}
        if _kind(plain[0]) not in kinds:
            plain = tuple(sorted(plain, key=lambda name: _kind(name) not in kinds))
        certified = [f"{name}{CERTIFICATE}" for name in plain] if self._authorities() else []
        return (*certified, *plain)

    def _verdict(self, entries: list[Entry], key: bytes, certificate: bytes) -> Verdict:
        marked = {m: {e.blob for e in entries if e.marker is m} for m in Marker}
        if certificate:
            authority = host_certificate.authority(certificate)
            if {key, authority} & marked[Marker.REVOKED]:
                return Verdict.REVOKED
            if authority in marked[Marker.AUTHORITY] and not host_certificate.fault(
                certificate, self._principal
            ):
                return Verdict.KNOWN
        if key in marked[Marker.REVOKED]:
            return Verdict.REVOKED
        if key in marked[Marker.NONE]:
            return Verdict.KNOWN
        return Verdict.CHANGED if marked[Marker.NONE] else Verdict.NEW


def fingerprint(blob: bytes) -> str:
    """A key's fingerprint, as ssh-keygen prints it."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def line(name: str, key: paramiko.PKey) -> str:
    """The line of a file that makes a key known, without its end."""
    return f"{name} {key.get_name()} {key.get_base64()}"


def add(path: Path, text: str) -> None:
    """Add a line to a file, which is made when there is none.

    Raises:
        OSError: it can't be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        start = "" if ends_with_newline(path) else "\n"
        # one write of a whole line: devices that are met at the same moment do not mix
        os.write(descriptor, f"{start}{text}\n".encode())
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def ends_with_newline(path: Path) -> bool:
    """Whether what is added to a file begins a line; true of one that is empty or not there."""
    try:
        with path.open("rb") as stream:
            size = stream.seek(0, os.SEEK_END)
            stream.seek(max(0, size - 1))
            return stream.read(1) in (b"", b"\n")
    except FileNotFoundError:
        return True


def _entries(files: Sequence[Path], name: str) -> Iterator[Entry]:
    for path in files:
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            continue
        for number, raw in enumerate(content.split(b"\n"), 1):
            # bytes that are no text belong to comments, or to names that no host has
            parts = _parts(raw.partition(b"\0")[0].decode("latin-1"))
            if parts is None:
                continue
            marker, names, key = parts
            parsed = _key(key) if _named(name, names) else None
            if parsed is not None:
                kind, blob = parsed
                yield Entry(
                    path=path, line=number, marker=marker, names=names, kind=kind, blob=blob
                )


def _parts(text: str) -> tuple[Marker, str, str] | None:
    """Marker, names and key of a line; None for one that says nothing of a host."""
    text = text.lstrip(" \t")
    marker = Marker.NONE
    if text.startswith("@"):
        # as OpenSSH: the first space ends it, a tab only where there is no space at all
        word, _, rest = text.partition(" " if " " in text else "\t")
        if len(word) > LONGEST_MARKER or word not in {m.value for m in Marker}:
            return None
        marker, text = Marker(word), rest.lstrip(" \t")
        if text.startswith("@"):
            return None
    names, *rest_of_line = re.split(r"[ \t]+", text, maxsplit=1)
    if names.startswith("#") or not rest_of_line:
        return None
    return marker, names, rest_of_line[0]


def _named(host: str, names: str) -> bool:
    """Whether names of a line, hashed or patterns with commas between them, mean a host."""
    if names.startswith("|"):
        return _hashed(host, names)
    positive = False
    for pattern in names.lower().split(","):
        negated = pattern.startswith("!")
        wanted = pattern.removeprefix("!")
        if len(wanted) >= LONGEST_PATTERN:
            return False
        if _matches(host.lower(), wanted):
            if negated:
                return False
            positive = True
    return positive


def _matches(host: str, pattern: str) -> bool:
    """As fnmatch, but a bracket is a bracket."""
    return fnmatch.fnmatchcase(host, pattern.replace("[", "[[]"))


def _hashed(host: str, names: str) -> bool:
    found = re.fullmatch(r"\|1\|([^|]*)\|(.*)", names)
    salt = _decoded(found[1]) if found else None
    if found is None or salt is None or len(salt) != SALT_BYTES:
        return False
    own = hmac.digest(salt, host.encode("latin-1", "replace"), "sha1")
    return base64.b64encode(own).decode() == found[2]


def _key(text: str) -> tuple[str, bytes] | None:
    """Type and public key; None when OpenSSH would not take them for one."""
    words = re.split(r"[ \t]+", text, maxsplit=2)
    blob = _decoded(words[1]) if len(words) > 1 else None
    if not blob:
        return None
    try:
        kind, *fields = _strings(blob)
    except ValueError:
        return None
    name = kind.decode("latin-1")
    plain = _kind(words[0])
    if name != plain or not _sound(name, fields, blob):
        return None
    return plain, blob


def _sound(kind: str, fields: list[bytes], blob: bytes) -> bool:
    if kind.endswith(CERTIFICATE):
        return True
    if len(fields) != FIELDS.get(kind):
        return False
    if kind == "ssh-ed25519":
        return len(fields[0]) == ED25519_BYTES
    if kind == "ssh-rsa":
        exponent, modulus = (int.from_bytes(field, signed=True) for field in fields)
        return exponent >= 0 and modulus.bit_length() >= SMALLEST_RSA_BITS and modulus > 0
    if kind.startswith("ecdsa-"):
        try:
            paramiko.ECDSAKey(data=blob)
        except (paramiko.SSHException, ValueError):
            return False
    return True


def _kind(algorithm: str) -> str:
    """The type of key by which an algorithm signs."""
    return "ssh-rsa" if algorithm in ("rsa-sha2-256", "rsa-sha2-512") else algorithm


def _strings(blob: bytes) -> list[bytes]:
    """The fields of a key, each with its length before it; ValueError when one is cut."""
    fields = []
    while blob:
        size = int.from_bytes(blob[:4])
        if len(blob) < 4 + size:
            raise ValueError
        fields.append(blob[4 : 4 + size])
        blob = blob[4 + size :]
    return fields


def _decoded(text: str) -> bytes | None:
    text = re.sub(r"[\r\v\f]", "", text)
    try:
        decoded = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    # an encoding with bits left over is none
    return decoded if base64.b64encode(decoded).decode() == text else None
