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
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Protocol

from packaging.tags import Tag, compatible_tags, cpython_tags, parse_tag
from packaging.utils import InvalidWheelFilename, parse_wheel_filename
from packaging.version import InvalidVersion, Version

from toolchain.bundle.assemble import Manifest
from toolchain.core.errors import BuildError
from toolchain.lock import pins
from toolchain.targets import instruction_sets
from toolchain.wheels import elf
from toolchain.wheels.elf import Code
from toolchain.wheels.recipe import RECIPES

LEGACY = {"manylinux1": 5, "manylinux2010": 12, "manylinux2014": 17}
MANYLINUX = re.compile(r"manylinux_2_(\d+)_")
OLDEST = 5

Problem = tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class Content:
    """A wheel, or a library outside of wheels.

    Attributes:
        name: of the file.
        tags: none for a library.
        code: the path of each ELF file in it, and what that asks for.
        broken: what is wrong with it, if anything.
    """

    name: str
    tags: frozenset[Tag] = frozenset()
    code: tuple[tuple[str, Code], ...] = ()
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
            code = tuple((n, _read(archive.read(n), n)) for n in names if _is_elf(archive, n))
    except InvalidWheelFilename as error:
        return Content(name=name, broken=str(error))
    except (
        OSError, ValueError, zipfile.BadZipFile, zlib.error, BuildError, KeyError, EOFError,
        NotImplementedError, RuntimeError,
    ) as error:  # fmt: skip
        return Content(name=name, broken=f"it can't be read: {error}")
    if not broken and code and any(tag.platform == "any" for tag in tags):
        broken = f"it says it runs anywhere, and has {code[0][0]}"
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


def problems(contents: tuple[Content, ...], device: Runs) -> list[Problem]:
    """What a device can't run: what is wrong, and what to do about it."""
    supported = _supported(device) if any(c.tags for c in contents) else set()
    wrong = []
    unserved = _unserved(contents, supported)
    for content in (one for one in contents if _project(one) not in unserved):
        if content.broken:
            wrong.append(f"{content.name}: {content.broken}")
            continue
        if content.tags and not content.tags & supported:
            wrong.append(
                f"{content.name} is for {_words(content.tags)}, "
                f"the device has Python {device.python}, {device.machine}, glibc {device.glibc}"
            )
        for path, code in content.code:
            wrong += [f"{content.name}: {path} {w}" for w in _misfits(code, content, device)]
    remedy = f"build the wheels for {device.machine} again: invoke build-wheels, then deploy"
    return [*((what, remedy) for what in wrong), *_for_no_python(unserved, device)]


def _for_no_python(projects: Sequence[str], device: Runs) -> list[Problem]:
    fits = f"fits its Python {device.python} and glibc {device.glibc}"
    built = "leave out --wheels official if it was given, "
    remedy = (
        "send it without that runtime (--runtime names the others), or have it use another Python: "
        "edgewright.python"
    )
    return [
        (f"{project} has no wheel that {fits}", built * _is_built_too(project) + remedy)
        for project in projects
    ]


def _is_built_too(project: str) -> bool:
    """Whether there is a recipe for what a project publishes as well."""
    return (RECIPES / f"{project}.py").is_file()


def _unserved(contents: tuple[Content, ...], supported: set[Tag]) -> list[str]:
    """The projects whose wheels are each for some devices, and none of them for this one."""
    tags: dict[str, list[frozenset[Tag]]] = defaultdict(list)
    for content in contents:
        if content.tags and not content.broken:
            tags[_project(content)].append(content.tags)
    pinned = {_project(content) for content in contents if _is_pinned(content)}
    return [
        project
        for project, of in tags.items()
        if (len(of) > 1 or project in pinned) and not any(t & supported for t in of)
    ]


def _project(content: Content) -> str:
    """The project of a wheel, by its name."""
    return content.name.partition("-")[0]


def _is_pinned(content: Content) -> bool:
    """Whether a wheel is one of the lock's, as its project published it."""
    return any(pin.file_name == content.name for pin in pins.sources().values())


def _misfits(code: Code, content: Content, device: Runs) -> list[str]:
    known = instruction_sets.of_machine(device.machine)
    wanted = known.machines[device.machine] if known else None
    if wanted is None or (code.machine, code.bits, code.little) != (*astuple(wanted), True):
        order = "" if code.little else ", big-endian"
        return [f"is {code.bits}-bit {code.machine[3:]}{order}"]
    assert known is not None, "it has the machine"
    misfits = [fault] if (fault := known.foreign_abi(code.flags)) else []
    glibc = code.versions.get("GLIBC", "")
    for what, asked, has in (
        ("GLIBC", glibc, device.glibc),
        ("GLIBCXX", code.versions.get("GLIBCXX", ""), device.glibcxx),
    ):
        if asked and _above(asked, has or "0"):
            misfits.append(f"asks for {what}_{asked}, the device has {has or 'none'}")
    # What others have published is as it is, and what it asks for was compared above: LiteRT's
    # wheel for aarch64 promises 2.27 and asks for 2.34.
    promised = 0 if _is_pinned(content) else _promised(content.tags)
    if promised and glibc and _above(glibc, f"2.{promised}"):
        misfits.append(f"asks for GLIBC_{glibc}, its tag promises 2.{promised}")
    return misfits


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
    minors = [int(m[1]) for t in tags if (m := MANYLINUX.match(t.platform))]
    minors += [n for t in tags for name, n in LEGACY.items() if t.platform.startswith(f"{name}_")]
    return min(minors, default=0)


def _library(path: Path, name: str) -> Content:
    try:
        return Content(name=name, code=(("as a whole", _read(path.read_bytes(), name)),))
    except (OSError, BuildError) as error:
        return Content(name=name, broken=f"it is no library: {error}")


def _read(content: bytes, name: str) -> Code:
    return elf.read_code(io.BytesIO(content), name)


def _is_elf(archive: zipfile.ZipFile, name: str) -> bool:
    with archive.open(name) as stream:
        return elf.starts_as_elf(stream)


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _words(tags: frozenset[Tag] | set[Tag]) -> str:
    return ", ".join(sorted(map(str, tags))) or "nothing"


def _above(version: str, other: str) -> bool:
    try:
        return Version(version) > Version(other)
    except InvalidVersion:
        return False
