"""The recipe of the runtime that goes with the compiler from source: the same tree.

Compiler and runtime of TVM fit only when they are of one version, so a bundle of models that
`tvm_compiler` compiled has this runtime, and one of the release's models the release's.
"""

from __future__ import annotations

from toolchain.images.build_container import Executor
from toolchain.wheels.recipe import Job, Recipe
from toolchain.wheels.sources import tvm_tree
from toolchain.wheels.sources.tvm_tree import FFI, IN_TREE, TREE

RECIPE = Recipe(
    name="edgewright-tvm-runtime-source",
    version=tvm_tree.TREE_VERSION,
    summary="The runtime of edgewright's TVM from source: Relax virtual machine",
    sources=(TREE, FFI),
    patches={TREE: ("tvm-0.25.dev0", "tvm-0.25.dev0-runtime")},
    requires=tvm_tree.REQUIRES,
    licences=tvm_tree.licences(TREE, f"{IN_TREE}/"),
    carried=tvm_tree.CARRIED,
    extension=False,
    files="tvm_files",
)

# As of the release's runtime; what moved between the two is where each stands here. The server of
# RPC is left out: programs that use it take the release.
PYTHON = {
    "": ("__init__", "base", "error", "libinfo", "support"),
    "contrib": ("__init__", "cc", "popen_pool", "tar", "utils"),
    "relax": ("__init__",),
    "rpc": ("__init__", "_ffi_api", "base", "client", "minrpc", "server", "testing"),
    "runtime": (*tvm_tree.RUNTIME_MODULES, "support"),
    "runtime/disco": ("__init__", "_ffi_api", "process_pool", "session"),
}


def build(executor: Executor, job: Job) -> None:
    """Fill the stage with `tvm`.

    Raises:
        BuildError: a step failed.
    """
    tree = f"{job.source(TREE)}/{IN_TREE}"
    tvm_tree.stage_python(executor, job, f"{tree}/python/tvm", PYTHON)
    tvm_tree.stage_library(executor, job, tree)
