"""The recipe of tflite_runtime: TensorFlow Lite's interpreter with XNNPACK, for Python.

The tree is TensorFlow's own CMake project; each dependency is a pinned source given to it by
folder, so nothing is looked up or downloaded. What differs from upstream is in patches/.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from types import MappingProxyType

from toolchain.core.errors import BuildError
from toolchain.images.build_container import Executor
from toolchain.wheels import cross_compiler, spills
from toolchain.wheels.recipe import EXTENSION, Job, Licence, Recipe

TENSORFLOW = "tensorflow"
XNNPACK = "xnnpack"
RUY = "libruy-dev"

# What is read of the largest sources; TensorFlow alone has 32,000 files.
PARTS = {
    TENSORFLOW: (
        "LICENSE",
        "tensorflow/core/public",
        "tensorflow/core/util",
        "tensorflow/lite",
        "tensorflow/tsl",
        "third_party",
    ),
    "eigen3": ("COPYING.BSD", "COPYING.MPL2", "Eigen", "unsupported/Eigen"),
}

# CMake's names of the dependencies that TensorFlow's project fetches -> our sources.
FETCHED = {
    "ABSEIL-CPP": "abseil",
    "CPUINFO": "cpuinfo",
    "EIGEN": "eigen3",
    "FARMHASH": "farmhash",
    "FFT2D": "oourafft",
    "FLATBUFFERS": "flatbuffers",
    "FP16_HEADERS": "fp16",
    "GEMMLOWP": "gemmlowp",
    "NEON2SSE": "neon-2-sse",
    "XNNPACK": XNNPACK,
}

# The same for those that XNNPACK's project fetches.
FETCHED_BY_XNNPACK = {
    "CPUINFO": "cpuinfo",
    "FP16": "fp16",
    "FXDIV": "fxdiv",
    "PTHREADPOOL": "pthreadpool",
}

RECIPE = Recipe(
    name="tflite-runtime",
    version="2.14.1",
    summary="TensorFlow Lite's interpreter, with XNNPACK",
    sources=(TENSORFLOW, *sorted({*FETCHED.values(), *FETCHED_BY_XNNPACK.values()})),
    # the archive does not serve ruy's source, but has it built static for each architecture
    binaries=(RUY,),
    parts=MappingProxyType(PARTS),
    patches=MappingProxyType(
        {TENSORFLOW: ("tensorflow-2.14.1",), XNNPACK: ("xnnpack-20241108",)},
    ),
    requires=("numpy>=1.23.2",),
    licences=(
        Licence(source=TENSORFLOW, path="LICENSE", spdx="Apache-2.0"),
        Licence(source="abseil", path="LICENSE", spdx="Apache-2.0"),
        Licence(source="cpuinfo", path="LICENSE", spdx="BSD-2-Clause"),
        # only its MPL parts are compiled in (EIGEN_MPL2_ONLY)
        Licence(source="eigen3", path="COPYING.MPL2", spdx="MPL-2.0"),
        Licence(source="eigen3", path="COPYING.BSD", spdx="BSD-3-Clause"),
        Licence(source="farmhash", path="COPYING", spdx="MIT"),
        Licence(source="flatbuffers", path="LICENSE", spdx="Apache-2.0"),
        Licence(source="fp16", path="LICENSE", spdx="MIT"),
        Licence(source="fxdiv", path="LICENSE", spdx="MIT"),
        Licence(source="gemmlowp", path="LICENSE", spdx="Apache-2.0"),
        Licence(source="neon-2-sse", path="LICENSE", spdx="LicenseRef-neon-2-sse"),
        Licence(source="oourafft", path="readme.txt", spdx="LicenseRef-oourafft"),
        Licence(source="oourafft", path="readme2d.txt", spdx="LicenseRef-oourafft"),
        Licence(source="pthreadpool", path="LICENSE", spdx="BSD-2-Clause"),
        Licence(source=RUY, path="usr/share/doc/libruy-dev/copyright", spdx="Apache-2.0"),
        Licence(source=XNNPACK, path="LICENSE", spdx="BSD-3-Clause"),
    ),
    # TensorFlow's project asks for it where the processor's name has "x86" in it
    only_for=MappingProxyType({"neon-2-sse": "x86_64"}),
    extension=True,
    files="tflite_files",
    image="cross-clang",
)

# XNNPACK's Arm and x86 kernels mix pointers to types of one size; since GCC 14 that is an error.
OF_C = ("-Wno-error=incompatible-pointer-types",)

# The compiler of C where it isn't GCC. For x86 GCC keeps sums of 151 inner loops of the kernels on
# the stack, clang of 79 (spills.toml); on RISC-V its vector code takes up to 5 % more instructions.
CLANG_FOR = frozenset({"x86_64"})
KERNELS = r"^xnn_.*_ukernel"
SPILLS = Path(__file__).with_name("tflite_files") / "spills.toml"

WRAPPER = "_pywrap_tensorflow_interpreter_wrapper"

# Upstream's pip package, besides the wrapper.
PYTHON = (
    "python/interpreter.py",
    "python/metrics/metrics_interface.py",
    "python/metrics/metrics_portable.py",
)


def build(executor: Executor, job: Job) -> None:
    """Fill the stage with `tflite_runtime`.

    Raises:
        BuildError: a step failed.
    """
    lite = f"{job.source(TENSORFLOW)}/tensorflow/lite"
    package = f"{job.stage}/tflite_runtime"
    wrapper = _wrapper(executor, job)
    executor.call(["mkdir", package])
    executor.call(["install", "-m", "644", *(f"{lite}/{module}" for module in PYTHON), package])
    version = f"__version__ = '{RECIPE.version}'\n__git_version__ = 'v{RECIPE.version}'\n"
    # a file of given text, without a shell
    executor.call(
        ["python3", "-c", "import sys; open(sys.argv[1], 'w').write(sys.argv[2])"]
        + [f"{package}/__init__.py", version]
    )
    executor.call(["install", "-m", "755", wrapper, f"{package}/{WRAPPER}{EXTENSION}"])


def configure(executor: Executor, job: Job, *more: str) -> None:
    """Configure TensorFlow Lite's project for the wheel, or for what shares its objects.

    Args:
        executor: of the container.
        job: what is built.
        more: settings that change the command of no object of TensorFlow Lite, so that whatever is
            built with others finds these in the compiler's cache.

    Raises:
        BuildError: CMake failed.
    """
    lite = f"{job.source(TENSORFLOW)}/tensorflow/lite"
    numpy = executor.call(["python3", "-c", "import numpy; print(numpy.get_include())"]).strip()
    flags = ["-fvisibility=hidden", *job.python_flags(), f"-I{numpy}"]
    settings = [*_settings(job), *more]
    executor.call(
        cross_compiler.cmake(job, lite, job.build, *settings, flags=flags, of_c=OF_C),
        on_line=job.progress,
    )


def _wrapper(executor: Executor, job: Job) -> str:
    """Compile the extension; return its path in the container."""
    configure(executor, job)
    executor.call(["ninja", "-C", job.build, f"-j{job.jobs}", WRAPPER], on_line=job.progress)
    wrapper = f"{job.build}/{WRAPPER}.so"
    _refuse_spills(executor, job, wrapper)
    executor.call([f"{job.triple}-strip", "--strip-unneeded", wrapper])
    return wrapper


def _refuse_spills(executor: Executor, job: Job, library: str) -> None:
    """Refuse a library whose kernels keep a sum on the stack in an inner loop.

    Raises:
        BuildError: a kernel does, and it isn't among the exceptions of its machine.
    """
    job.progress("looking for sums on the stack in the kernels' loops")
    known = tomllib.loads(SPILLS.read_text())[job.target.machine]
    exceptions = known.pop("exceptions")
    objdump = f"{job.triple}-objdump"
    text = executor.call([objdump, "--disassemble", "--no-show-raw-insn", library])
    faults = [
        f"{loop.function}: {loop.sums} in a loop of {loop.instructions} instructions"
        for loop in spills.loops(text, spills.Disassembly(**known), KERNELS)
        if not any(re.fullmatch(name, loop.function) for name in exceptions)
    ]
    if faults:
        raise BuildError(
            f"{len(faults)} kernel loops of XNNPACK keep sums on the stack",
            detail="\n".join(faults),
            resolution=f"compile them otherwise, or give the reason in {SPILLS.name}",
        )


def _settings(job: Job) -> list[str]:
    return [
        "-Wno-dev",
        *(["-DCMAKE_C_COMPILER=clang-19"] if job.target.machine in CLANG_FOR else []),
        # some dependencies ask for a CMake older than the present one supports
        "-DCMAKE_POLICY_VERSION_MINIMUM=3.5",
        "-DCMAKE_VISIBILITY_INLINES_HIDDEN=ON",
        "-DCMAKE_POLICY_DEFAULT_CMP0063=NEW",
        "-DFETCHCONTENT_FULLY_DISCONNECTED=ON",
        *(f"-DFETCHCONTENT_SOURCE_DIR_{k}={job.source(v)}" for k, v in FETCHED.items()),
        *(f"-D{k}_SOURCE_DIR={job.source(v)}" for k, v in FETCHED_BY_XNNPACK.items()),
        f"-DFETCHCONTENT_SOURCE_DIR_RUY={job.files}/ruy",
        f"-DRUY_PACKAGE={job.source(RUY)}",
        f"-DRUY_TRIPLE={job.triple}",
        "-DTFLITE_ENABLE_XNNPACK=ON",
        "-DTFLITE_ENABLE_GPU=OFF",
        "-DTFLITE_ENABLE_NNAPI=OFF",
        "-DXNNPACK_LIBRARY_TYPE=static",
        "-DXNNPACK_ENABLE_KLEIDIAI=OFF",
    ]
