"""The recipe of TVM's runtime alone: it loads and runs compiled models, and compiles none.

Everything comes from the wheel of the release that compiles the models, which carries the
runtime's sources. A few headers are not in it; they come from another package's copy of the tree.
"""

from __future__ import annotations

from toolchain.images.build_container import Executor
from toolchain.wheels.recipe import Job, Licence, Recipe
from toolchain.wheels.sources import tvm_tree

TVM = "apache-tvm"

RECIPE = Recipe(
    name="edgewright-tvm-runtime",
    version="0.27.0.post1",
    summary="Apache TVM's runtime without the compiler: Relax virtual machine and RPC",
    sources=(TVM, tvm_tree.FFI, tvm_tree.TREE),
    patches={TVM: ("apache-tvm-0.27.0.post1",)},
    requires=tvm_tree.REQUIRES,
    licences=(
        *tvm_tree.licences(TVM, "tvm/"),
        Licence(source=tvm_tree.TREE, path=f"{tvm_tree.IN_TREE}/LICENSE", spdx="Apache-2.0"),
    ),
    carried=tvm_tree.CARRIED,
    extension=False,
    files="tvm_files",
)

# Of the other package's tree. They fit the release, which uses them unchanged.
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
    "runtime": tvm_tree.RUNTIME_MODULES,
    "support": ("__init__", "cc", "libinfo", "popen_pool", "tar", "utils"),
}


def build(executor: Executor, job: Job) -> None:
    """Fill the stage with `tvm`.

    Raises:
        BuildError: a step failed.
    """
    tvm_tree.stage_python(executor, job, f"{job.source(TVM)}/tvm", PYTHON)
    tree = f"{job.build}/tvm"
    executor.call(["mkdir", tree])
    executor.call(
        ["cp", "-r", "--parents", "src/runtime", "include", tree], cwd=f"{job.source(TVM)}/tvm"
    )
    executor.call(
        ["cp", "--parents", *MISSING_HEADERS, tree],
        cwd=f"{job.source(tvm_tree.TREE)}/{tvm_tree.IN_TREE}",
    )
    tvm_tree.stage_library(executor, job, tree)
