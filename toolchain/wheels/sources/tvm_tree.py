"""What the wheels of a tree of TVM share: requirements, licences, how its runtime is staged.

Three recipes use it: the runtime of the release, and compiler and runtime of the tree that another
package carries. It is no recipe itself.
"""

from __future__ import annotations

from collections.abc import Mapping

from toolchain.images.build_container import Executor
from toolchain.wheels import cross_compiler
from toolchain.wheels.recipe import Job, Licence

FFI = "apache-tvm-ffi"
REQUIRES = ("apache-tvm-ffi==0.1.14.post0", "numpy", "typing-extensions")

# What TVM FFI's source carries and whoever includes its headers compiles in.
DLPACK = {"dlpack": "1.3"}
DLPACK_LICENCE = Licence(
    source=FFI, path="licenses/LICENSE.dlpack.txt", spdx="Apache-2.0", of="dlpack"
)
# The same of a tree of TVM: conversions of float16, of LLVM's compiler-rt.
CARRIED = {**DLPACK, "compiler-rt": ""}

# The package whose source has a whole tree of TVM, and where.
TREE = "tilelang"
IN_TREE = "3rdparty/tvm"
TREE_VERSION = "0.25.dev0"

# Modules of `tvm.runtime` that every runtime has.
RUNTIME_MODULES = (
    "__init__",
    "_ffi_api",
    "_ffi_node_api",
    "_tensor",
    "device",
    "executable",
    "module",
    "object_generic",
    "params",
    "script_printer",
    "vm",
)


def licences(source: str, within: str) -> tuple[Licence, ...]:
    """The licence files of a tree of TVM and of TVM FFI.

    Args:
        source: the lock's entry that has the tree.
        within: what the tree's paths begin with in it, such as "3rdparty/tvm/".
    """
    return (
        Licence(source=source, path=f"{within}LICENSE", spdx="Apache-2.0"),
        Licence(source=source, path=f"{within}NOTICE"),
        Licence(
            source=source,
            path=f"{within}licenses/LICENSE.builtin_fp16.txt",
            spdx="MIT",
            of="compiler-rt",
        ),
        Licence(source=FFI, path="LICENSE", spdx="Apache-2.0"),
        Licence(source=FFI, path="NOTICE"),
        DLPACK_LICENCE,
    )


def stage_python(
    executor: Executor, job: Job, package: str, modules: Mapping[str, tuple[str, ...]]
) -> None:
    """Stage `tvm`'s Python.

    Args:
        executor: where.
        job: what is built.
        package: the patched package in the container.
        modules: names of modules by their folder below it.
    """
    files = [f"{folder}/{name}.py" for folder, names in modules.items() for name in names]
    executor.call(["mkdir", f"{job.stage}/tvm"])
    executor.call(
        ["cp", "--parents", *(f.lstrip("/") for f in files), f"{job.stage}/tvm"], cwd=package
    )


def stage_library(executor: Executor, job: Job, tree: str) -> None:
    """Build libtvm_runtime.so of a tree of TVM by our CMakeLists.txt, and stage it."""
    build = f"{job.build}/library"
    executor.call(
        cross_compiler.cmake(
            job,
            job.files,
            build,
            f"-DTVM_SOURCE={tree}",
            f"-DTVM_FFI_SOURCE={job.source(FFI)}",
        ),
        on_line=job.progress,
    )
    executor.call(["ninja", "-C", build, f"-j{job.jobs}", "tvm_runtime"], on_line=job.progress)
    library = f"{build}/libtvm_runtime.so"
    executor.call([f"{job.triple}-strip", "--strip-unneeded", library])
    executor.call(["install", "-D", "-m", "755", "-t", f"{job.stage}/tvm/lib", library])
