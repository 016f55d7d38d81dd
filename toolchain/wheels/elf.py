"""What an ELF file asks of the device: machine, libraries, symbol versions, search path.

Reading only; `audit` judges.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from elftools.common.exceptions import ELFError
from elftools.elf.dynamic import DynamicSection
from elftools.elf.elffile import ELFFile
from elftools.elf.gnuversions import GNUVerNeedSection
from elftools.elf.sections import SymbolTableSection
from packaging.version import InvalidVersion, Version

from toolchain.errors import BuildError

MAGIC = b"\x7fELF"


@dataclass(frozen=True, kw_only=True)
class Elf:
    """One shared object.

    Attributes:
        machine: such as EM_RISCV.
        needed: DT_NEEDED, in order.
        search: entries of RPATH and RUNPATH.
        versions: highest version of each symbol-version family, such as {"GLIBC": "2.34"}.
        stripped: it has no symbol table but the dynamic one.
        imports: names of the symbols that others must have.
    """

    machine: str
    needed: tuple[str, ...]
    search: tuple[str, ...]
    versions: Mapping[str, str]
    stripped: bool
    imports: frozenset[str]


def is_elf(path: Path) -> bool:
    """Whether a file begins as an ELF file does."""
    with path.open("rb") as stream:
        return stream.read(4) == MAGIC


def read(path: Path) -> Elf:
    """Read a shared object.

    Raises:
        BuildError: it is not one.
    """
    try:
        with path.open("rb") as stream:
            elf = ELFFile(stream)
            tags = [
                tag
                for section in elf.iter_sections()
                if isinstance(section, DynamicSection)
                for tag in section.iter_tags()
            ]
            versions: dict[str, str] = {}
            for section in elf.iter_sections():
                if isinstance(section, GNUVerNeedSection):
                    for _, auxiliaries in section.iter_versions():
                        for auxiliary in auxiliaries:
                            _raise(versions, auxiliary.name)
            return Elf(
                machine=str(elf["e_machine"]),
                needed=tuple(t.needed for t in tags if t.entry.d_tag == "DT_NEEDED"),
                search=tuple(
                    part
                    for t in tags
                    if t.entry.d_tag in ("DT_RPATH", "DT_RUNPATH")
                    for part in getattr(t, t.entry.d_tag[3:].lower()).split(":")
                ),
                versions=versions,
                stripped=elf.get_section_by_name(".symtab") is None,
                imports=_imports(elf),
            )
    except ELFError as error:
        raise BuildError(f"{path.name} is not an ELF file", detail=str(error)) from error


def _imports(elf: ELFFile) -> frozenset[str]:
    table = elf.get_section_by_name(".dynsym")
    if not isinstance(table, SymbolTableSection):
        return frozenset()
    return frozenset(s.name for s in table.iter_symbols() if s["st_shndx"] == "SHN_UNDEF")


def highest(found: Mapping[str, str], more: Mapping[str, str]) -> dict[str, str]:
    """The higher version of each family of two files."""
    merged = dict(found)
    for family, version in more.items():
        _raise(merged, f"{family}_{version}")
    return merged


def _raise(versions: dict[str, str], name: str) -> None:
    family, _, version = name.rpartition("_")
    try:
        if family not in versions or Version(version) > Version(versions[family]):
            versions[family] = version
    except InvalidVersion:  # names such as CXXABI_FLOAT128 carry no number
        return
