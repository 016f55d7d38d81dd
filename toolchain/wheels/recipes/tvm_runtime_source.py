"""The recipe of the runtime that goes with the compiler from source: the same tree.

Compiler and runtime of TVM fit only when they are of one version, so a bundle of models that
`tvm_compiler` compiled has this runtime, and one of the release's models the release's.
"""

from __future__ import annotations

from toolchain.images.build_container import Box
from toolchain.wheels.recipe import Job, Licence, Recipe
from toolchain.wheels.recipes import tvm_runtime

TREE = "tilelang"
FFI = tvm_runtime.FFI
IN_TREE = "3rdparty/tvm"

RECIPE = Recipe(
    name="edgewright-tvm-runtime-source",
    version="0.25.dev0",
    summary="The runtime of edgewright's TVM from source: Relax virtual machine",
    sources=(TREE, FFI),
    patches={TREE: ("tvm-0.25.dev0", "tvm-0.25.dev0-runtime")},
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
    files="tvm_files",
    uses=("tvm_runtime",),
)

# As of the release's runtime; what moved between the two is where each stands here. The server of
# RPC is left out: programs that use it take the release.
PYTHON = {
    "": ("__init__", "base", "error", "libinfo", "support"),
    "contrib": ("__init__", "cc", "popen_pool", "tar", "utils"),
    "relax": ("__init__",),
    "rpc": ("__init__", "_ffi_api", "base", "client", "minrpc", "server", "testing"),
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
        "support",
        "vm",
    ),
    "runtime/disco": ("__init__", "_ffi_api", "process_pool", "session"),
}


def build(box: Box, job: Job) -> None:
    """Fill the stage with `tvm`.

    Raises:
        BuildError: a step failed.
    """
    tree = f"{job.source(TREE)}/{IN_TREE}"
    tvm_runtime.stage_python(box, job, f"{tree}/python/tvm", PYTHON)
    tvm_runtime.stage_library(box, job, tree)
