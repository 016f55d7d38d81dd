"""The recipe of TVM's runtime alone: it loads and runs compiled models, and compiles none.

Everything comes from the wheel of the release that compiles the models, which carries the
runtime's sources. A few headers are not in it; they come from another package's copy of the tree.
"""

from __future__ import annotations

from collections.abc import Mapping

from toolchain.images.build_container import Box
from toolchain.wheels import cross_compiler
from toolchain.wheels.recipe import Job, Licence, Recipe

TVM = "apache-tvm"
FFI = "apache-tvm-ffi"
HEADERS_FROM = "tilelang"

RECIPE = Recipe(
    name="edgewright-tvm-runtime",
    version="0.27.0.post1",
    summary="Apache TVM's runtime without the compiler: Relax virtual machine and RPC",
    sources=(TVM, FFI, HEADERS_FROM),
    patches={TVM: ("apache-tvm-0.27.0.post1",)},
    requires=("apache-tvm-ffi==0.1.14.post0", "numpy", "typing-extensions"),
    licence="Apache-2.0 AND MIT",
    licences=(
        Licence(source=TVM, path="tvm/LICENSE"),
        Licence(source=TVM, path="tvm/NOTICE"),
        Licence(source=TVM, path="tvm/licenses/LICENSE.builtin_fp16.txt"),
        Licence(source=FFI, path="LICENSE"),
        Licence(source=FFI, path="NOTICE"),
        Licence(source=FFI, path="licenses/LICENSE.dlpack.txt"),
    ),
    extension=False,
    files="tvm_files",
)

# Below 3rdparty/tvm of that package. They fit the release, which uses them unchanged.
MISSING_HEADERS = (
    "3rdparty/compiler-rt/builtin_fp16.h",
    "include/tvm/support/io.h",
    "include/tvm/support/serializer.h",
    "src/support/arena.h",
    "src/support/base64.h",
    "src/support/bytes_io.h",
    "src/support/errno_handling.h",
    "src/support/pipe.h",
    "src/support/process_id.h",
    "src/support/ring_buffer.h",
    "src/support/socket.h",
    "src/support/ssize.h",
    "src/support/utils.h",
)

# What of the Python package a device runs: loading, the virtual machine, RPC. Anything else imports
# the compiler or, as the RPC tracker and proxy do, belongs on another machine and needs tornado.
PYTHON = {
    "": ("__init__", "_version", "base", "error", "libinfo"),
    "exec": (
        "__init__",
        "popen_worker",
        "query_rpc_tracker",
        "rpc_server",
    ),
    "relax": ("__init__",),
    "rpc": (
        "__init__",
        "_ffi_api",
        "base",
        "client",
        "minrpc",
        "server",
        "testing",
    ),
    "runtime": (
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
    ),
    "support": ("__init__", "cc", "libinfo", "popen_pool", "tar", "utils"),
}


def build(box: Box, job: Job) -> None:
    """Fill the stage with `tvm`.

    Raises:
        BuildError: a step failed.
    """
    stage_python(box, job, f"{job.source(TVM)}/tvm", PYTHON)
    tree = f"{job.build}/tvm"
    box.call(["mkdir", tree])
    box.call(
        ["cp", "-r", "--parents", "src/runtime", "include", tree], cwd=f"{job.source(TVM)}/tvm"
    )
    box.call(
        ["cp", "--parents", *MISSING_HEADERS, tree],
        cwd=f"{job.source(HEADERS_FROM)}/3rdparty/tvm",
    )
    stage_library(box, job, tree)


def stage_python(box: Box, job: Job, package: str, modules: Mapping[str, tuple[str, ...]]) -> None:
    """Stage `tvm`'s Python.

    Args:
        box: where.
        job: what is built.
        package: the patched package in the box.
        modules: names of modules by their folder below it.
    """
    files = [f"{folder}/{name}.py" for folder, names in modules.items() for name in names]
    box.call(["mkdir", f"{job.stage}/tvm"])
    box.call(["cp", "--parents", *(f.lstrip("/") for f in files), f"{job.stage}/tvm"], cwd=package)


def stage_library(box: Box, job: Job, tree: str) -> None:
    """Build libtvm_runtime.so of a tree of TVM by our CMakeLists.txt, and stage it."""
    build = f"{job.build}/library"
    box.call(
        cross_compiler.cmake(
            job,
            job.files,
            build,
            f"-DTVM_SOURCE={tree}",
            f"-DTVM_FFI_SOURCE={job.source(FFI)}",
        ),
        on_line=job.progress,
    )
    box.call(["ninja", "-C", build, f"-j{job.jobs}", "tvm_runtime"], on_line=job.progress)
    library = f"{build}/libtvm_runtime.so"
    box.call([f"{job.triple}-strip", "--strip-unneeded", library])
    box.call(["install", "-D", "-m", "755", "-t", f"{job.stage}/tvm/lib", library])
