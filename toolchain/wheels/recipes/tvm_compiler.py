"""The recipe of TVM's compiler from source, with Debian's LLVM.

It runs in the image that built it (docker/tvm-compiler), where LLVM's shared library is: this wheel
is for that image alone, and for users who want to change the compiler. `tvm_runtime_source` is the
runtime that goes with it.
"""

from __future__ import annotations

from toolchain.images.build_container import Box
from toolchain.wheels import cross_compiler
from toolchain.wheels.recipe import Job, Licence, Recipe

TREE = "tilelang"
FFI = "apache-tvm-ffi"
IN_TREE = "3rdparty/tvm"

RECIPE = Recipe(
    name="edgewright-tvm-compiler",
    version="0.25.dev0",
    summary="TVM's compiler from source, with Debian's LLVM",
    sources=(TREE, FFI),
    patches={TREE: ("tvm-0.25.dev0",)},
    requires=("apache-tvm-ffi==0.1.14.post0", "numpy", "typing-extensions"),
    licence="Apache-2.0 AND MIT",
    licences=(
        Licence(source=TREE, path=f"{IN_TREE}/LICENSE"),
        Licence(source=TREE, path=f"{IN_TREE}/NOTICE"),
        Licence(source=TREE, path=f"{IN_TREE}/licenses/LICENSE.builtin_fp16.txt"),
        Licence(source=FFI, path="LICENSE"),
        Licence(source=FFI, path="NOTICE"),
        Licence(source=FFI, path="licenses/LICENSE.dlpack.txt"),
    ),
    extension=False,
    image="tvm-compiler",
    portable=False,
)

LIBRARIES = ("tvm_runtime", "tvm_compiler")
SETTINGS = (
    # its shared library; the static ones would be 100 MB of the wheel
    "-DUSE_LLVM=llvm-config-19 --link-shared",
    "-DHIDE_PRIVATE_SYMBOLS=ON",
    "-DUSE_GTEST=OFF",
    "-DUSE_ALTERNATIVE_LINKER=OFF",
    "-DUSE_CCACHE=OFF",  # `cross.cmake` starts it
    "-DTVM_FFI_USE_LIBBACKTRACE=OFF",
    "-DTVM_FFI_BACKTRACE_ON_SEGFAULT=OFF",
    # eight files at a time: their headers are most of the work
    "-DCMAKE_UNITY_BUILD=ON",
    "-DCMAKE_UNITY_BUILD_BATCH_SIZE=8",
    "-DCMAKE_BUILD_WITH_INSTALL_RPATH=ON",
    "-DCMAKE_INSTALL_RPATH=$ORIGIN;$ORIGIN/../../tvm_ffi/lib",
)


def build(box: Box, job: Job) -> None:
    """Fill the stage with `tvm`, compiler and runtime.

    Raises:
        BuildError: a step failed.
    """
    tree = f"{job.source(TREE)}/{IN_TREE}"
    build = f"{job.build}/tvm"
    # one tvm_ffi for everything: the one of which we have a wheel
    box.call(["rm", "-r", f"{tree}/3rdparty/tvm-ffi"])
    box.call(["cp", "-r", job.source(FFI), f"{tree}/3rdparty/tvm-ffi"])
    box.call(
        # the tree's own warnings would hide how far it is
        cross_compiler.cmake(job, tree, build, *SETTINGS, flags=("-w",)),
        on_line=job.progress,
    )
    box.call(["ninja", "-C", build, f"-j{job.jobs}", *LIBRARIES], on_line=job.progress)
    box.call(["cp", "-r", f"{tree}/python/tvm", job.stage])
    for library in (f"{build}/lib/lib{name}.so" for name in LIBRARIES):
        box.call([f"{job.triple}-strip", "--strip-unneeded", library])
        box.call(["install", "-D", "-m", "755", "-t", f"{job.stage}/tvm/lib", library])
