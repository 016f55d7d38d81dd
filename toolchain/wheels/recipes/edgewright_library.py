"""The recipe of the library for C and C++ on devices: libedgewright.so.

It is one more target of TensorFlow Lite's own project, configured as for the wheel, so that all but
its own few files come from the compiler's cache where the wheel was built. Of TVM it has the C
interface alone: TVM's libraries are opened on the device, and come out of TVM's own wheels. Packed
as a wheel is, it has a wheel's key, audit, bill of materials and proof; `toolchain.library` takes
the folder out.
"""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

from toolchain.images.build_container import Executor
from toolchain.wheels.recipe import Job, Licence
from toolchain.wheels.recipes import tflite_runtime
from toolchain.wheels.sources import tvm_tree

JSON = "nlohmann-json3"
NAME = "edgewright"
# The folder in the wheel that is the library's.
PACKAGE = "edgewright_library"

RECIPE = replace(
    tflite_runtime.RECIPE,
    name="edgewright-library",
    version="3.0.0",
    summary="Networks of an edgewright release for programs in C and C++",
    sources=(*tflite_runtime.RECIPE.sources, JSON, tvm_tree.FFI),
    parts=MappingProxyType({**tflite_runtime.PARTS, JSON: ("LICENSE.MIT", "single_include")}),
    requires=(),
    licences=(
        *tflite_runtime.RECIPE.licences,
        Licence(source=JSON, path="LICENSE.MIT", spdx="MIT"),
        Licence(source=tvm_tree.FFI, path="LICENSE", spdx="Apache-2.0"),
        Licence(source=tvm_tree.FFI, path="NOTICE"),
        tvm_tree.DLPACK_LICENCE,
    ),
    carried=tvm_tree.DLPACK,
    extension=False,
)

HEADERS = ("edgewright.h", "edgewright.hpp")
# What finds it: the folder below lib/ -> our files.
PACKAGES = {
    "pkgconfig": ("edgewright.pc",),
    "cmake/edgewright": ("edgewright-config.cmake", "edgewright-config-version.cmake"),
}


def build(executor: Executor, job: Job) -> None:
    """Fill the stage with `edgewright_library`: lib/, include/, and what finds them.

    Raises:
        BuildError: a step failed.
    """
    own = f"{job.files}/{PACKAGE}"
    tflite_runtime.configure(
        executor,
        job,
        f"-DCMAKE_PROJECT_tensorflow-lite_INCLUDE={own}/edgewright.cmake",
        f"-DEDGEWRIGHT_FILES={own}",
        f"-DEDGEWRIGHT_JSON={job.source(JSON)}/single_include",
        f"-DEDGEWRIGHT_TVM_FFI={job.source(tvm_tree.FFI)}",
    )
    executor.call(["ninja", "-C", job.build, f"-j{job.jobs}", NAME], on_line=job.progress)
    built = f"{job.build}/lib{NAME}.so"
    executor.call([f"{job.triple}-strip", "--strip-unneeded", built])
    folder = f"{job.stage}/{PACKAGE}"
    executor.call(["install", "-D", "-m", "755", "-t", f"{folder}/lib", built])
    placed = {"include": [f"{own}/include/{header}" for header in HEADERS]}
    for place, files in PACKAGES.items():
        placed[f"lib/{place}"] = [f"{own}/packages/{file}" for file in files]
    for place, paths in placed.items():
        executor.call(["install", "-D", "-m", "644", "-t", f"{folder}/{place}", *paths])
