"""The recipe of TVM's compiler from source, with Debian's LLVM.

It runs in the image that built it (docker/tvm-compiler), where LLVM's shared library is: this wheel
is for that image alone, and for users who want to change the compiler. `tvm_runtime_source` is the
runtime that goes with it.
"""

from __future__ import annotations

from toolchain.images.build_container import Executor
from toolchain.wheels import cross_compiler
from toolchain.wheels.recipe import Job, Recipe
from toolchain.wheels.sources import tvm_tree
from toolchain.wheels.sources.tvm_tree import FFI, IN_TREE, TREE

RECIPE = Recipe(
    name="edgewright-tvm-compiler",
    version=tvm_tree.TREE_VERSION,
    summary="TVM's compiler from source, with Debian's LLVM",
    sources=(TREE, FFI),
    patches={TREE: ("tvm-0.25.dev0",)},
    requires=tvm_tree.REQUIRES,
    licences=tvm_tree.licences(TREE, f"{IN_TREE}/"),
    carried=tvm_tree.CARRIED,
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


def build(executor: Executor, job: Job) -> None:
    """Fill the stage with `tvm`, compiler and runtime.

    Raises:
        BuildError: a step failed.
    """
    tree = f"{job.source(TREE)}/{IN_TREE}"
    build = f"{job.build}/tvm"
    # one tvm_ffi for everything: the one of which we have a wheel
    executor.call(["rm", "-r", f"{tree}/3rdparty/tvm-ffi"])
    executor.call(["cp", "-r", job.source(FFI), f"{tree}/3rdparty/tvm-ffi"])
    executor.call(
        # the tree's own warnings would hide how far it is
        cross_compiler.cmake(job, tree, build, *SETTINGS, flags=("-w",)),
        on_line=job.progress,
    )
    executor.call(["ninja", "-C", build, f"-j{job.jobs}", *LIBRARIES], on_line=job.progress)
    executor.call(["cp", "-r", f"{tree}/python/tvm", job.stage])
    for library in (f"{build}/lib/lib{name}.so" for name in LIBRARIES):
        executor.call([f"{job.triple}-strip", "--strip-unneeded", library])
        executor.call(["install", "-D", "-m", "755", "-t", f"{job.stage}/tvm/lib", library])
