"""What a wheel's recipe is: data about the wheel and one function that builds it in a box.

A recipe module (tflite_runtime, tvm_ffi, tvm_runtime) holds `RECIPE` and `build`. `build` runs in
the cross image with no network and leaves the wheel's files, without .dist-info, below
`job.stage`. Fetching, unpacking, patching, packing and the audit are done around it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from toolchain.engine import Box
from toolchain.targets import Target

# Folders as the box sees them. They are the same in every build, on every machine.
SOURCES_IN_BOX = "/edgewright/src"
BUILD_IN_BOX = "/edgewright/build"
STAGE_IN_BOX = "/edgewright/stage"
FILES_IN_BOX = "/edgewright/recipe"


@dataclass(frozen=True, kw_only=True)
class Licence:
    """A licence file to ship: of which source, at which path in it."""

    source: str
    path: str


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What a wheel is made from and what its metadata says.

    Attributes:
        name: distribution name as PyPI spells it, such as tflite-runtime.
        version: of the distribution.
        summary: one line.
        import_names: packages whose import the device's self-check tries.
        sources: names of entries in the lock's sources; each is unpacked to
            `SOURCES_IN_BOX/<name>` with its top folder stripped (a wheel: as it is).
        patches: source name -> folder below patches/ whose series is applied with -p1.
        requires: run-time requirements (PEP 508).
        licence: SPDX expression of all that is inside.
        licences: files that go to .dist-info/licenses/<source>/.
        abi: "cp" for the version's own ABI, "abi3" for the stable one, "none" for no extension.
        abi3_since: lowest Python of an abi3 wheel, such as "3.12".
        python_since: lowest Python of a wheel without an extension, such as "3.10".
        files: folder beside the module with files of our own for the build, mounted at
            `FILES_IN_BOX`; empty for none.
    """

    name: str
    version: str
    summary: str
    import_names: tuple[str, ...]
    sources: tuple[str, ...]
    patches: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    requires: tuple[str, ...] = ()
    licence: str
    licences: tuple[Licence, ...]
    abi: str = "cp"
    abi3_since: str = ""
    python_since: str = "3.9"
    files: str = ""


@dataclass(frozen=True, kw_only=True)
class Job:
    """One wheel to build: a recipe for a target and a Python.

    Attributes:
        target: what it is for.
        python: version of the device's Python, such as "3.13".
        jobs: parallel compile processes.
        epoch: SOURCE_DATE_EPOCH, seconds.
    """

    target: Target
    python: str
    jobs: int
    epoch: int
    progress: Callable[[str], None] = field(default=lambda _line: None, compare=False)

    @property
    def triple(self) -> str:
        """GNU triple, which is also the prefix of the cross tools."""
        return self.target.triple

    def source(self, name: str) -> str:
        """Where an unpacked source is in the box."""
        return f"{SOURCES_IN_BOX}/{name}"

    @property
    def build(self) -> str:
        """An empty folder for objects."""
        return BUILD_IN_BOX

    @property
    def stage(self) -> str:
        """The folder that becomes the wheel."""
        return STAGE_IN_BOX

    @property
    def files(self) -> str:
        """The recipe's own files."""
        return FILES_IN_BOX

    @property
    def ext_suffix(self) -> str:
        """File name ending of a CPython extension for this Python and target."""
        return f".cpython-{self.python.replace('.', '')}-{self.target.triple}.so"

    def map_paths(self) -> list[str]:
        """Compiler flags that keep the box's paths out of the output."""
        return [f"-ffile-prefix-map={SOURCES_IN_BOX}=.", f"-ffile-prefix-map={BUILD_IN_BOX}=."]


Build = Callable[[Box, Job], None]
