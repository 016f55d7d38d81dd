"""What a device is: what its agent says, read and understood. Nothing here talks to one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from deploy.inventory.reading import Device
from toolchain.core.errors import DeviceRefused
from toolchain.targets import compatible_programs, instruction_sets
from toolchain.targets.instruction_sets import Kernel

CPU_NAMES = ("model name", "uarch", "hardware")  # keys of /proc/cpuinfo


class _Said(BaseModel):
    """What the agent says that is a fact as it stands."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    machine: str
    bits: int
    kernel: str
    hostname: str
    os: str
    python: str
    implementation: str
    abiflags: str
    multiarch: str
    libc: str
    glibc: str
    glibcxx: str
    modules: dict[str, str | None]
    venv: bool
    pip: bool
    root: str
    strangers: list[str]
    disk_free: int
    files_free: int
    writable: bool
    executable: bool
    ram: int
    cores: int
    board: str
    governor: str
    temperature: float | None
    emulation: str


class _Answer(_Said):
    """The agent's answer: `deploy.agent.facts`."""

    hwcap: int
    hwcap2: int
    cpuinfo: dict[str, str]
    time: float


class DeviceFacts(_Said):
    """What a device is. Sizes in bytes; an empty text is what could not be read."""

    name: str
    cpu: str
    isa: list[str]
    emulated: bool
    clock_offset: float


def read_facts(device: Device, answer: Any, *, before: float, after: float) -> DeviceFacts:
    """The facts in the agent's answer.

    Args:
        device: whose they are.
        answer: what the agent said.
        before: this machine's clock when it was asked, in seconds.
        after: the same when the answer had come.

    Raises:
        DeviceRefused: the answer can't be read.
    """
    try:
        found = _Answer.model_validate(answer)
        # 32-bit programs may run under a 64-bit kernel, whose name uname gives
        machine = compatible_programs.machine_of(found.machine, found.bits)
        found = found.model_copy(update={"machine": machine})
        # The device read its clock somewhere between the two moments.
        offset = min((found.time - before, found.time - after), key=abs)
        offset = 0.0 if before <= found.time <= after else offset
        cpu = _cpu_of(found)
        return DeviceFacts(
            **found.model_dump(exclude={"hwcap", "hwcap2", "cpuinfo", "time"}),
            **cpu,
            name=device.name,
            clock_offset=round(offset, 3),
            emulated=device.emulated or bool(found.emulation),
        )
    except ValidationError as error:
        raise DeviceRefused(
            f"{device.name}: its answer to what it is can't be read",
            detail=f"{str(answer)[:300]}\n{error}",
        ) from error


def _cpu_of(found: _Answer) -> dict[str, Any]:
    """A CPU's name and its extensions, by what the kernel says."""
    kernel = Kernel(
        machine=found.machine,
        release=found.kernel,
        hwcap=found.hwcap,
        hwcap2=found.hwcap2,
        cpuinfo=found.cpuinfo,
    )
    if instruction_sets.of_another_machine(kernel):
        kernel = replace(kernel, cpuinfo={})
    known = instruction_sets.of_machine(found.machine)
    names = (kernel.cpuinfo.get(key) for key in CPU_NAMES)
    return {
        "cpu": next(filter(None, names), found.board),
        "isa": sorted(known.extensions(kernel) if known else instruction_sets.named(kernel)),
    }
