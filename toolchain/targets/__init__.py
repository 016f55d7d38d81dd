"""What we build for, read from targets.toml. No module but this one knows how it is written."""

from __future__ import annotations

import platform
import re
import tomllib
from functools import cache
from pathlib import Path
from typing import Annotated

from packaging.version import Version
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from toolchain.core.errors import BuildError, UsageError

# The lowest that a C++ wheel of the cross image can promise: manylinux_2_35 is the first policy
# whose libstdc++ has GLIBCXX_3.4.30, GCC 12's.
LOWEST_GLIBC = "2.35"
DATA = Path(__file__).with_name("targets.toml")


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


class Target(_Entry):
    """One entry of targets.toml; the file's head says what each key means."""

    name: str
    machine: str
    triple: str
    debian: str
    wheel: str
    elf: str
    cflags: list[str]
    cpu: list[str]
    glibc: Annotated[str, Field(pattern=r"^2\.\d+$")]
    libm: str = ""
    llvm: LlvmTarget
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

    def tvm(self) -> dict[str, object]:
        """The target as `tvm.target.Target` takes it."""
        return {"kind": "llvm", **self.llvm.model_dump(exclude_none=True)}


@cache
def all_targets() -> dict[str, Target]:
    """Every target by name.

    Raises:
        BuildError: targets.toml has an entry that can't be used.
    """
    entries = tomllib.loads(DATA.read_text())
    try:
        return {name: Target(name=name, **entry) for name, entry in entries.items()}
    except (ValidationError, TypeError) as error:
        raise BuildError(f"{DATA.name} can't be used", detail=str(error)) from error


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
