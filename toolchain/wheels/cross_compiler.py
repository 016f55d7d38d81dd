"""How a recipe drives the cross compiler: the flags and CMake settings that recipes share.

It decides how code is generated and linked, not what is built.
"""

from __future__ import annotations

from collections.abc import Sequence

from toolchain.wheels.recipe import Job

# One section a function lets the linker drop what nothing calls.
COMPILE = ("-O2", "-DNDEBUG", "-fPIC", "-ffunction-sections", "-fdata-sections")
# No build id: it is a hash of the unstripped file, of no use once it is stripped.
LINK = (
    "-Wl,--gc-sections",
    "-Wl,--as-needed",
    "-Wl,--build-id=none",
    "-Wl,-z,relro",
    "-Wl,-z,now",
    "-Wl,--exclude-libs,ALL",
)


def c_flags(job: Job) -> list[str]:
    """Flags of every compile of C."""
    return [*job.target.cflags, *COMPILE, *job.map_paths()]


def cxx_flags(job: Job) -> list[str]:
    """Flags of every compile of C++.

    The floors' headers are for C++ alone: in a C file it would come before the file's own
    `#define _GNU_SOURCE`.
    """
    flags = [*c_flags(job), "-include", job.shared("abi_floor.h")]
    if job.target.libm:
        flags += [f"-DEDGEWRIGHT_LIBM={job.target.libm}", "-include", job.shared("libm_floor.h")]
    return flags


def cmake(
    job: Job,
    source: str,
    build: str,
    *settings: str,
    flags: Sequence[str] = (),
    of_c: Sequence[str] = (),
) -> list[str]:
    """The CMake command that configures a tree for the job's target, with Ninja and ccache.

    Args:
        job: what is built.
        source: folder of the CMakeLists.txt in the container.
        build: folder for its objects in the container.
        settings: more arguments of CMake.
        flags: compile flags of C and C++ besides those of every compile.
        of_c: the same of C alone.
    """
    return [
        "cmake",
        *("-G", "Ninja", "-S", source, "-B", build),
        "-DCMAKE_SYSTEM_NAME=Linux",
        f"-DCMAKE_SYSTEM_PROCESSOR={job.target.machine}",
        f"-DCMAKE_C_COMPILER={job.triple}-gcc",
        f"-DCMAKE_CXX_COMPILER={job.triple}-g++",
        "-DCMAKE_C_COMPILER_LAUNCHER=ccache",
        "-DCMAKE_CXX_COMPILER_LAUNCHER=ccache",
        "-DCMAKE_BUILD_TYPE=None",
        f"-DCMAKE_C_FLAGS={' '.join([*c_flags(job), *flags, *of_c])}",
        f"-DCMAKE_CXX_FLAGS={' '.join([*cxx_flags(job), *flags])}",
        f"-DCMAKE_SHARED_LINKER_FLAGS={' '.join(LINK)}",
        *settings,
    ]
