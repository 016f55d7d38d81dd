"""The recipe of apache-tvm-ffi: the C ABI library under TVM, and its Python extension.

The distribution is upstream's by name and version; left out are what a device can't use: headers
and sources for compiling extensions, the test library, and libbacktrace.
"""

from __future__ import annotations

from toolchain.images.build_container import Executor
from toolchain.wheels import cross_compiler
from toolchain.wheels.recipe import EXTENSION, Job, Licence, Recipe
from toolchain.wheels.sources.tvm_tree import DLPACK, DLPACK_LICENCE
from toolchain.wheels.sources.tvm_tree import FFI as SOURCE

RECIPE = Recipe(
    name="apache-tvm-ffi",
    version="0.1.14.post0",
    summary="TVM FFI: the ABI and foreign function interface under Apache TVM",
    sources=(SOURCE,),
    tools=("cython",),
    patches={SOURCE: ("apache-tvm-ffi-0.1.14.post0",)},
    requires=("typing-extensions>=4.13",),
    licences=(
        Licence(source=SOURCE, path="LICENSE", spdx="Apache-2.0"),
        Licence(source=SOURCE, path="NOTICE"),
        DLPACK_LICENCE,
        Licence(
            source=SOURCE, path="licenses/LICENSE.pytorch.txt", spdx="BSD-3-Clause", of="pytorch"
        ),
        Licence(source=SOURCE, path="licenses/NOTICE.pytorch.txt", of="pytorch"),
    ),
    # `_optional_torch_c_dlpack.py` is derived from PyTorch, of an unknown version
    carried={**DLPACK, "pytorch": ""},
    extension=True,
)

# Of the Python package: the extension's own sources, and tests that need the test library.
LEFT_OUT = ("cython", "testing")


def build(executor: Executor, job: Job) -> None:
    """Fill the stage with `tvm_ffi`.

    Raises:
        BuildError: a step failed.
    """
    source = job.source(SOURCE)
    package = f"{job.stage}/tvm_ffi"
    executor.call(["cp", "-r", f"{source}/python/tvm_ffi", package])
    executor.call(["rm", "-r", *(f"{package}/{name}" for name in LEFT_OUT)])
    _library(executor, job, f"{package}/lib")
    _extension(executor, job, package)


def _library(executor: Executor, job: Job, into: str) -> None:
    """libtvm_ffi.so, by upstream's CMake."""
    build = f"{job.build}/library"
    executor.call(
        cross_compiler.cmake(
            job,
            job.source(SOURCE),
            build,
            "-DTVM_FFI_USE_LIBBACKTRACE=OFF",
            "-DTVM_FFI_BACKTRACE_ON_SEGFAULT=OFF",
        ),
        on_line=job.progress,
    )
    executor.call(
        ["ninja", "-C", build, f"-j{job.jobs}", "tvm_ffi_shared"],
        on_line=job.progress,
    )
    library = f"{build}/lib/libtvm_ffi.so"
    executor.call([f"{job.triple}-strip", "--strip-unneeded", library])
    executor.call(["install", "-D", "-m", "755", "-t", into, library])


def _extension(executor: Executor, job: Job, package: str) -> None:
    """The extension `tvm_ffi.core`, against the stable ABI."""
    source = job.source(SOURCE)
    generated = f"{job.build}/core.cpp"
    extension = f"{package}/core{EXTENSION}"
    job.progress("tvm_ffi.core: Cython")
    executor.call(
        ["python3", "-m", "cython", "--cplus", "--module-name", "tvm_ffi.core"]
        + ["python/tvm_ffi/cython/core.pyx", "-o", generated],
        cwd=source,
        env={"PYTHONPATH": job.source("cython")},
    )
    job.progress("tvm_ffi.core: compile")
    headers = (
        f"{source}/include",
        f"{source}/3rdparty/dlpack/include",
        f"{source}/python/tvm_ffi/cython",
    )
    compiled = f"{job.build}/core.o"
    executor.call(
        [
            "ccache",
            f"{job.triple}-g++",
            "-std=c++17",
            *cross_compiler.cxx_flags(job),
            "-fvisibility=hidden",
        ]
        + job.python_flags()
        + [f"-I{folder}" for folder in headers]
        + ["-c", generated, "-o", compiled]
    )
    executor.call(
        [f"{job.triple}-g++", "-shared", *cross_compiler.LINK, compiled, "-o", extension]
        + [f"-L{package}/lib", "-ltvm_ffi", "-Wl,--no-as-needed", "-Wl,-rpath,$ORIGIN/lib"]
    )
    executor.call([f"{job.triple}-strip", "--strip-unneeded", extension])
