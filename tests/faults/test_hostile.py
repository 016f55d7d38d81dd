"""Strings, archives and files made to do harm: each is one literal thing, or refused.

EDGEWRIGHT_FAULTS=long runs the long form.
"""

from __future__ import annotations

import os
import random
import string
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.agent.files import Failure, safe
from deploy.inventory import reading, strict_yaml
from deploy.inventory.schema import validate
from deploy.release import wheel_compatibility
from deploy.ssh import connection
from tests.support.sshd import Sshd
from toolchain.core.errors import InventoryError, UsageError

LONG = os.environ.get("EDGEWRIGHT_FAULTS") == "long"
STRINGS = 20_000 if LONG else 1_000
TOGETHER = 250
SEED = 6
PARTS = (
    "\n", "\r", "\0", "\t", "\x1b[31m", "\u202e", "\u2066", "\ufeff", "\u00a0", "é", "日",
    "\U0001f600",
    "-o", "-oProxyCommand=sh", "--", "$(touch /tmp/x)", "`id`", "$IFS", "${PATH}", ";", "&&", "||",
    "|", ">", "<", "*", "?", "[a]", "{a,b}", "~", "~root", "'", '"', "\\", "#", "!", "%s",
    "%n", " ",
    "..", "/", "../", "/etc/passwd", ".", "a", "Z", "0", "=", ":", "@", ",", "\udcff", "\ud800",
)  # fmt: skip


def strings(count: int) -> Iterator[str]:
    chance = random.Random(SEED)  # noqa: S311 (a seed is the point)
    yield from PARTS
    for _ in range(count - len(PARTS)):
        yield "".join(chance.choices(PARTS, k=chance.randint(0, 6)))


@pytest.fixture
def board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sshd]:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    server = Sshd(tmp_path / "device")
    server.start()
    yield server
    server.stop()


def test_a_hostile_argument_is_one_argument_or_refused(board: Sshd) -> None:
    good, refused = [], 0
    for text in strings(STRINGS):
        try:
            connection._quoted(["printf", text])
            good.append(text)
        except UsageError:
            assert "\0" in text or "\ud800" in text
            refused += 1
    arrived = 0
    with connection.connect(board.device) as conn:
        for start in range(0, len(good), TOGETHER):
            some = good[start : start + TOGETHER]
            # as hexadecimal: the answer is text, and not every byte is
            script = "import os, sys; print(*(os.fsencode(a).hex() or '-' for a in sys.argv[1:]))"
            answer = conn.run(["python3", "-c", script, "--", *some]).split()[1:]
            sent = [a.encode("utf-8", "surrogateescape").hex() or "-" for a in some]
            assert answer == sent
            arrived += len(some)
    print(f"hostile strings: {arrived} arrived as they are, {refused} refused")  # noqa: T201
    assert arrived + refused == STRINGS
    assert refused > 0


def test_a_hostile_name_or_path_is_refused_or_harmless() -> None:
    allowed = set(string.ascii_letters + string.digits + "_.-")
    names = paths = refused = 0
    for text in strings(STRINGS):
        document = strict_yaml.Document(path=Path("i"), value={"all": {"hosts": {text: {}}}})
        try:
            (name,) = reading.Inventory(document, validate(document)).names()
            assert set(name) <= allowed
            assert name[0] not in "-."
            names += 1
        except (InventoryError, ValueError):
            refused += 1
        try:
            inside = os.path.normpath(f"/base/{safe(text)}")
            assert inside.startswith("/base/")
            assert text.isprintable()
            paths += 1
        except Failure:
            refused += 1
    print(f"hostile names and paths: {names + paths} harmless, {refused} refused")  # noqa: T201
    assert names + paths + refused == 2 * STRINGS
    assert min(names, paths) > 0


def leaving(count: int) -> Iterator[str]:
    """Names of archive members that would be written outside of where it is unpacked."""
    chance = random.Random(SEED)  # noqa: S311 (a seed is the point)
    for _ in range(count):
        before = "".join(chance.choices(["a/", "./", "a/../", "b//"], k=chance.randint(0, 3)))
        up = "../" * (before.count("a/") + before.count("b//") + chance.randint(1, 4))
        kinds = [f"/{before}etc/x", f"{before}{up}etc/x", f"{before}{up}", f"a\\..\\..\\{before}x",
                 f"C:\\{before}x", f"//{before}x"]  # fmt: skip
        yield chance.choice(kinds)


def test_a_hostile_archive_is_refused(tmp_path: Path) -> None:
    refused = 0
    for number, name in enumerate(leaving(300)):
        path = tmp_path / f"w-1.{number}-py3-none-any.whl"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(f"w-1.{number}.dist-info/WHEEL", "Tag: py3-none-any\n")
            member = zipfile.ZipInfo(name)
            if number % 3 == 0:
                member.external_attr = 0o120777 << 16  # a symbolic link
            archive.writestr(member, "/etc/passwd")
        assert wheel_compatibility.read_wheel(path).broken, name
        refused += 1
    print(f"hostile archives refused: {refused}")  # noqa: T201
    assert refused == 300


def test_hostile_yaml_is_refused(tmp_path: Path) -> None:
    """Each is an error or a good file; how long the longest took is printed, not asserted."""
    chance = random.Random(SEED)  # noqa: S311 (a seed is the point)
    bombs = ["&a [", "*a, ", "{", "[", "- ", "? ", "<<: *a\n", "!!python/object:os.system ", "a: ",
             "\n", "|\n", ">\n", "'", '"', "\t", "---\n", "%YAML 9\n", "&b {a: *a}", "0x",
             "\ufeff", "[a, ", "a: {}\n", "%a\n", "a ", "all: ", "all:\n hosts:\n"]  # fmt: skip
    longest, refused = 0.0, 0
    for number in range(400 if LONG else 60):
        text = "".join(chance.choices(bombs, k=chance.choice([3, 30, 300, 3000])))
        if number % 4 == 0:
            text = chance.choice(bombs) * chance.choice([100, 5000, 100_000])
        path = tmp_path / "i.yml"
        path.write_text(text, errors="replace")
        begun = time.process_time()
        try:
            reading.load(path)
        except InventoryError:
            refused += 1
        longest = max(longest, time.process_time() - begun)
    print(f"hostile YAML refused: {refused}, the longest in {longest * 1000:.0f} ms")  # noqa: T201
    assert refused
