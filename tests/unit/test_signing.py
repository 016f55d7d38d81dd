"""Seals: what a key signs here and what a device with that key takes."""

from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from deploy.agent import ed25519, trust
from deploy.agent.files import Failure
from deploy.agent.steps import Steps
from tests.support.bundles import deliver, make_bundle
from toolchain.bundle import assemble
from toolchain.core import signing
from toolchain.core.errors import BuildError, UsageError

# RFC 8032, section 7.1: TEST 1, 2, 3
RFC = (
    ("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
     ("e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b4"
     "6bd25bf5f0595bbe24655141438e7a100b")),
    ("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
     ("92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d"
     "8c387b2eaeb4302aeeb00d291612bb0c00")),
    ("fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", "af82",
     ("6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6"
     "594a7c15e9716ed28dc027beceea1ec40a")),
)  # fmt: skip
RELEASE = "ab" * 32


@pytest.mark.parametrize("vector", RFC)
def test_the_published_vectors_verify(vector: tuple[str, str, str]) -> None:
    key, message, signature = map(bytes.fromhex, vector)
    assert ed25519.verify(key, message, signature)
    assert not ed25519.verify(key, message + b"x", signature)
    # S + L is the same number to a verifier that does not look at its size
    larger = int.from_bytes(signature[32:], "little") + ed25519.ORDER
    assert not ed25519.verify(key, message, signature[:32] + larger.to_bytes(32, "little"))


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=200), st.integers(0, 511))
def test_it_agrees_with_the_library(message: bytes, bit: int) -> None:
    private = Ed25519PrivateKey.generate()
    key, signature = private.public_key().public_bytes_raw(), private.sign(message)
    assert ed25519.verify(key, message, signature)
    wrong = bytearray(signature)
    wrong[bit // 8] ^= 1 << bit % 8
    assert not ed25519.verify(key, message, bytes(wrong))


@given(st.binary(max_size=70), st.binary(max_size=70))
def test_what_is_no_key_or_signature_is_refused(key: bytes, signature: bytes) -> None:
    assert not ed25519.verify(key, b"m", signature)
    assert not ed25519.verify(key, b"m", bytes(64))


@dataclasses.dataclass
class Signer:
    """A key of this machine and a device that trusts it."""

    folder: Path
    root: Path

    def seal(self, release: str = RELEASE, **changes: Any) -> dict[str, Any]:
        now = int(time.time())
        fields = {"counter": now, "expires": now + 60, **changes}
        return signing.seal(release, key=signing._private(), **fields).model_dump()


@pytest.fixture
def signer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Signer:
    monkeypatch.setenv("EDGEWRIGHT_KEYS", str(tmp_path / "keys"))
    root = tmp_path / "device"
    root.mkdir()
    signing.make_key()
    trust.add(str(root), signing.public_key())
    return Signer(tmp_path, root)


def refusal(root: Path, seal: Any, release: str = RELEASE) -> str:
    with pytest.raises(Failure) as caught:
        trust.check(str(root), release, seal)
    assert caught.value.fields["kind"] == "untrusted"
    return caught.value.fields["brief"]


def test_a_sealed_release_is_let_in(signer: Signer) -> None:
    assert trust.check(str(signer.root), RELEASE, signer.seal(counter=5)) == 5


def test_a_device_without_keys_takes_anything(tmp_path: Path) -> None:
    assert trust.check(str(tmp_path), RELEASE, None) == 0


@pytest.mark.parametrize("content", ["", "\n \n"])
def test_an_emptied_list_of_keys_takes_nothing(signer: Signer, content: str) -> None:
    (signer.root / trust.KEYS).write_text(content)
    assert "empty" in refusal(signer.root, None)
    assert "empty" in refusal(signer.root, signer.seal())


# every point whose order divides 8, as RFC 8032 encodes it
SMALL = [
    "0100000000000000000000000000000000000000000000000000000000000000",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
]


@pytest.mark.parametrize("key", SMALL)
def test_a_key_without_an_owner_verifies_nothing(key: str) -> None:
    for number in range(16):
        for commitment in SMALL:
            signature = bytes.fromhex(commitment) + bytes(32)
            assert not ed25519.verify(bytes.fromhex(key), bytes([number]), signature)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_a_key_that_others_can_read_or_change_signs_nothing(signer: Signer, mode: int) -> None:
    signing.key_path().chmod(mode)
    with pytest.raises(UsageError, match="used by others") as caught:
        signing._private()
    assert "chmod 600" in caught.value.resolution
    signing.key_path().chmod(0o600)
    assert signer.seal()


def test_a_clock_that_was_ahead_locks_nobody_out_who_has_the_key(signer: Signer) -> None:
    ahead = int(time.time()) + 23 * 3600
    trust.accept(str(signer.root), ahead, "d" * 64)
    right = signing.Seal(**signer.seal())
    assert "older" in refusal(signer.root, right.model_dump())
    raised = signing.not_before(right, ahead)
    assert raised is not None
    assert trust.check(str(signer.root), RELEASE, raised.model_dump()) == ahead + 1
    assert signing.not_before(raised, ahead) == raised
    assert signing.not_before(None, ahead) is None


def test_an_old_bundle_stays_an_old_one(signer: Signer) -> None:
    now = int(time.time())
    trust.accept(str(signer.root), now, "d" * 64)
    old = signing.Seal(**signer.seal(counter=now - 7 * 24 * 3600))
    assert signing.not_before(old, now) == old
    far = signing.Seal(**signer.seal())
    assert signing.not_before(far, now + 30 * 24 * 3600) == far
    signing.key_path().unlink()
    recent = far.model_copy(update={"counter": now - 5})
    assert signing.not_before(recent, now) == recent


@pytest.mark.parametrize("content", ["", "{", "[]", '{"counter": "x"}'])
def test_a_note_of_the_newest_seal_that_can_not_be_read_lets_nothing_in(
    signer: Signer, content: str
) -> None:
    (signer.root / trust.ACCEPTED).write_text(content)
    assert "can't be read" in refusal(signer.root, signer.seal())


def test_each_kind_of_bad_seal_is_refused_in_its_words(signer: Signer) -> None:
    root, good = signer.root, signer.seal()
    assert "not signed" in refusal(root, None)
    assert "no key that this device trusts" in refusal(root, good, "cd" * 32)
    assert "no key that this device trusts" in refusal(root, {**good, "expires": 2**40})
    assert "no key that this device trusts" in refusal(root, {**good, "counter": 2**40})
    other = signing.seal(RELEASE, counter=1, expires=2**40, key=Ed25519PrivateKey.generate())
    assert "no key that this device trusts" in refusal(root, other.model_dump())
    assert "can't be read" in refusal(root, {"release": RELEASE})
    assert "can't be read" in refusal(root, {**good, "counter": "9"})
    assert "expired" in refusal(root, signer.seal(expires=int(time.time()) - 1))
    trust.accept(str(root), 10, "old")
    assert "older" in refusal(root, signer.seal(counter=9))
    assert trust.check(str(root), RELEASE, signer.seal(counter=10)) == 10


def test_a_clock_that_was_set_back_makes_no_seal_valid_again(signer: Signer) -> None:
    trust.accept(str(signer.root), 2**40, "made in the far future")
    late = signer.seal(counter=2**40, expires=2**40 - 1)
    assert "expired" in refusal(signer.root, late)


def test_every_change_of_one_byte_of_a_seal_or_its_manifest_is_refused(
    signer: Signer, tmp_path: Path
) -> None:
    folder = make_bundle(tmp_path / "b")
    release = assemble.load(folder).release
    seal = json.dumps(signer.seal(release))
    manifest = (folder / "manifest.json").read_text()
    good, taken = Steps(str(signer.root)), 0
    good.lock("test")
    good.prepare([])
    deliver_files(good, folder)
    for text, kind in ((seal, "seal"), (manifest, "manifest")):
        for place in range(len(text)):
            changed = text[:place] + chr(ord(text[place]) ^ 1) + text[place + 1 :]
            try:
                sent = json.loads(changed if kind == "seal" else seal)
                good.authorize(release, sent)
                folder_there = good.assemble(changed if kind == "manifest" else manifest)
            except (Failure, ValueError, KeyError, TypeError, AttributeError):
                continue
            # what is left reads as the same: JSON's blanks
            assert good.manifest(folder_there) == json.loads(manifest), f"{kind}, byte {place}"
            taken += 1
    assert taken < len(seal + manifest) / 10
    print(f"changes of one byte: {len(seal) + len(manifest)}, alike to JSON: {taken}")  # noqa: T201


def deliver_files(steps: Steps, folder: Path) -> None:
    for file in assemble.load(folder).files:
        target = Path(steps.root) / "incoming" / file.sha256
        target.write_bytes((folder / file.path).read_bytes())
        assert steps.take(file.sha256)


def test_steps_without_authorization_are_refused(signer: Signer, tmp_path: Path) -> None:
    folder = make_bundle(tmp_path / "b")
    steps = Steps(str(signer.root))
    steps.lock("test")
    with pytest.raises(Failure, match="not authorized"):
        deliver(steps, folder, authorize=False)
    release = assemble.load(folder).release
    steps.authorize(release, signer.seal(release))
    name = deliver(steps, folder, authorize=False)
    (Path(steps.release(name)) / "venv").mkdir()
    steps.finish(name)
    steps.authorize("ff" * 32, signer.seal("ff" * 32))
    with pytest.raises(Failure, match="not authorized"):
        steps.switch(name, 60)
    steps.authorize(release, signer.seal(release, counter=77))
    assert steps.switch(name, 60)
    steps.confirm()
    assert trust.accepted(str(signer.root)) == 77


def test_a_key_is_made_once_and_readable_by_its_owner_alone(signer: Signer) -> None:
    path, made = signing.make_key()
    assert not made
    assert path.stat().st_mode & 0o777 == 0o600
    assert [p.name for p in path.parent.iterdir()] == ["release"]
    assert not trust.add(str(signer.root), signing.public_key())
    assert len(trust.keys(str(signer.root))) == 1


@pytest.mark.parametrize(
    "line", ["", "ssh-rsa AAAA", "ssh-ed25519 AAAA", "ssh-ed25519 ####", "ssh-ed25519"]
)
def test_what_is_no_public_key_is_not_trusted(tmp_path: Path, line: str) -> None:
    with pytest.raises(Failure, match="not an ed25519 public key"):
        trust.add(str(tmp_path), line)


def test_a_bundle_is_sealed_when_there_is_a_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEWRIGHT_KEYS", str(tmp_path / "keys"))
    folder = make_bundle(tmp_path / "b")
    release = assemble.load(folder).release
    assert not signing.seal_bundles({folder: release})
    assert signing.load(folder) is None
    with pytest.raises(UsageError, match="no key"):
        signing.public_key()
    signing.make_key()
    assert signing.seal_bundles({folder: release})
    found = signing.load(folder)
    assert found is not None
    assert found.release == release
    assert assemble.load(folder).release == release
    (folder / signing.SEAL).write_text("{")
    with pytest.raises(BuildError):
        signing.load(folder)


def test_a_key_with_a_passphrase_asks_for_it(
    signer: Signer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cryptography.hazmat.primitives import serialization

    locked = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.OpenSSH,
        serialization.BestAvailableEncryption(b"open"),
    )
    signing.key_path().write_bytes(locked)
    monkeypatch.setattr("getpass.getpass", lambda _: "open")
    assert signing.public_key().startswith("ssh-ed25519 ")
    monkeypatch.setattr("getpass.getpass", lambda _: "wrong")
    with pytest.raises(UsageError, match="can't be used"):
        signing.public_key()
