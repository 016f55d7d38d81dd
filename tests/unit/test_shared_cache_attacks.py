"""A team's cache in which somebody writes who has no key, or names what no entry has."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from tests.support.shared_caches import (
    INPUTS,
    KEY,
    TAKEN,
    WHEEL,
    Team,
    other_bytes,
    signed,
    wheel_in,
)
from toolchain.core import signing
from toolchain.shared_cache import statement, trusted_keys
from toolchain.shared_cache.statement import Refused, SharedFile, Statement


def fewer_bytes(shared: Path) -> None:
    path = wheel_in(shared)
    path.write_bytes(path.read_bytes()[:-1])


def no_file(shared: Path) -> None:
    wheel_in(shared).unlink()


def a_link(shared: Path) -> None:
    path = wheel_in(shared)
    path.rename(shared / "elsewhere")
    path.symlink_to(shared / "elsewhere")


def a_link_above(shared: Path) -> None:
    path = wheel_in(shared).parent
    path.rename(shared / "elsewhere")
    path.symlink_to(shared / "elsewhere")


def a_pipe(shared: Path) -> None:
    path = wheel_in(shared)
    path.unlink()
    os.mkfifo(path)


def other_signature(shared: Path) -> None:
    path = signed(shared).path
    value = json.loads(path.read_text())
    value["signature"] = value["signature"][:-2] + (
        "00" if value["signature"][-2:] != "00" else "11"
    )
    path.write_text(json.dumps(value))


def another_key_signs(shared: Path) -> None:
    path = signed(shared).path
    value = json.loads(path.read_text())
    message = Statement.model_validate(value["statement"]).message()
    value["signature"] = Ed25519PrivateKey.generate().sign(statement.DOMAIN + message).hex()
    path.write_text(json.dumps(value))


def for_another_use(shared: Path) -> None:
    path = signed(shared).path
    value = json.loads(path.read_text())
    message = Statement.model_validate(value["statement"]).message()
    value["signature"] = signing.Signer().sign(signing.DOMAIN, message)
    path.write_text(json.dumps(value))


def other_file_named(shared: Path) -> None:
    path = signed(shared).path
    value = json.loads(path.read_text())
    other = shared / "files" / "ab"
    other.mkdir()
    name = next(name for name in value["statement"]["files"] if name.endswith(".whl"))
    value["statement"]["files"][name]["sha256"] = "ab" * 32
    (other / ("ab" * 32)).write_bytes(WHEEL)
    path.write_text(json.dumps(value))


def no_json(shared: Path) -> None:
    signed(shared).path.write_bytes(b"\xff{")


def deep_json(shared: Path) -> None:
    signed(shared).path.write_text("[" * 200_000)


def endless_statement(shared: Path) -> None:
    with signed(shared).path.open("ab") as stream:
        stream.truncate(1 << 40)  # of holes: it takes no disk


def another_entry(shared: Path) -> None:
    """What a trusted key signed, under a key that it wasn't signed for."""
    signed(shared).change(lambda fields: fields.update(key="cd" * 32))


ATTACKS = (
    other_bytes, fewer_bytes, no_file, a_link, a_link_above, a_pipe, other_signature,
    another_key_signs, for_another_use, other_file_named, no_json, deep_json, endless_statement,
    another_entry,
)  # fmt: skip


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_entry_that_was_altered_is_named_and_built_here(
    team: Team, shared: Path, attack: Callable[[Path], None]
) -> None:
    given = team.given()
    attack(shared)
    entry = team.built("taker")
    assert (team.builds, entry.fresh) == (1, True)
    assert dict(entry.files) == dict(given.files)
    (line,) = team.said
    assert "\n" not in line
    assert line.startswith(f"shared cache: wheel {KEY[:12]} is refused, and made here: ")
    # nothing is left of it
    assert list((team.folder / "taker" / "tmp").iterdir()) == []


@pytest.mark.parametrize("attack", [other_bytes, other_signature, no_file, another_entry])
def test_who_shares_puts_an_altered_entry_right(
    team: Team, shared: Path, attack: Callable[[Path], None]
) -> None:
    team.given()
    attack(shared)
    team.built("taker", share=True)
    assert team.builds == 1
    team.said.clear()
    team.built("third")
    assert team.builds == 1
    assert team.said[0].startswith(TAKEN)


ODD = (
    "../../out", "/etc/passwd", "a/../../b", "./a", "a//b", "a/", "", ".", "..", "entry.json",
    "a\\b", "a\nb", "a\0b", "\u202eexe.whl", "a" * 300, "/".join("a" * 30),
)  # fmt: skip


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("kind", ["files", "folders"])
def test_a_name_that_leads_elsewhere_is_refused_whoever_signed_it(
    team: Team, shared: Path, name: str, kind: str
) -> None:
    team.given()

    def rename(fields: dict[str, Any]) -> None:
        if kind == "folders":
            fields["folders"] = [*fields["folders"], name]
            return
        fields["files"][name] = fields["files"].pop("bin/program")
        # so that the file alone is at fault
        above = [str(p) for p in Path(name).parents if str(p) not in (".", "/")]
        fields["folders"] = sorted({*fields["folders"], *above} - {name})

    signed(shared).change(rename)
    before = sorted(team.folder.rglob("*"))
    assert team.built("taker").fresh
    assert "is refused" in team.said[0]
    new = {path for path in sorted(team.folder.rglob("*")) if path not in before}
    assert all(path.is_relative_to(team.folder / "taker") for path in new)


def test_a_file_that_stands_in_a_file_is_refused(team: Team, shared: Path) -> None:
    team.given()

    def nest(fields: dict[str, Any]) -> None:
        fields["files"]["bin/program/x"] = fields["files"]["bin/copy"]

    signed(shared).change(nest)
    assert team.built("taker").fresh
    assert "in no folder" in team.said[0]


def test_an_entry_that_no_disk_has_room_for_is_refused(team: Team, shared: Path) -> None:
    team.given()

    def grow(fields: dict[str, Any]) -> None:
        fields["files"]["bin/program"]["size"] = 1 << 60

    signed(shared).change(grow)
    assert team.built("taker").fresh
    assert "no disk here has room" in team.said[0]


def test_what_another_project_signs_is_not_taken(
    team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    trusted = trusted_keys.path().read_text()
    monkeypatch.setenv("EDGEWRIGHT_KEYS", str(team.folder / "other"))
    signing.make_key()
    team.built("giver", share=True)
    assert "does not name the key of this machine" in team.said[0]
    team.built("taker")
    assert "no key that this project trusts" in team.said[-1]
    assert team.builds == 2
    # when it is trusted it is; and so is who was before
    trusted_keys.path().write_text(trusted + signing.public_key())
    team.built("third")
    assert team.builds == 2


def test_an_entry_with_links_is_not_given(team: Team, shared: Path) -> None:
    store = team.machine("one", share=True)
    store.get_or_build(INPUTS, lambda folder: (folder / "link").symlink_to("/etc/passwd"))
    assert "links in it" in team.said[0]
    assert list(shared.iterdir()) == []


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


@given(JSON | st.fixed_dictionaries({"statement": JSON, "signature": JSON}))
def test_whatever_a_statement_says_it_is_read_or_refused(value: object) -> None:
    with suppress(Refused):
        statement.read(json.dumps(value).encode(), KEY, [])
        raise AssertionError("nobody signed that")


@given(st.integers(0, 511))
def test_every_bit_of_a_signature_counts(bit: int) -> None:
    private = Ed25519PrivateKey.from_private_bytes(bytes(32))
    file = SharedFile(sha256="ab" * 32, size=1, executable=False)
    made = Statement(key=KEY, files={"x": file}, folders=())
    signature = bytearray(private.sign(statement.DOMAIN + made.message()))
    public = private.public_key().public_bytes_raw()
    line = ssh_line(public)
    value = {"statement": made.model_dump(mode="json"), "signature": signature.hex()}
    assert statement.read(json.dumps(value).encode(), KEY, [line]) == made
    signature[bit // 8] ^= 1 << bit % 8
    value["signature"] = signature.hex()
    with pytest.raises(Refused):
        statement.read(json.dumps(value).encode(), KEY, [line])


def ssh_line(public: bytes) -> str:
    blob = b"\0\0\0\x0bssh-ed25519\0\0\0 " + public
    return f"ssh-ed25519 {base64.b64encode(blob).decode()} somebody"
