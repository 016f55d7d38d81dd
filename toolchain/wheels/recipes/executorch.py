"""The recipe of ExecuTorch: its project's libraries, and a Python package over them.

The project publishes wheels and no source. Theirs need PyTorch on the device, for their module of
Python alone; so that is replaced by ours over their C++ library, whose headers they ship, and numpy
is all that is needed.
"""

from __future__ import annotations

from types import MappingProxyType

from toolchain.images.build_container import Executor
from toolchain.wheels import cross_compiler
from toolchain.wheels.recipe import Job, Licence, Recipe

EXECUTORCH = "executorch"

# Those whose code the published libraries have inside and whose licences the published wheel lacks:
# `build` puts the texts, of our sources of them, where the recipe says.
INSIDE = {
    "cpuinfo": ("LICENSE", "BSD-2-Clause"),
    "eigen3": ("COPYING.MPL2", "MPL-2.0"),
    "flatbuffers": ("LICENSE", "Apache-2.0"),
    "fp16": ("LICENSE", "MIT"),
    "fxdiv": ("LICENSE", "MIT"),
    "pthreadpool": ("LICENSE", "BSD-2-Clause"),
    "xnnpack": ("LICENSE", "BSD-3-Clause"),
}
TEXTS = "licenses"

RECIPE = Recipe(
    name=EXECUTORCH,
    version="1.5.1",
    summary="ExecuTorch's programs on the CPU without PyTorch, for every Python",
    sources=(),
    tools=tuple(INSIDE),
    # a wheel of any Python: what is taken of it is not Python's
    binaries=(EXECUTORCH,),
    parts=MappingProxyType(
        {name: (path,) for name, (path, _) in INSIDE.items() if name != "xnnpack"}
    ),
    requires=("numpy>=1.23.2",),
    licences=(
        Licence(
            source=EXECUTORCH,
            path="executorch-1.5.1.dist-info/licenses/LICENSE",
            spdx="BSD-3-Clause",
        ),
        *(
            Licence(source=EXECUTORCH, path=f"{TEXTS}/{of}/{file}", spdx=spdx, of=of)
            for of, (file, spdx) in INSIDE.items()
        ),
    ),
    carried=MappingProxyType(dict.fromkeys(INSIDE, "")),
    extension=False,
    files="executorch_files",
)

# The machines for which there are libraries.
MACHINES = frozenset({"aarch64", "x86_64"})

# The published ones: the runtime, its kernels, XNNPACK, and what they share. Each registers what it
# has as it is loaded, so all are asked for though nothing of some is called.
LIBRARIES = (
    "executorch",
    "executorch_backend_xnnpack",
    "executorch_kernels_optimized",
    "executorch_kernels_quantized",
    "executorch_threadpool",
)
OURS = "executorch_c"
EXPORTS = "exports.map"
MODULES = ("__init__", "c_api", "runtime")


def build(executor: Executor, job: Job) -> None:
    """Fill the stage with `executorch`.

    Raises:
        BuildError: a step failed.
    """
    published = f"{job.source(EXECUTORCH)}/executorch"
    package = f"{job.stage}/{EXECUTORCH}"
    libraries = f"{package}/lib"
    executor.call(["mkdir", "-p", libraries])
    modules = [f"{job.files}/{EXECUTORCH}/{name}.py" for name in MODULES]
    executor.call(["install", "-m", "644", *modules, package])
    taken = [f"{published}/lib/lib{name}.so" for name in LIBRARIES]
    executor.call(["install", "-m", "755", *taken, libraries])
    for of, (file, _) in INSIDE.items():
        texts = f"{job.source(EXECUTORCH)}/{TEXTS}/{of}"
        executor.call(["install", "-D", "-m", "644", f"{job.source(of)}/{file}", "-t", texts])
    include = f"{published}/include"
    job.progress(f"lib{OURS}.so: compile")
    executor.call(
        ["ccache", f"{job.triple}-g++", "-std=c++17", *cross_compiler.cxx_flags(job)]
        + ["-fvisibility=hidden", "-Wno-deprecated-declarations"]
        + [f"-I{include}", f"-I{include}/executorch/runtime/core/portable_type/c10"]
        + ["-DC10_USING_CUSTOM_GENERATED_MACROS"]
        + ["-c", f"{job.files}/{OURS}.cpp", "-o", f"{job.build}/{OURS}.o"]
    )
    executor.call(
        [f"{job.triple}-g++", "-shared", *cross_compiler.LINK, "-Wl,-z,defs"]
        + [f"-Wl,--version-script={job.files}/{EXPORTS}"]
        + [f"{job.build}/{OURS}.o", "-o", f"{libraries}/lib{OURS}.so", f"-L{libraries}"]
        + ["-Wl,--no-as-needed", *(f"-l{name}" for name in LIBRARIES), "-Wl,-rpath,$ORIGIN"]
    )
    every = [f"{libraries}/lib{name}.so" for name in (*LIBRARIES, OURS)]
    executor.call([f"{job.triple}-strip", "--strip-unneeded", *every])
