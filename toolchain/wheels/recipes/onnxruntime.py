"""The recipe of ONNX Runtime: its library with the CPU's operators, and a Python package over it.

The library has every dependency inside, each a pinned source given to its CMake project by folder,
so nothing is looked up or downloaded. The package is ours: by its C API one wheel serves every
Python, where upstream's own module is compiled for each.
"""

from __future__ import annotations

from types import MappingProxyType

from toolchain.images.build_container import Executor
from toolchain.wheels import cross_compiler
from toolchain.wheels.recipe import Job, Licence, Recipe

ONNXRUNTIME = "onnxruntime"
BOOST = "boost"
SAFEINT = "safeint"

# What is read of the largest sources.
PARTS = {
    ONNXRUNTIME: (
        "LICENSE",
        "ThirdPartyNotices.txt",
        "VERSION_NUMBER",
        "cmake",
        "include",
        "onnxruntime/contrib_ops",
        "onnxruntime/core",
        "onnxruntime/lora",
        "tools/ci_build",
    ),
    BOOST: ("LICENSE_1_0.txt", "libs/mp11/CMakeLists.txt", "libs/mp11/include"),
    "onnx": (
        "CMakeLists.txt",
        "LICENSE",
        "VERSION_NUMBER",
        "cmake",
        "onnx/checker.cc",
        "onnx/checker.h",
        "onnx/common",
        "onnx/defs",
        "onnx/gen_proto.py",
        "onnx/inliner",
        "onnx/onnx-data.in.proto",
        "onnx/onnx-data_pb.h",
        "onnx/onnx-operators.in.proto",
        "onnx/onnx-operators_pb.h",
        "onnx/onnx.in.proto",
        "onnx/onnx_pb.h",
        "onnx/proto_utils.h",
        "onnx/py_utils.h",
        "onnx/shape_inference",
        "onnx/string_utils.h",
        "onnx/version_converter",
        "tools",
    ),
}

# CMake's names of the dependencies that the project fetches -> where they are in our sources.
FETCHED = {
    "ABSEIL_CPP": "abseil",
    "DATE": "date",
    "EIGEN": "eigen3",
    "FLATBUFFERS": "flatbuffers",
    "GSL": "ms-gsl",
    "MP11": f"{BOOST}/libs/mp11",
    "NLOHMANN_JSON": "nlohmann-json3",
    "ONNX": "onnx",
    "PROTOBUF": "protobuf",
    "RE2": "re2",
}

RECIPE = Recipe(
    name="onnxruntime",
    version="1.21.0",
    summary="ONNX Runtime with its CPU provider, for every Python",
    sources=(
        ONNXRUNTIME,
        *sorted({SAFEINT, *(place.partition("/")[0] for place in FETCHED.values())}),
    ),
    parts=MappingProxyType(PARTS),
    patches=MappingProxyType({ONNXRUNTIME: ("onnxruntime-1.21.0",)}),
    requires=("numpy>=1.23.2",),
    licences=(
        Licence(source=ONNXRUNTIME, path="LICENSE", spdx="MIT"),
        Licence(source=ONNXRUNTIME, path="ThirdPartyNotices.txt"),
        Licence(source="abseil", path="LICENSE", spdx="Apache-2.0"),
        Licence(source=BOOST, path="LICENSE_1_0.txt", spdx="BSL-1.0"),
        Licence(source="date", path="LICENSE.txt", spdx="MIT"),
        # only its MPL parts are compiled in (EIGEN_MPL2_ONLY)
        Licence(source="eigen3", path="COPYING.MPL2", spdx="MPL-2.0"),
        Licence(source="eigen3", path="COPYING.BSD", spdx="BSD-3-Clause"),
        Licence(source="flatbuffers", path="LICENSE", spdx="Apache-2.0"),
        Licence(source="ms-gsl", path="LICENSE", spdx="MIT"),
        Licence(source="nlohmann-json3", path="LICENSE.MIT", spdx="MIT"),
        Licence(source="onnx", path="LICENSE", spdx="Apache-2.0"),
        Licence(source="protobuf", path="LICENSE", spdx="BSD-3-Clause"),
        Licence(source="re2", path="LICENSE", spdx="BSD-3-Clause"),
        Licence(source=SAFEINT, path="usr/share/doc/libsafeint-dev/copyright", spdx="MIT"),
    ),
    extension=False,
    files="onnxruntime_files",
    image="cross-onnxruntime",
)

# The machines for which it is built and was tried: those that the project has no wheel for.
MACHINES = frozenset({"armv7l", "riscv64"})

# Its own name has the version behind it; the package looks for this one beside itself.
LIBRARY = "libonnxruntime.so"


def build(executor: Executor, job: Job) -> None:
    """Fill the stage with `onnxruntime`.

    Raises:
        BuildError: a step failed.
    """
    executor.call(
        cross_compiler.cmake(
            job,
            f"{job.source(ONNXRUNTIME)}/cmake",
            job.build,
            *_settings(job),
            flags=["-fvisibility=hidden"],
        ),
        on_line=job.progress,
    )
    executor.call(["ninja", "-C", job.build, f"-j{job.jobs}", ONNXRUNTIME], on_line=job.progress)
    package = f"{job.stage}/{ONNXRUNTIME}"
    executor.call(["mkdir", package])
    modules = [f"{job.files}/{ONNXRUNTIME}/{name}.py" for name in ("__init__", "c_api", "session")]
    executor.call(["install", "-m", "644", *modules, package])
    built = f"{job.build}/{LIBRARY}.{RECIPE.version}"
    executor.call([f"{job.triple}-strip", "--strip-unneeded", built])
    executor.call(["install", "-m", "755", built, f"{package}/{LIBRARY}"])


def _settings(job: Job) -> list[str]:
    # The entry of its API is in one of its archives, and its own list hides all else.
    link = [flag for flag in cross_compiler.LINK if "--exclude-libs" not in flag]
    return [
        "-Wno-dev",
        f"-DCMAKE_SHARED_LINKER_FLAGS={' '.join(link)}",
        "-DCMAKE_VISIBILITY_INLINES_HIDDEN=ON",
        "-DFETCHCONTENT_FULLY_DISCONNECTED=ON",
        "-DFETCHCONTENT_TRY_FIND_PACKAGE_MODE=NEVER",
        *(f"-DFETCHCONTENT_SOURCE_DIR_{k}={job.source(v)}" for k, v in FETCHED.items()),
        f"-Dsafeint_SOURCE_DIR={job.source(SAFEINT)}/usr/include/safeint",
        # the image's, of protobuf's own release
        "-DONNX_CUSTOM_PROTOC_EXECUTABLE=/usr/bin/protoc",
        "-Dprotobuf_WITH_ZLIB=OFF",
        "-DFLATBUFFERS_BUILD_FLATC=OFF",
        "-Donnxruntime_BUILD_SHARED_LIB=ON",
        "-Donnxruntime_BUILD_UNIT_TESTS=OFF",
        "-Donnxruntime_BUILD_OPSCHEMA_LIB=OFF",
        "-Donnxruntime_CROSS_COMPILING=ON",
        # what a CPU has it asks the kernel for
        "-Donnxruntime_ENABLE_CPUINFO=OFF",
    ]
