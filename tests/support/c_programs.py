"""Programs in C and C++ for devices, compiled in the images of the cross builds."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

from toolchain import targets
from toolchain.core import process
from toolchain.core.store import Store
from toolchain.images import build, specification
from toolchain.images.build_container import Mount
from toolchain.images.engine import Engine

# what pkg-config makes of a file whose variables are paths
PKG_CONFIG = """
import os, pathlib, re, sys
folder = pathlib.Path(os.environ["PKG_CONFIG_PATH"])
known = {"pcfiledir": str(folder)}
said = {}
for line in (folder / f"{sys.argv[-1]}.pc").read_text().splitlines():
    line = re.sub(r"\\$\\{(\\w+)\\}", lambda found: known[found[1]], line)
    if found := re.fullmatch(r"(\\w+)=(.*)", line):
        known[found[1]] = found[2]
    elif found := re.fullmatch(r"(\\w+): *(.*)", line):
        said[found[1]] = found[2]
print(said["Cflags"], said["Libs"])
"""


def compiled(folder: Path, library: Path, language: str, search: str, to: str) -> Path:
    """The program of a folder as its Makefile, or for C++ its CMakeLists.txt, has it compiled.

    Args:
        folder: of the program.
        library: the library's.
        language: of the program.
        search: where it looks for the library on the device.
        to: the device's target.
    """
    target = targets.target(to)
    engine, spec = Engine(), specification.spec("cross", target)
    image = build.build(spec, engine, Store(), progress=lambda _: None)
    mounts = [Mount(source=path, target=str(path)) for path in (folder, library)]
    if language == "c":
        tool = folder / "pkg_config.py"
        tool.write_text(PKG_CONFIG)
        given = [f"EDGEWRIGHT={library}", f"PKG_CONFIG={sys.executable} {tool}"]
        told = [f"CC={target.triple}-gcc", f"RPATH={search}"]
        asked = ["make", "--no-print-directory", "-n", *given, *told]
        # a make that runs the tests would have this one warn of its jobs
        text = process.run(asked, cwd=folder, env={"MAKEFLAGS": ""})
        commands = [shlex.split(line) for line in text.splitlines()]
        program = folder / "program"
    else:
        into = f"{folder}/build"
        configure = ["cmake", "-G", "Ninja", "-S", str(folder), "-B", into]
        about = [f"-DCMAKE_CXX_COMPILER={target.triple}-g++", f"-DCMAKE_PREFIX_PATH={library}"]
        system = ["-DCMAKE_SYSTEM_NAME=Linux", "-DCMAKE_CXX_FLAGS=-Wall -Wextra -Werror"]
        system += ["-DCMAKE_BUILD_WITH_INSTALL_RPATH=ON", f"-DCMAKE_INSTALL_RPATH={search}"]
        commands = [[*configure, *about, *system], ["cmake", "--build", into]]
        program = folder / "build/program"
    user = f"{os.getuid()}:{os.getgid()}"
    with engine.container(image.tag, mounts=mounts, user=user) as executor:
        for command in commands:
            executor.call(command, cwd=str(folder))
    return program


def compiled_alone(source: Path, library: Path, to: str) -> Path:
    """A program in C of one file, beside it; it finds the library where LD_LIBRARY_PATH has it.

    Args:
        source: the file.
        library: the library's folder.
        to: the device's target.
    """
    target, program = targets.target(to), source.with_suffix("")
    engine, spec = Engine(), specification.spec("cross", target)
    image = build.build(spec, engine, Store(), progress=lambda _: None)
    mounts = [Mount(source=path, target=str(path)) for path in (source.parent, library)]
    told = [f"-I{library}/include", str(source), f"-L{library}/lib", "-ledgewright"]
    with engine.container(image.tag, mounts=mounts, user=f"{os.getuid()}:{os.getgid()}") as there:
        strict = ["-Wall", "-Wextra", "-Werror"]
        there.call([f"{target.triple}-gcc", *strict, *told, "-o", str(program)])
    return program
