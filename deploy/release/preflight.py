"""What a device is, and what it can't run.

`probe` asks the agent, which leaves nothing there. `check` compares with what a bundle
asks for and refuses before a byte is written. Nothing here changes a device.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from packaging.version import InvalidVersion, Version
from pydantic import BaseModel, ConfigDict, ValidationError

from deploy.inventory.reading import Device
from deploy.release import wheel_compatibility
from deploy.release.agent_session import Session, open_session
from deploy.release.wheel_compatibility import Content
from deploy.ssh.connection import Connection
from toolchain import targets
from toolchain.bundle import assemble, by_python
from toolchain.bundle.assemble import Manifest, Requires
from toolchain.core.errors import DeviceRefused
from toolchain.targets import compatible_programs, instruction_sets
from toolchain.targets.catalogue import Target
from toolchain.targets.instruction_sets import Kernel
from toolchain.wheels.recipe import PYTHON_SINCE

CLOCK_TOLERANCE = 24 * 3600.0
# Wheels are zip files; what they unpack to is seldom more than this many times their size.
UNPACKED = 4
# a venv with our wheels is some hundred files
FILES_NEEDED = 4000
# of libstdc++ in the first system with that glibc: see targets.LOWEST_GLIBC
LOWEST_GLIBCXX = "3.4.30"
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


def probe(conn: Connection, *, modules: Sequence[str] = ("numpy",)) -> DeviceFacts:
    """Ask a device what it is.

    Args:
        conn: an open connection.
        modules: Python modules whose versions to look up.

    Raises:
        DeviceRefused: it has no Python 3, or its answer can't be read.
        ConnectionFailed: the link dropped.
    """
    with open_session(conn) as session:
        return ask(session, conn.device, modules=modules)


def ask(session: Session, device: Device, *, modules: Sequence[str]) -> DeviceFacts:
    """`probe`, of a device whose agent runs already.

    Raises:
        DeviceRefused: its answer can't be read.
        ConnectionFailed: the link dropped.
    """
    before = time.time()
    answer = session.look(modules)
    return read_facts(device, answer, before=before, after=time.time())


def met(session: Session, device: Device, bundle: Path) -> tuple[DeviceFacts, Path]:
    """What a device is, and which of a bundle's folders it is sent: that for its Python.

    Raises:
        DeviceRefused: its answer can't be read.
        BuildError: the bundle can't be used.
        ConnectionFailed: the link dropped.
    """
    facts = ask(session, device, modules=assemble.load(bundle).requires.modules)
    return facts, by_python.fitting(bundle, facts.python)


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


def space_needed(manifest: Manifest) -> int:
    """Bytes that two releases of this bundle may take on the device."""
    wheels = sum(f.size for f in manifest.files if f.path in manifest.wheels)
    return 2 * (manifest.payload_size() + UNPACKED * wheels)


def check(
    facts: DeviceFacts,
    manifest: Manifest,
    *,
    needed: int | None = None,
    contents: tuple[Content, ...] = (),
    broken: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Refuse a device that can't run a bundle.

    Args:
        facts: what the device is.
        manifest: what the bundle is.
        needed: bytes that must be free; room for two releases when not given.
        contents: what its wheels and libraries really are.
        broken: why modules that are there can't be imported, by name.

    Raises:
        DeviceRefused: with every reason, and what to do about each.
    """
    reasons = problems(facts, manifest, space_needed(manifest) if needed is None else needed)
    reasons += [
        (f"its {name} can't be imported: {why}",
         f"mend it there: apt-get install --reinstall python3-{name}, which brings its libraries")
        for name, why in broken.items()
    ]  # fmt: skip
    if facts.machine == manifest.requires.machine:
        reasons += wheel_compatibility.problems(contents, facts)
    if reasons:
        raise DeviceRefused(
            f"{facts.name}: {reasons[0][0]}",
            detail="\n".join(f"- {what}" for what, _ in reasons[1:]),
            resolution="\n".join(dict.fromkeys(remedy for _, remedy in reasons)),
        )


def problems(facts: DeviceFacts, manifest: Manifest, needed: int) -> list[tuple[str, str]]:
    """Everything that stands in the way: what is wrong, and what to do about it."""
    requires = manifest.requires
    if facts.machine != requires.machine:
        # Nothing else that was built for another machine is worth comparing.
        what = f"the device is {facts.machine}, the bundle is for {requires.machine}"
        return [(what, _another_target(facts))]
    return [
        *_python(
            facts, requires, has_pip=any(w.startswith("wheels/pip-") for w in manifest.wheels)
        ),
        *_libraries(facts, requires),
        *_cpu(facts, requires),
        *_room(facts, needed),
    ]


def lacking(facts: DeviceFacts) -> list[tuple[str, str]]:
    """What any release would find missing on a device: what is wrong, and what to do about it.

    Wheels may ask for more of glibc than the least that they can promise; a deployment says so.
    """
    requires = Requires(
        machine=facts.machine,
        python=PYTHON_SINCE,
        glibc=targets.LOWEST_GLIBC,
        glibcxx=LOWEST_GLIBCXX,
        cpu=[],
        modules=["numpy"],
    )
    return [
        *_python(facts, requires, has_pip=False),
        *_libraries(facts, requires),
        *_room(facts, 0),
    ]


def fitting(facts: DeviceFacts) -> list[Target]:
    """The targets whose code a device runs, those first that use most of its CPU."""
    fit = [
        target
        for target in targets.all_targets().values()
        if target.machine == facts.machine and set(target.cpu) <= set(facts.isa)
    ]
    return sorted(fit, key=lambda target: -len(target.cpu))


def _python(facts: DeviceFacts, requires: Requires, *, has_pip: bool) -> list[tuple[str, str]]:
    reasons = []
    lowest = requires.python
    if _older(facts.python, lowest):
        reasons.append((
            f"its Python is {facts.python}, the wheels need {lowest}",
            "install a newer one there and name it in the inventory: edgewright.python",
        ))  # fmt: skip
    if facts.implementation != "cpython":
        reasons.append((f"its Python is {facts.implementation}", "install CPython there"))
    if facts.abiflags:
        reasons.append((
            f"its Python has another ABI (flags {facts.abiflags!r})",
            "install the distribution's ordinary python3 there",
        ))  # fmt: skip
    known = instruction_sets.of_machine(facts.machine)
    if known and facts.bits != known.machines[facts.machine].bits:
        reasons.append((
            f"its Python is a {facts.bits}-bit one on a {facts.machine} kernel",
            f"install a {facts.machine} system there, or build for the one it has",
        ))  # fmt: skip
    expected = known.float_abi if known else ""
    if expected and facts.multiarch and facts.multiarch != expected:
        reasons.append((
            f"its float ABI is {facts.multiarch}, the wheels are for {expected}",
            f"install an {expected} system there",
        ))  # fmt: skip
    reasons += [
        (f"it has no {name}", f"there: apt-get install python3-{name}")
        for name in requires.modules
        if facts.modules.get(name) is None
    ]
    if not facts.venv:
        reasons.append(("its Python has no venv", "there: apt-get install python3-venv"))
    if not facts.pip and not has_pip:
        reasons.append(("it has no pip", "there: apt-get install python3-pip"))
    return reasons


def _libraries(facts: DeviceFacts, requires: Requires) -> list[tuple[str, str]]:
    reasons = []
    upgrade = "use a newer release of its distribution"
    if facts.libc != "glibc":
        reasons.append((
            f"its C library is {facts.libc or 'not glibc'}",
            "the wheels need glibc: use Debian, Ubuntu or another that has it",
        ))  # fmt: skip
    elif _older(facts.glibc, requires.glibc):
        reasons.append((
            f"its glibc is {facts.glibc}, the wheels need {requires.glibc}", upgrade
        ))  # fmt: skip
    if not facts.glibcxx:
        reasons.append(("it has no libstdc++", "there: apt-get install libstdc++6"))
    elif _older(facts.glibcxx, requires.glibcxx):
        wanted = requires.glibcxx
        reasons.append((f"its libstdc++ has {facts.glibcxx}, the wheels need {wanted}", upgrade))
    return reasons


def _cpu(facts: DeviceFacts, requires: Requires) -> list[tuple[str, str]]:
    missing = [name for name in requires.cpu if name not in facts.isa]
    if not missing:
        return []
    known = instruction_sets.of_machine(facts.machine)
    hints = [known.hint(name, facts.isa) for name in missing] if known else []
    note = "; ".join(filter(None, hints))
    return [(
        f"its CPU lacks {', '.join(missing)}" + (f" ({note})" if note else ""),
        f"compile for a target without {', '.join(missing)}: {_another_target(facts)}",
    )]  # fmt: skip


def _another_target(facts: DeviceFacts) -> str:
    """What to do about a target that the device does not fit: which ones it does."""
    fit = [target.name for target in fitting(facts)]
    if not fit:
        return f"no target fits a {facts.machine} device with its CPU; CONTRIBUTING.md adds one"
    return (
        f"set this host's edgewright.target in the inventory to one that fits it "
        f"({', '.join(fit)}), then build and deploy again"
    )


def _room(facts: DeviceFacts, needed: int) -> list[tuple[str, str]]:
    reasons = []
    if facts.disk_free < needed:
        free, need = facts.disk_free / 1e6, needed / 1e6
        reasons.append((
            f"{free:.0f} MB are free below {facts.root}, two releases may need {need:.0f} MB",
            "free some space there, or set edgewright.root to a folder on a larger disk",
        ))  # fmt: skip
    if facts.files_free < FILES_NEEDED and needed:
        reasons.append((
            f"{facts.files_free} files may be made below {facts.root}, of {FILES_NEEDED} needed",
            "remove some files there, or set edgewright.root to a folder on another disk",
        ))  # fmt: skip
    elsewhere = "set edgewright.root in the inventory to a folder of the user on another disk"
    if facts.strangers:
        reasons.append((
            f"{facts.root} has other things in it: {', '.join(facts.strangers[:10])}",
            "set edgewright.root in the inventory to a folder that is empty, or not there yet",
        ))  # fmt: skip
    if not facts.writable:
        reasons.append((f"nothing can be written below {facts.root}", elsewhere))
    if not facts.executable:
        reasons.append((f"nothing below {facts.root} can be run (mounted noexec)", elsewhere))
    if abs(facts.clock_offset) > CLOCK_TOLERANCE:
        reasons.append((
            f"its clock is {facts.clock_offset / 3600:.0f} hours off",
            "set it there: timedatectl set-ntp true",
        ))  # fmt: skip
    return reasons


def _older(present: str, wanted: str) -> bool:
    try:
        return Version(present) < Version(wanted)
    except InvalidVersion:
        return True
