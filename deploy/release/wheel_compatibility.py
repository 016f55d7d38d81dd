"""Which wheels and libraries of a bundle a device can't run, by what is really in them.

A wheel's name says for what it was made; what was put into it may say otherwise. Both are held
against the device before a byte is sent. Reading only.
"""

from __future__ import annotations

import functools
import io
import re
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile
from elftools.elf.gnuversions import GNUVerNeedSection
from packaging.tags import Tag, compatible_tags, cpython_tags, parse_tag
from packaging.utils import InvalidWheelFilename, parse_wheel_filename
from packaging.version import InvalidVersion, Version

from toolchain.bundle.assemble import Manifest

MAGIC = b"\x7fELF"
# e_flags: RISC-V psABI, "File Header"; Arm ELF, ABI 5
RISCV_FLOAT, RISCV_DOUBLE, RISCV_E = 0x6, 0x4, 0x8
ARM_SOFT_FLOAT = 0x200
KINDS = {
    "riscv64": ("EM_RISCV", 64), "aarch64": ("EM_AARCH64", 64), "x86_64": ("EM_X86_64", 64),
    "armv7l": ("EM_ARM", 32), "i686": ("EM_386", 32),
}  # fmt: skip
LEGACY = {"manylinux1": 5, "manylinux2010": 12, "manylinux2014": 17}
MANYLINUX = re.compile(r"manylinux_2_(\d+)_")
OLDEST = 5

Problem = tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class Code:
    """One ELF file: what it asks for. `glibc` and `glibcxx` are versions, empty for none."""

    path: str
    machine: str
    bits: int
    little: bool
    flags: int
    glibc: str
    glibcxx: str


@dataclass(frozen=True, kw_only=True)
class Content:
    """A wheel, or what is wrong with it; a library outside of wheels has no tags."""

    name: str
    tags: frozenset[Tag] = frozenset()
    code: tuple[Code, ...] = ()
    broken: str = ""


class Runs(Protocol):
    """What a device runs: the part of the probe's facts that wheels are held against."""

    @property
    def machine(self) -> str:
        """As `uname -m` says."""
        ...

    @property
    def python(self) -> str:
        """Its version."""
        ...

    @property
    def glibc(self) -> str:
        """Its version."""
        ...

    @property
    def glibcxx(self) -> str:
        """The newest symbol version of libstdc++."""
        ...


@functools.lru_cache(maxsize=16)
def contents(folder: Path, release: str) -> tuple[Content, ...]:
    """What the wheels and libraries of a bundle are.

    Args:
        folder: the bundle.
        release: its id: the same id has the same content.
    """
    manifest = Manifest.model_validate_json((folder / "manifest.json").read_text())
    assert manifest.release == release
    libraries = [f.path for f in manifest.files if f.path.endswith(".so")]
    return (
        *(read_wheel(folder / path) for path in manifest.wheels),
        *(_library(folder / path, path) for path in libraries),
    )


def read_wheel(path: Path) -> Content:
    """What a wheel is."""
    name = path.name
    try:
        project, version, _, tags = parse_wheel_filename(name)
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            broken = _lie(archive, f"{project}-{version}", tags)
            code = tuple(read_code(archive.read(n), n) for n in names if _starts_as_elf(archive, n))
    except InvalidWheelFilename as error:
        return Content(name=name, broken=str(error))
    except (
        OSError, ValueError, zipfile.BadZipFile, zlib.error, ELFError, KeyError, EOFError,
        NotImplementedError, RuntimeError,
    ) as error:  # fmt: skip
        return Content(name=name, broken=f"it can't be read: {error}")
    if not broken and code and any(tag.platform == "any" for tag in tags):
        broken = f"it says it runs anywhere, and has {code[0].path}"
    return Content(name=name, tags=tags, code=code, broken=broken)


def _lie(archive: zipfile.ZipFile, owner: str, tags: frozenset[Tag]) -> str:
    """Where a wheel is not what its name says; empty when it is."""
    names = archive.namelist()
    outside = [n for n in names if n.startswith("/") or ".." in n.split("/") or "\\" in n]
    if outside:
        return f"a path in it leads out of it: {outside[0]!r}"
    described = [n for n in names if re.fullmatch(r"[^/]+\.dist-info/WHEEL", n)]
    if len(described) != 1:
        return f"it has {len(described)} descriptions of itself"
    inside: set[Tag] = set()
    for line in re.findall(r"^Tag: *(\S+)", archive.read(described[0]).decode(), re.MULTILINE):
        inside |= parse_tag(line)
    if _plain(described[0].split(".dist-info")[0]) != _plain(owner):
        return f"its name is another inside: {described[0]}"
    return "" if inside == tags else f"it says {_words(inside)} inside"


def read_code(content: bytes, path: str) -> Code:
    """What an ELF file asks for.

    Raises:
        ELFError: it can't be read.
    """
    elf = ELFFile(io.BytesIO(content))
    highest = {"GLIBC": "", "GLIBCXX": ""}
    for section in elf.iter_sections():
        if isinstance(section, GNUVerNeedSection):
            for _, auxiliaries in section.iter_versions():
                for auxiliary in auxiliaries:
                    family, _, version = auxiliary.name.partition("_")
                    if family in highest and _above(version, highest[family] or "0"):
                        highest[family] = version
    return Code(
        path=path,
        machine=str(elf["e_machine"]),
        bits=elf.elfclass,
        little=elf.little_endian,
        flags=int(elf["e_flags"]),
        glibc=highest["GLIBC"],
        glibcxx=highest["GLIBCXX"],
    )


def problems(found: tuple[Content, ...], device: Runs) -> list[Problem]:
    """What a device can't run: what is wrong, and what to do about it."""
    supported = _supported(device)
    wrong = []
    for content in found:
        if content.broken:
            wrong.append(f"{content.name}: {content.broken}")
            continue
        if content.tags and not content.tags & supported:
            wrong.append(
                f"{content.name} is for {_words(content.tags)}, "
                f"the device has Python {device.python}, {device.machine}, glibc {device.glibc}"
            )
        for code in content.code:
            wrong += [f"{content.name}: {code.path} {w}" for w in _misfits(code, content, device)]
    remedy = f"build the wheels for {device.machine} again: invoke build-wheels, then deploy"
    return [(what, remedy) for what in wrong]


def _misfits(code: Code, content: Content, device: Runs) -> list[str]:
    machine, bits = KINDS.get(device.machine, ("", 0))
    if (code.machine, code.bits, code.little) != (machine, bits, True):
        order = "" if code.little else ", big-endian"
        return [f"is {code.bits}-bit {code.machine[3:]}{order}"]
    found = []
    if machine == "EM_RISCV" and (code.flags & RISCV_FLOAT != RISCV_DOUBLE or code.flags & RISCV_E):
        found.append("has another float ABI than lp64d")
    if machine == "EM_ARM" and code.flags & ARM_SOFT_FLOAT:
        found.append("has the soft float ABI")
    for what, asked, has in (
        ("GLIBC", code.glibc, device.glibc),
        ("GLIBCXX", code.glibcxx, device.glibcxx),
    ):
        if asked and _above(asked, has or "0"):
            found.append(f"asks for {what}_{asked}, the device has {has or 'none'}")
    promised = _promised(content.tags)
    if promised and code.glibc and _above(code.glibc, f"2.{promised}"):
        found.append(f"asks for GLIBC_{code.glibc}, its tag promises 2.{promised}")
    return found


def _supported(device: Runs) -> set[Tag]:
    """Every tag that a device takes, as pip there would have it."""
    major, minor = map(int, device.python.split(".")[:2])
    try:
        glibc = Version(device.glibc)
        newest = glibc.minor if glibc.major == 2 else 0
    except InvalidVersion:
        newest = 0
    platforms = [f"manylinux_2_{n}_{device.machine}" for n in range(newest, OLDEST - 1, -1)]
    platforms += [f"{name}_{device.machine}" for name, n in LEGACY.items() if n <= newest]
    platforms.append(f"linux_{device.machine}")
    version, abi = (major, minor), f"cp{major}{minor}"
    return {
        *cpython_tags(version, [abi], platforms),
        *compatible_tags(version, abi, platforms),
    }


def _promised(tags: frozenset[Tag]) -> int:
    """The minor version of the oldest glibc that the tags say is enough; 0 for none said."""
    found = [int(m[1]) for t in tags if (m := MANYLINUX.match(t.platform))]
    found += [n for t in tags for name, n in LEGACY.items() if t.platform.startswith(f"{name}_")]
    return min(found, default=0)


def _library(path: Path, name: str) -> Content:
    try:
        return Content(name=name, code=(read_code(path.read_bytes(), "as a whole"),))
    except (OSError, ELFError) as error:
        return Content(name=name, broken=f"it is no library: {error}")


def _starts_as_elf(archive: zipfile.ZipFile, name: str) -> bool:
    with archive.open(name) as stream:
        return stream.read(4) == MAGIC


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _words(tags: frozenset[Tag] | set[Tag]) -> str:
    return ", ".join(sorted(map(str, tags))) or "nothing"


def _above(version: str, other: str) -> bool:
    try:
        return Version(version) > Version(other)
    except InvalidVersion:
        return False
