"""Judge a wheel before anybody gets it: machine, libraries, symbol versions, paths, tag.

Two independent readers: ours over the ELF files (`elf`), and auditwheel over the packed wheel.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import abi3info
from abi3info.models import PyVersion, Symbol
from auditwheel.architecture import Architecture
from auditwheel.error import AuditwheelError
from auditwheel.libc import Libc
from auditwheel.policy import WheelPolicies
from auditwheel.wheel_abi import analyze_wheel_abi
from packaging.version import Version

from toolchain.core.errors import BuildError
from toolchain.targets import Target
from toolchain.wheels import elf
from toolchain.wheels.recipe import EXTENSION, PYTHON_SINCE

# On every Debian, Ubuntu and Fedora device; all else must be inside the wheel.
SYSTEM_LIBRARIES = re.compile(
    r"^(libc|libm|libdl|libpthread|librt|libgcc_s|libstdc\+\+|ld-linux[\w-]*)\.so(\.\d+)*$"
)
# What every Python has loaded with its threads; a library that isn't linked with them itself asks
# for it without a version.
THREADS = frozenset({"pthread_create", "pthread_join"})
# How CPython's own symbols begin.
CPYTHON = re.compile(r"_?Py")


@dataclass(frozen=True, kw_only=True)
class Audit:
    """What a wheel's shared objects ask for together.

    Attributes:
        versions: highest version of each family over all files, such as {"GLIBC": "2.34"}.
        objects: names of the shared objects.
    """

    versions: dict[str, str] = field(default_factory=dict)
    objects: tuple[str, ...] = ()

    @property
    def glibc(self) -> str:
        """Lowest glibc that has every symbol asked for; 2.17 for a wheel that asks none."""
        return self.versions.get("GLIBC", "2.17")


def stage(folder: Path, target: Target, *, own: Iterable[str] = (), portable: bool = True) -> Audit:
    """Audit a staged wheel's shared objects.

    Args:
        folder: the stage.
        target: what it must be for.
        own: libraries that another wheel of ours brings, such as libtvm_ffi.so.
        portable: whether it must run where nothing is installed for it.

    Raises:
        BuildError: a file is for another machine, needs a library that a device lacks, has a
            search path that leaves the wheels, is not stripped, uses a symbol that nothing has, or
            is an extension that uses what the stable ABI does not have.
    """
    files = sorted(p for p in folder.rglob("*") if p.is_file() and elf.is_elf(p))
    read = {path.relative_to(folder).as_posix(): elf.read(path) for path in files}
    inside = {p.name for p in files} | set(own)
    exports = {symbol for found in read.values() for symbol in found.exports}
    faults: list[str] = []
    versions: dict[str, str] = {}
    for name, found in read.items():
        if found.machine != target.elf().machine:
            faults.append(f"{name}: for {found.machine}, not {target.elf().machine}")
        faults += [
            f"{name}: needs {library}, which a device may lack"
            for library in found.needed
            if portable and library not in inside and not SYSTEM_LIBRARIES.match(library)
        ]
        faults += [
            f"{name}: search path {part!r} is not relative to the file"
            for part in found.search
            if not part.startswith("$ORIGIN")
        ]
        if not found.stripped:
            faults.append(f"{name}: not stripped")
        # what another wheel's library has is not known here
        if not set(found.needed) & set(own):
            faults += [
                f"{name}: uses {symbol}, which neither the wheel nor a device has"
                for symbol in unfound(found, exports)
            ]
        if name.endswith(EXTENSION):
            faults += [
                f"{name}: uses {symbol}, which the stable ABI of Python {PYTHON_SINCE} lacks"
                for symbol in unstable(found.imports)
            ]
        versions = elf.highest(versions, found.versions)
    if faults:
        raise BuildError(f"the audit refused {folder.name}", detail="\n".join(faults))
    return Audit(versions=versions, objects=tuple(read))


def unfound(found: elf.Elf, exports: Iterable[str]) -> list[str]:
    """The symbols that must be found and nobody has: not the system, CPython, or `exports`.

    A system library's symbols carry a version; whether it has that one is the tag's matter.
    """
    lacking = found.unversioned - set(exports) - THREADS
    return sorted(symbol for symbol in lacking if not CPYTHON.match(symbol))


def unstable(imports: Iterable[str]) -> list[str]:
    """The symbols of CPython among these that its stable ABI lacks in the lowest Python served."""
    lowest = PyVersion.parse_dotted(PYTHON_SINCE)
    known = {**abi3info.FUNCTIONS, **abi3info.DATAS}
    found = []
    for name in sorted(imports):
        entry = known.get(Symbol(name))
        if CPYTHON.match(name) and (entry is None or entry.added > lowest):
            found.append(name)
    return found


def platform_tag(audit: Audit, target: Target) -> str:
    """The lowest manylinux tag that auditwheel knows and the shared objects allow.

    Raises:
        BuildError: no policy fits.
    """
    if not audit.objects:
        return "any"
    fitting = [
        policy.name
        for policy in _policies(target)
        if (found := re.match(r"manylinux_(\d+)_(\d+)_", policy.name))
        and Version(f"{found[1]}.{found[2]}") >= Version(audit.glibc)
        and _allows(policy.symbol_versions, audit)
    ]
    if not fitting:
        raise BuildError(
            "no manylinux policy allows the wheel", detail=f"it asks for {audit.versions}"
        )
    return str(min(fitting, key=_glibc_of))


def local_tag(_audit: Audit, target: Target) -> str:
    """The tag of a wheel that runs in the image that built it and promises nothing else."""
    return f"linux_{target.wheel}"


def _portable(wheel: Path) -> bool:
    return wheel.stem.rsplit("-", 1)[1].startswith("manylinux_")


def refuse_above(wheel: Path, versions: Mapping[str, str], target: Target) -> None:
    """Refuse a wheel whose tag is above the glibc that the target promises.

    Raises:
        BuildError: it is.
    """
    tag = wheel.stem.rsplit("-", 1)[1]
    if _portable(wheel) and _glibc_of(tag) > Version(target.glibc):
        raise BuildError(
            f"{wheel.name} needs more than glibc {target.glibc}",
            detail=f"it asks for {dict(versions)}",
            resolution="promise a later one (--glibc), or take out what asks for it",
        )


def confirm(wheel: Path, target: Target) -> None:
    """Have auditwheel read the packed wheel and compare its verdict with the tag.

    Raises:
        BuildError: auditwheel finds that the tag promises too much.
    """
    if not _portable(wheel):
        return
    claimed = wheel.stem.rsplit("-", 1)[1]
    try:
        verdict = analyze_wheel_abi(
            Libc.GLIBC,
            Architecture(target.wheel),
            wheel,
            frozenset(OWN),
            disable_isa_ext_check=False,
            allow_graft=False,
        )
    except AuditwheelError as error:
        raise BuildError(f"auditwheel can't read {wheel.name}", detail=str(error)) from error
    allowed = next(policy for policy in _policies(target) if policy.name == claimed)
    if verdict.sym_policy.priority < allowed.priority:
        raise BuildError(
            f"auditwheel contradicts the tag of {wheel.name}",
            detail=f"the tag says {claimed}, auditwheel {verdict.sym_policy.name}",
        )


# Libraries that one wheel of ours takes from another.
OWN = ("libtvm_ffi.so",)


def _policies(target: Target) -> WheelPolicies:
    return WheelPolicies(libc=Libc.GLIBC, arch=Architecture(target.wheel))


def _glibc_of(tag: str) -> Version:
    _, major, minor, *_ = tag.split("_")
    return Version(f"{major}.{minor}")


def _allows(symbols: Mapping[str, frozenset[str]], audit: Audit) -> bool:
    return all(
        version in symbols[family]
        for family, version in audit.versions.items()
        if family in symbols and family != "GLIBC"
    )
