"""Certificates of hosts, made by ssh-keygen: for whom they hold, and when."""

from __future__ import annotations

import base64
import time
from pathlib import Path

import pytest

from deploy.ssh import host_certificate
from tests.support.openssh import keygen
from toolchain.core import process

KINDS = ("ed25519", "rsa", "ecdsa")


def certificate(folder: Path, *options: str, kind: str = "ed25519") -> tuple[bytes, bytes]:
    """A certificate and its authority's public key."""
    authority, key = keygen(folder / "ca", kind), keygen(folder / "host", kind)
    process.run(["ssh-keygen", "-q", "-s", folder / "ca", "-I", "x", *options, key])
    parts = [(folder / "host-cert.pub").read_text(), authority.read_text()]
    blob, public = (base64.b64decode(text.split()[1]) for text in parts)
    return blob, public


@pytest.mark.parametrize("kind", KINDS)
def test_an_authority_vouches_for_the_hosts_it_names(tmp_path: Path, kind: str) -> None:
    blob, public = certificate(tmp_path, "-h", "-n", "gate,desk", kind=kind)
    assert host_certificate.authority(blob) == public
    assert host_certificate.fault(blob, "desk") == ""
    assert host_certificate.fault(blob, "des") == "it is for gate, desk"


def test_without_names_it_is_for_every_host(tmp_path: Path) -> None:
    blob, _ = certificate(tmp_path, "-h")
    assert host_certificate.fault(blob, "desk") == ""


@pytest.mark.parametrize("valid", ["-2d:-1d", "+1d:+2d"])
def test_it_holds_in_its_time_alone(tmp_path: Path, valid: str) -> None:
    blob, _ = certificate(tmp_path, "-h", "-V", valid)
    assert host_certificate.fault(blob, "desk") == "it is not valid now"


def test_a_users_certificate_is_no_hosts(tmp_path: Path) -> None:
    blob, _ = certificate(tmp_path, "-n", "desk")
    assert host_certificate.fault(blob, "desk") == "it is not a host's certificate"


@pytest.mark.parametrize("kind", KINDS)
def test_a_signature_is_over_every_byte(tmp_path: Path, kind: str) -> None:
    blob, _ = certificate(tmp_path, "-h", "-n", "desk", kind=kind)
    at = blob.index(b"desk")
    changed = blob[:at] + b"gate" + blob[at + 4 :]
    assert host_certificate.fault(changed, "gate") == "its signature is wrong"


def test_a_certificate_that_is_cut_holds_for_nobody(tmp_path: Path) -> None:
    blob, _ = certificate(tmp_path, "-h", "-n", "desk")
    whole = [n for n in range(len(blob)) if host_certificate.fault(blob[:n], "desk") == ""]
    assert whole == []


def test_a_list_of_names_that_is_longer_than_the_certificate_takes_no_time(tmp_path: Path) -> None:
    """Paramiko makes up zeros for bytes that are missing: up to a MiB of names without a letter."""
    blob, public = certificate(tmp_path, "-h", "-n", "desk")
    at = blob.index(b"desk") - 8
    changed = blob[:at] + (0xFFFFF).to_bytes(4, "big")
    began = time.thread_time()
    assert host_certificate.authority(changed) != public
    assert host_certificate.fault(changed, "desk")
    assert time.thread_time() - began < 1
