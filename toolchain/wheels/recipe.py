"""What a wheel's recipe is: data about the wheel and one function that builds it in a container.

A recipe module (tflite_runtime, tvm_ffi, tvm_runtime) holds `RECIPE` and `build`. `build` runs in
the recipe's image with no network and leaves the wheel's files, without .dist-info, below
`job.stage`. Fetching, unpacking, patching, packing and the audit are done around it.

Extensions are built against CPython's stable ABI, so that one wheel of a target serves every Python
from `PYTHON_SINCE` on.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

from toolchain.core.errors import UsageError
from toolchain.images.build_container import Executor
from toolchain.targets import Target

RECIPES = Path(__file__).with_name("recipes")
# Files of our own for every recipe.
SHARED = RECIPES / "shared_files"
# The lowest Python that the wheels serve: Debian 12's.
PYTHON_SINCE = "3.11"
# The folder of everything in the container: the same in every build, on every machine.
ROOT_IN_CONTAINER = "/edgewright"


@dataclass(frozen=True, kw_only=True)
class Licence:
    """A licence file to ship.

    Attributes:
        source: the source that it is in.
        path: where in it.
        spdx: the SPDX expression of what it grants; empty for a notice, which grants nothing.
        of: the project that it is of, where that is not the source itself but one whose code the
            source carries: a key of `Recipe.carried`.
    """

    source: str
    path: str
    spdx: str = ""
    of: str = ""


def together(licences: Iterable[Licence]) -> str:
    """The SPDX expression of some licences, all of which hold."""
    return " AND ".join(sorted({one.spdx for one in licences if one.spdx}))


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What a wheel is made from and what its metadata says.

    Attributes:
        name: distribution name as PyPI spells it, such as tflite-runtime.
        version: of the distribution.
        summary: one line.
        sources: names of entries in the lock's sources; each is unpacked to
            `Job.source(name)` with its top folder stripped (a wheel: as it is).
        tools: sources that only make others, and of which nothing is in the wheel.
        binaries: sources that are prebuilt for one architecture: the lock has an entry
            `<name>-<Debian's architecture>` for each.
        parts: source name -> its files and folders that are unpacked; one that isn't named here is
            unpacked whole.
        patches: source name -> folders below patches/ whose series are applied with -p1.
        requires: run-time requirements (PEP 508).
        licences: files that go to .dist-info/licenses/<source>/, there to a folder of the project
            that they are of where the source carries it.
        carried: projects whose code a source carries -> their version, empty where nothing says
            it; which source, and under which licence, is in `licences`.
        only_for: source -> the one machine for which something of it is compiled in.
        extension: whether it holds a CPython extension, built against the stable ABI.
        files: folder beside the module with files of our own for the build, mounted at
            `Job.files`; empty for none.
        image: folder below docker/ of the image it is built in.
        portable: whether it is for devices. If not, it runs in the image that built it, and may
            use what is installed there.
    """

    name: str
    version: str
    summary: str
    sources: tuple[str, ...]
    tools: tuple[str, ...] = ()
    binaries: tuple[str, ...] = ()
    parts: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))
    patches: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))
    requires: tuple[str, ...] = ()
    licences: tuple[Licence, ...]
    carried: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    only_for: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    extension: bool
    files: str = ""
    image: str = "cross"
    portable: bool = True

    @property
    def licence(self) -> str:
        """The SPDX expression of all that is inside."""
        return together(self.licences)

    def inside(self, target: Target) -> Recipe:
        """The recipe as its wheel for a target describes it: without what is not compiled in."""
        absent = {name for name, machine in self.only_for.items() if machine != target.machine}
        return replace(
            self,
            tools=(*self.tools, *sorted(absent)),
            licences=tuple(one for one in self.licences if one.source not in absent),
        )

    def locked(self, target: Target) -> dict[str, str]:
        """Each source's name -> its entry in the lock, for a target."""
        prebuilt = {name: f"{name}-{target.debian}" for name in self.binaries}
        return {name: name for name in (*self.sources, *self.tools)} | prebuilt


@dataclass(frozen=True, kw_only=True)
class Job:
    """One wheel to build: a recipe for a target.

    Attributes:
        target: what it is for.
        headers: version of the Python whose headers the image has, such as "3.13"; empty for a
            recipe without an extension.
        jobs: parallel compile processes.
        epoch: SOURCE_DATE_EPOCH, seconds.
        root: folder of everything below in the container.
    """

    target: Target
    headers: str
    jobs: int
    epoch: int
    root: str = ROOT_IN_CONTAINER
    progress: Callable[[str], None] = field(default=lambda _line: None, compare=False)

    @property
    def triple(self) -> str:
        """GNU triple, which is also the prefix of the cross tools."""
        return self.target.triple

    def source(self, name: str) -> str:
        """Where an unpacked source is in the container."""
        return f"{self.root}/src/{name}"

    @property
    def build(self) -> str:
        """An empty folder for objects."""
        return f"{self.root}/build"

    @property
    def stage(self) -> str:
        """The folder that becomes the wheel."""
        return f"{self.root}/stage"

    @property
    def files(self) -> str:
        """The recipe's own files."""
        return f"{self.root}/recipe"

    def shared(self, name: str) -> str:
        """A file of ours that every recipe may use."""
        return f"{self.root}/shared/{name}"

    def python_flags(self) -> list[str]:
        """Compiler flags of a CPython extension: headers, and the stable ABI's lowest version."""
        major, minor = PYTHON_SINCE.split(".")
        limited = f"0x{int(major):02x}{int(minor):02x}0000"
        return [f"-DPy_LIMITED_API={limited}", f"-I/usr/include/python{self.headers}"]

    def map_paths(self) -> list[str]:
        """Compiler flags that keep the container's paths out of the output."""
        return [f"-ffile-prefix-map={folder}=." for folder in (f"{self.root}/src", self.build)]


def refuse_python(version: str) -> None:
    """Refuse a Python that the wheels don't serve.

    Raises:
        UsageError: it is no version of Python 3, or below `PYTHON_SINCE`.
    """
    found = re.fullmatch(r"3\.(\d{1,3})", version)
    if found is None or int(found[1]) < int(PYTHON_SINCE.partition(".")[2]):
        raise UsageError(
            f"there are no wheels for Python {version}",
            resolution=f"they serve Python {PYTHON_SINCE} and every later one",
        )


# File name ending of an extension for the stable ABI.
EXTENSION = ".abi3.so"

Build = Callable[[Executor, Job], None]
