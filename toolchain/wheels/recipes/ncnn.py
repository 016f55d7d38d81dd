"""The recipe of ncnn: its library with kernels for each CPU feature, and a Python package over it.

Which kernels run is chosen on the device (NCNN_RUNTIME_CPU). Its threads are ncnn's own, so no
OpenMP library is needed there. The package is ours: by the C API one wheel serves every Python,
where upstream's module is compiled for each.
"""

from __future__ import annotations

from types import MappingProxyType

from toolchain.images.build_container import Executor
from toolchain.wheels import cross_compiler
from toolchain.wheels.recipe import Job, Licence, Recipe

NCNN = "ncnn"

RECIPE = Recipe(
    name=NCNN,
    version="1.0.20261020",
    summary="ncnn's networks on the CPU, for every Python",
    sources=(NCNN,),
    # without its Python module and the compiler of its shaders
    parts=MappingProxyType({NCNN: ("CMakeLists.txt", "LICENSE.txt", "PKG-INFO", "cmake", "src")}),
    patches=MappingProxyType({NCNN: ("ncnn-1.0.20261020",)}),
    requires=("numpy>=1.23.2",),
    licences=(
        # its own, and that of the mathematical functions for vectors
        Licence(source=NCNN, path="LICENSE.txt", spdx="BSD-3-Clause AND Zlib"),
        # what a CPU has is found out by it; its head is its licence
        Licence(source=NCNN, path="src/ruapu.h", spdx="MIT", of="ruapu"),
    ),
    carried=MappingProxyType({"ruapu": ""}),
    extension=False,
    files="ncnn_files",
)

# The machines for which it is built and was tried.
MACHINES = frozenset({"aarch64", "armv7l", "riscv64", "x86_64"})

LIBRARY = "libncnn.so"
MODULES = ("__init__", "c_api", "mat", "net")
EXPORTS = "exports.map"

SETTINGS = (
    # of upstream's flags for a release, -ffast-math
    "-DCMAKE_BUILD_TYPE=Release",
    # the day that it was released, or it would be that of the build
    f"-DNCNN_VERSION={RECIPE.version.rpartition('.')[2]}",
    "-DNCNN_SHARED_LIB=ON",
    "-DNCNN_SIMPLEOMP=ON",
    "-DNCNN_RUNTIME_CPU=ON",
    "-DNCNN_VULKAN=OFF",
    # GCC 14 ends with an internal error in them, and no emulator has T-Head's vectors to try them
    "-DNCNN_XTHEADVECTOR=OFF",
    # pictures are numpy's matter
    "-DNCNN_PIXEL=OFF",
    "-DNCNN_BUILD_BENCHMARK=OFF",
    "-DNCNN_BUILD_EXAMPLES=OFF",
    "-DNCNN_BUILD_TOOLS=OFF",
    "-DNCNN_INSTALL_SDK=OFF",
)

# By its -ffast-math glibc's headers would offer functions of libmvec, which devices lack.
FLAGS = ("-U__FAST_MATH__",)
# A 32-bit target asks its CPUs for NEON and the compiler not: other libraries find it when they
# run, while this one has kernels for it where it is compiled for it. That of half floats it finds.
NEON = ("-mfpu=neon",)


def build(executor: Executor, job: Job) -> None:
    """Fill the stage with `ncnn`.

    Raises:
        BuildError: a step failed.
    """
    # a kernel that is called and was left out ends the build here, and not an import on a device
    link = (*cross_compiler.LINK, "-Wl,-z,defs", f"-Wl,--version-script={job.files}/{EXPORTS}")
    executor.call(
        cross_compiler.cmake(
            job,
            job.source(NCNN),
            job.build,
            *SETTINGS,
            f"-DCMAKE_SHARED_LINKER_FLAGS={' '.join(link)}",
            flags=[*FLAGS, *(NEON if job.target.machine == "armv7l" else ())],
        ),
        on_line=job.progress,
    )
    executor.call(["ninja", "-C", job.build, f"-j{job.jobs}", NCNN], on_line=job.progress)
    package = f"{job.stage}/{NCNN}"
    executor.call(["mkdir", package])
    modules = [f"{job.files}/{NCNN}/{name}.py" for name in MODULES]
    executor.call(["install", "-m", "644", *modules, package])
    built = f"{job.build}/src/{LIBRARY}.{RECIPE.version}"
    executor.call([f"{job.triple}-strip", "--strip-unneeded", built])
    executor.call(["install", "-m", "755", built, f"{package}/{LIBRARY}"])
