"""A target, read from targets.toml or a user's own. No other module knows how these are written.

A user's targets stand in files of the same form, `targets/*.toml` in a folder that
`EDGEWRIGHT_PLUGINS` names.
"""

from __future__ import annotations

import platform
import re
import tomllib
from functools import cache
from pathlib import Path
from typing import Annotated

from packaging.version import Version
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from toolchain.core import plugins
from toolchain.core.errors import BuildError, UsageError
from toolchain.targets import instruction_sets

# The lowest that a C++ wheel of the cross image can promise: manylinux_2_35 is the first policy
# whose libstdc++ has GLIBCXX_3.4.30, GCC 12's.
LOWEST_GLIBC = "2.35"
DATA = Path(__file__).with_name("targets.toml")
KIND = "targets"


def _known(machine: str) -> str:
    """A machine's name, if an instruction set has it."""
    if instruction_sets.of_machine(machine) is None:
        raise ValueError(f"no instruction set has a machine {machine}")
    return machine


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class LlvmTarget(_Entry):
    """The part of a TVM target that says what code LLVM generates."""

    mtriple: str
    mcpu: str
    mabi: str | None = None
    mattr: list[str] = Field(default_factory=list)


class Emulator(_Entry):
    """How qemu-user stands in for a device of this target."""

    qemu: str
    cpu: str
    systems: Annotated[list[str], Field(min_length=1)]


class Caches(_Entry):
    """The caches of a core.

    Attributes:
        l2: bytes of its second level; its share, where cores have one together.
    """

    l2: Annotated[int, Field(gt=0)] = 2 * instruction_sets.KEPT

    def kept(self) -> int:
        """Bytes that stay there while others pass through: half."""
        return self.l2 // 2


class Target(_Entry):
    """One entry of targets.toml; the file's head says what each key means."""

    name: str
    machine: Annotated[str, AfterValidator(_known)]
    triple: str
    debian: str
    wheel: str
    cflags: list[str]
    cpu: list[str]
    glibc: Annotated[str, Field(pattern=r"^2\.\d+$")]
    libm: str = ""
    llvm: LlvmTarget
    caches: Caches = Caches()
    emulator: Emulator | None = None

    def promising(self, glibc: str) -> Target:
        """The target with another highest glibc that its wheels may ask for.

        Raises:
            UsageError: it is no version of glibc, or below what the cross image can build for.
        """
        if not re.fullmatch(r"2\.\d{1,3}", glibc) or Version(glibc) < Version(LOWEST_GLIBC):
            raise UsageError(
                f"no wheels can be built for glibc {glibc}",
                resolution=f"--glibc takes {LOWEST_GLIBC} and later, such as {self.glibc}",
            )
        return self.model_copy(update={"glibc": glibc})

    def systems(self) -> tuple[str, ...]:
        """The systems that an emulated device of it can run, the usual one first."""
        return tuple(self.emulator.systems) if self.emulator else ()

    def native(self) -> bool:
        """Whether this machine runs its code without an emulator."""
        return self.machine == platform.machine()

    def elf(self) -> instruction_sets.Elf:
        """How its ELF files begin."""
        known = instruction_sets.of_machine(self.machine)
        assert known is not None, "the entry was checked"
        return known.machines[self.machine]

    def tvm(self) -> dict[str, object]:
        """The target as `tvm.target.Target` takes it: what decides LLVM's code, and no more."""
        return {"kind": "llvm", **self.llvm.model_dump(exclude_none=True)}

    def tagged(self) -> dict[str, object]:
        """The same with its name, by which schedules find what else they ask of a target."""
        return {**self.tvm(), "tag": self.name}


def all_targets() -> dict[str, Target]:
    """Every target by name.

    Raises:
        BuildError: an entry can't be used, or two have one name.
        UsageError: a folder of the user's that is named isn't there.
    """
    users = (sorted(folder.glob("*.toml")) for folder in plugins.folders(KIND))
    found: dict[str, Target] = {}
    for file in (DATA, *(path for paths in users for path in paths)):
        entries = _read(file)
        if twice := found.keys() & entries.keys():
            raise BuildError(f"{file} can't be used", detail=f"{min(twice)} is there already")
        found |= entries
    return found


@cache
def _read(file: Path) -> dict[str, Target]:
    try:
        entries = tomllib.loads(file.read_text())
        return {name: Target(name=name, **entry) for name, entry in entries.items()}
    except (OSError, tomllib.TOMLDecodeError, ValidationError, TypeError) as error:
        raise BuildError(f"{file} can't be used", detail=str(error)) from error


def of_this_machine() -> Target:
    """A target whose programs this machine runs itself.

    Raises:
        UsageError: there is none.
    """
    for candidate in all_targets().values():
        if candidate.native():
            return candidate
    raise UsageError(f"there is no target for this machine: {platform.machine()}")


def target(name: str) -> Target:
    """The target of that name.

    Raises:
        UsageError: there is none.
    """
    known = all_targets()
    if name not in known:
        raise UsageError(
            f"unknown target: {name}",
            resolution=f"known targets: {', '.join(sorted(known))}",
        )
    return known[name]
