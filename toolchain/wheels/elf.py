"""What an ELF file asks of the device: machine, libraries, symbol versions, search path.

Reading only: `audit` judges what was built, `deploy.release.wheel_compatibility` what is deployed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from elftools.common.exceptions import ELFError
from elftools.elf.dynamic import DynamicSection
from elftools.elf.elffile import ELFFile
from elftools.elf.gnuversions import GNUVerNeedSection
from elftools.elf.sections import SymbolTableSection
from packaging.version import InvalidVersion, Version

from toolchain.core.errors import BuildError

MAGIC = b"\x7fELF"
UNVERSIONED = ("VER_NDX_GLOBAL", "VER_NDX_LOCAL")


@dataclass(frozen=True, kw_only=True)
class Code:
    """What an ELF file is for, and the least that it needs.

    Attributes:
        machine: such as EM_RISCV.
        bits: 32 or 64.
        little: its least significant bytes come first.
        flags: e_flags: what else the machine must be, such as its float ABI.
        versions: highest version of each symbol-version family, such as {"GLIBC": "2.34"}.
    """

    machine: str
    bits: int
    little: bool
    flags: int
    versions: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Elf(Code):
    """One shared object.

    Attributes:
        needed: DT_NEEDED, in order.
        search: entries of RPATH and RUNPATH.
        stripped: it has no symbol table but the dynamic one.
        imports: names of the symbols that others must have.
        unversioned: those of them that name no version of a library, and must be found.
        exports: names of the symbols that others may use.
    """

    needed: tuple[str, ...]
    search: tuple[str, ...]
    stripped: bool
    imports: frozenset[str]
    unversioned: frozenset[str]
    exports: frozenset[str]


def starts_as_elf(stream: IO[bytes]) -> bool:
    """Whether what comes next begins as an ELF file does."""
    return stream.read(len(MAGIC)) == MAGIC


def is_elf(path: Path) -> bool:
    """Whether a file begins as an ELF file does."""
    with path.open("rb") as stream:
        return starts_as_elf(stream)


def read_code(stream: IO[bytes], name: str) -> Code:
    """Read what is soon read: not the symbols, of which a library may have many.

    Args:
        stream: of the whole file.
        name: for the error.

    Raises:
        BuildError: it is not an ELF file.
    """
    with _named(name):
        return Code(**_code(ELFFile(stream)))


def read(path: Path) -> Elf:
    """Read a shared object.

    Raises:
        BuildError: it is not one.
    """
    with path.open("rb") as stream, _named(path.name):
        elf = ELFFile(stream)
        tags = [
            tag
            for section in elf.iter_sections()
            if isinstance(section, DynamicSection)
            for tag in section.iter_tags()
        ]
        return Elf(
            **_code(elf),
            needed=tuple(t.needed for t in tags if t.entry.d_tag == "DT_NEEDED"),
            search=tuple(
                part
                for t in tags
                if t.entry.d_tag in ("DT_RPATH", "DT_RUNPATH")
                for part in getattr(t, t.entry.d_tag[3:].lower()).split(":")
            ),
            stripped=elf.get_section_by_name(".symtab") is None,
            **_symbols(elf),
        )


@contextmanager
def _named(name: str) -> Iterator[None]:
    try:
        yield
    except ELFError as error:
        raise BuildError(f"{name} is not an ELF file", detail=str(error)) from error


def _code(elf: ELFFile) -> dict[str, Any]:
    """The fields of `Code`."""
    versions: dict[str, str] = {}
    for section in elf.iter_sections():
        if isinstance(section, GNUVerNeedSection):
            for _, auxiliaries in section.iter_versions():
                for auxiliary in auxiliaries:
                    _raise(versions, auxiliary.name)
    return {
        "machine": str(elf["e_machine"]),
        "bits": elf.elfclass,
        "little": elf.little_endian,
        "flags": int(elf["e_flags"]),
        "versions": versions,
    }


def _symbols(elf: ELFFile) -> dict[str, Any]:
    """What `Elf` says of the dynamic symbols."""
    imports, unversioned, exports = set(), set(), set()
    table = elf.get_section_by_name(".dynsym")
    versions = elf.get_section_by_name(".gnu.version")
    if isinstance(table, SymbolTableSection):
        for number, symbol in enumerate(table.iter_symbols()):
            binding = symbol["st_info"]["bind"]
            if symbol["st_shndx"] != "SHN_UNDEF":
                exports.add(symbol.name)
                continue
            imports.add(symbol.name)
            version = versions.get_symbol(number)["ndx"] if versions is not None else UNVERSIONED[0]
            if binding == "STB_GLOBAL" and version in UNVERSIONED:
                unversioned.add(symbol.name)
    return {
        "imports": frozenset(imports),
        "unversioned": frozenset(unversioned),
        "exports": frozenset(exports),
    }


def highest(found: Mapping[str, str], more: Mapping[str, str]) -> dict[str, str]:
    """The higher version of each family of two files."""
    merged = dict(found)
    for family, version in more.items():
        _raise(merged, f"{family}_{version}")
    return merged


def _raise(versions: dict[str, str], name: str) -> None:
    family, _, version = name.rpartition("_")
    try:
        # names such as GLIBC_PRIVATE and CXXABI_FLOAT128 carry no number
        if Version(version) > Version(versions.get(family, "0")):
            versions[family] = version
    except InvalidVersion:
        return
