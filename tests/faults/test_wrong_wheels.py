"""Wheels that a device can't run, whatever their names say: all refused, before a byte is sent."""

from __future__ import annotations

import importlib.util
import platform
import struct
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from deploy.release import wheel_compatibility
from toolchain.wheels import elf as elf_reader

# e_machine; 64-bit little-endian but for Arm's
NUMBERS = {"riscv64": 243, "aarch64": 183, "x86_64": 62, "i686": 3, "armv7l": 40}
LP64D = 0x4
HARD = 0x400


@dataclass(frozen=True, kw_only=True)
class Board:
    """What the probe found."""

    machine: str = "riscv64"
    python: str = "3.13.5"
    glibc: str = "2.41"
    glibcxx: str = "3.4.33"


def elf(
    machine: str = "riscv64", *, flags: int | None = None, bits: int = 0, big: int = 0
) -> bytes:
    """A library with nothing in it but its header."""
    bits = bits or (32 if machine in ("armv7l", "i686") else 64)
    usual = {"riscv64": LP64D, "armv7l": 0x5000000 | HARD}.get(machine, 0)
    flags = usual if flags is None else flags
    head = b"\x7fELF" + bytes([1 if bits == 32 else 2, 2 if big else 1, 1]) + bytes(9)
    address = "III" if bits == 32 else "QQQ"
    sizes = (52, 32, 0, 40, 0, 0) if bits == 32 else (64, 56, 0, 64, 0, 0)
    return head + struct.pack(
        (">" if big else "<") + "HHI" + address + "IHHHHHH",
        3, NUMBERS[machine], 1, 0, 0, 0, flags, *sizes,
    )  # fmt: skip


def wheel(
    folder: Path,
    tag: str,
    code: bytes | None,
    *,
    says: str = "",
    inside: str = "",
    path: str = "w/_core.so",
) -> wheel_compatibility.Content:
    """A wheel of that tag around a library; `says` and `inside` are what it claims instead."""
    target = folder / f"w-1.0-{tag}.whl"
    info = f"{inside or 'w-1.0'}.dist-info"
    tags = "".join(
        f"Tag: {a}-{b}-{c}\n"
        for a in (says or tag).split("-")[0].split(".")
        for b in (says or tag).split("-")[1].split(".")
        for c in (says or tag).split("-")[2].split(".")
    )
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr(f"{info}/WHEEL", f"Wheel-Version: 1.0\n{tags}")
        archive.writestr("w/__init__.py", "")
        if code is not None:
            archive.writestr(path, code)
    return wheel_compatibility.read_wheel(target)


def right_tag(machine: str) -> str:
    return f"cp311-abi3-manylinux_2_35_{machine}"


def wrong(folder: Path, content: wheel_compatibility.Content, board: Board) -> list[str]:
    return [what for what, _ in wheel_compatibility.problems((content,), board)]


@pytest.mark.parametrize("machine", NUMBERS)
def test_the_right_wheel_is_taken(tmp_path: Path, machine: str) -> None:
    """The control: what is refused below is refused for its own reason."""
    board = Board(machine=machine)
    assert wrong(tmp_path, wheel(tmp_path, right_tag(machine), elf(machine)), board) == []
    assert wrong(tmp_path, wheel(tmp_path, "py3-none-any", None), board) == []
    assert (
        wrong(tmp_path, wheel(tmp_path, f"cp313-cp313-linux_{machine}", elf(machine)), board) == []
    )


TAGS = (
    "cp314-abi3-manylinux_2_35_riscv64", "cp314-cp314-manylinux_2_35_riscv64",
    "cp312-cp312-manylinux_2_35_riscv64", "cp311-cp311-manylinux_2_35_riscv64",
    "cp313-cp313t-manylinux_2_35_riscv64", "cp313-cp313d-manylinux_2_35_riscv64",
    "cp27-cp27mu-manylinux_2_35_riscv64", "py2-none-any", "py314-none-any",
    "pp311-pypy311_pp73-any",
    "cp311-abi3-musllinux_1_2_riscv64", "cp311-abi3-manylinux_2_42_riscv64",
    "cp311-abi3-manylinux_3_0_riscv64", "cp311-abi3-macosx_11_0_arm64", "cp311-abi3-win_amd64",
    "cp311-abi3-linux_armv6l", "cp311-abi3-android_21_arm64_v8a",
    *(f"cp311-abi3-manylinux_2_35_{m}" for m in NUMBERS if m != "riscv64"),
    *(f"cp311-abi3-linux_{m}" for m in NUMBERS if m != "riscv64"),
    "cp311-abi3-manylinux2014_x86_64", "cp311-abi3-manylinux1_x86_64",
)  # fmt: skip


def refusals(folder: Path) -> dict[str, list[str]]:
    """Each wrong wheel, and what is said of it."""
    found: dict[str, list[str]] = {}
    for has in NUMBERS:
        for machine in NUMBERS:
            if has != machine:
                content = wheel(folder, right_tag(machine), elf(has))
                name = f"{has} code with the tag of {machine}"
                found[name] = wrong(folder, content, Board(machine=machine))
    for flags, what in ((0, "soft"), (2, "single"), (6, "quad"), (LP64D | 8, "embedded")):
        content = wheel(folder, right_tag("riscv64"), elf(flags=flags))
        found[f"riscv64, {what} float ABI"] = wrong(folder, content, Board())
    content = wheel(folder, right_tag("armv7l"), elf("armv7l", flags=0x5000200))
    found["armv7l, soft float ABI"] = wrong(folder, content, Board(machine="armv7l"))
    for machine in ("riscv64", "aarch64", "x86_64"):
        for change in ({"bits": 32}, {"big": 1}):
            content = wheel(folder, right_tag(machine), elf(machine, **change))
            found[f"{machine}, {change}"] = wrong(folder, content, Board(machine=machine))
    return found


def lies(folder: Path) -> dict[str, list[str]]:
    """The same of those whose name says another thing than what is in them."""
    found: dict[str, list[str]] = {}
    for tag in TAGS:
        code = None if tag.endswith("any") else elf()
        found[f"the tag {tag}"] = wrong(folder, wheel(folder, tag, code), Board())
    told = {
        "says another tag inside": {"says": "cp311-abi3-linux_x86_64"},
        "is pure Python inside": {"says": "py3-none-any"},
        "is another wheel inside": {"inside": "other-1.0"},
        "is another version inside": {"inside": "w-2.0"},
        "leads out": {"path": "../../bin/sh"},
        "leads to the root": {"path": "/etc/profile"},
        "leads out, as Windows has it": {"path": "..\\x"},
    }
    for what, given in told.items():
        content = wheel(folder, right_tag("riscv64"), elf(), **given)
        found[f"a wheel that {what}"] = wrong(folder, content, Board())
    content = wheel(folder, "py3-none-any", elf())
    found["code in a wheel for anywhere"] = wrong(folder, content, Board())
    return found


def damaged(folder: Path) -> dict[str, list[str]]:
    """The same of those that can't be read."""
    found: dict[str, list[str]] = {}
    good = folder / f"w-1.0-{right_tag('riscv64')}.whl"
    wheel(folder, right_tag("riscv64"), elf())
    for cut in (0, 10, good.stat().st_size // 2, good.stat().st_size - 3):
        broken = folder / "cut" / good.name
        broken.parent.mkdir(exist_ok=True)
        broken.write_bytes(good.read_bytes()[:cut])
        found[f"a wheel cut at {cut}"] = wrong(
            folder, wheel_compatibility.read_wheel(broken), Board()
        )
    for name in ("w.whl", "w-1.0.whl", "w-1.0-py3-none.whl", "w-x-py3-none-any.whl"):
        (folder / name).write_bytes(good.read_bytes())
        found[f"the name {name}"] = wrong(
            folder, wheel_compatibility.read_wheel(folder / name), Board()
        )
    for size in (5, 30, 63):
        content = wheel(folder, right_tag("riscv64"), elf()[:size])
        found[f"a library cut at {size}"] = wrong(folder, content, Board())
    return found


def test_every_wrong_wheel_is_refused(tmp_path: Path) -> None:
    found = {**refusals(tmp_path), **lies(tmp_path), **damaged(tmp_path)}
    print(f"wrong wheels refused: {sum(map(bool, found.values()))}")  # noqa: T201 (the result)
    assert [name for name, problems in found.items() if not problems] == []
    assert len(found) >= 60


def test_symbols_newer_than_the_device_or_the_tag_are_refused(tmp_path: Path) -> None:
    """A real extension of this machine's Python, so that it has real symbol versions."""
    spec = importlib.util.find_spec("_ctypes") or importlib.util.find_spec("_ssl")
    assert spec is not None
    assert spec.origin is not None
    content = Path(spec.origin).read_bytes()
    with Path(spec.origin).open("rb") as stream:
        glibc = elf_reader.read_code(stream, "x.so").versions["GLIBC"]
    machine = platform.machine()
    needs = int(glibc.split(".")[1])
    assert needs > wheel_compatibility.OLDEST
    made = wheel(tmp_path, f"cp311-abi3-linux_{machine}", content)
    assert wrong(tmp_path, made, Board(machine=machine, glibc=glibc)) == []
    for minor in range(wheel_compatibility.OLDEST, needs):
        (what,) = wrong(tmp_path, made, Board(machine=machine, glibc=f"2.{minor}"))
        assert f"asks for GLIBC_{glibc}, the device has 2.{minor}" in what
    tight = f"cp311-abi3-manylinux_2_{needs - 1}_{machine}"
    (what,) = wrong(tmp_path, wheel(tmp_path, tight, content), Board(machine=machine))
    assert f"its tag promises 2.{needs - 1}" in what
