"""What a device is, and what it can't run.

`probe` asks the agent, which leaves nothing there. `check` compares with what a bundle
asks for and refuses before a byte is written. Nothing here changes a device.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from packaging.version import InvalidVersion, Version

from deploy.inventory.reading import Device
from deploy.inventory.schema import NO_PYTHON
from deploy.release import probed_facts, wheel_compatibility
from deploy.release.agent_session import Session
from deploy.release.probed_facts import DeviceFacts
from deploy.release.shell.sessions import open_session
from deploy.release.wheel_compatibility import Content
from deploy.ssh.connection import Connection
from toolchain import targets
from toolchain.bundle import assemble, by_python
from toolchain.bundle.assemble import Manifest, Requires
from toolchain.core.errors import DeviceRefused
from toolchain.targets import instruction_sets
from toolchain.targets.catalogue import Target
from toolchain.wheels.recipe import PYTHON_SINCE

CLOCK_TOLERANCE = 24 * 3600.0
# Wheels are zip files; what they unpack to is seldom more than this many times their size.
UNPACKED = 4
# a venv with our wheels is some hundred files
FILES_NEEDED = 4000
# of libstdc++ in the first system with that glibc: see targets.LOWEST_GLIBC
LOWEST_GLIBCXX = "3.4.30"


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
    return probed_facts.read_facts(device, answer, before=before, after=time.time())


def met(session: Session, device: Device, bundle: Path) -> tuple[DeviceFacts, Path]:
    """What a device is, and which of a bundle's folders it is sent: that for its Python, or none.

    Raises:
        DeviceRefused: its answer can't be read, or it has no Python and nothing runs without.
        BuildError: the bundle can't be used.
        ConnectionFailed: the link dropped.
    """
    facts = ask(session, device, modules=assemble.load(bundle).requires.modules)
    own = by_python.fitting(bundle, facts.python)
    if facts.python == NO_PYTHON and own == bundle:
        raise DeviceRefused(
            f"{device.name}: the device has no Python, and nothing of this runs without",
            resolution="there: apt-get install python3 python3-numpy; or send what programs in C "
            "use: a network for TensorFlow Lite, and --library",
        )
    return facts, own


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
    A device without Python is sent releases that need none.
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
    if facts.python == NO_PYTHON:
        return []  # what it is sent needs none
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
    if requires.glibc == "0":
        return []  # networks alone, no code
    if facts.libc != "glibc":
        reasons.append((
            f"its C library is {facts.libc or 'not glibc'}",
            "the wheels need glibc: use Debian, Ubuntu or another that has it",
        ))  # fmt: skip
    elif _older(facts.glibc, requires.glibc):
        reasons.append((
            f"its glibc is {facts.glibc}, the wheels need {requires.glibc}", upgrade
        ))  # fmt: skip
    if requires.glibcxx == "0":
        return reasons
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
