"""The recipe of OpenCV without windows: `cv2` with core, imgproc, imgcodecs, videoio and dnn.

What OpenCV would download is off, and what it carries of other projects is built in, so that a
device needs no library besides numpy. Kernels for vectors are chosen on the device.
"""

from __future__ import annotations

from types import MappingProxyType

from toolchain.images.build_container import Executor
from toolchain.wheels import cross_compiler
from toolchain.wheels.recipe import Job, Licence, Recipe

OPENCV = "opencv"
# What OpenCV carries that is compiled in -> the file of its licence, and what that grants.
CARRIED = {
    "dlpack": ("LICENSE", "Apache-2.0"),
    "flatbuffers": ("LICENSE.txt", "Apache-2.0"),
    "libjpeg-turbo": ("LICENSE.md", "IJG AND BSD-3-Clause AND Zlib"),
    "libpng": ("LICENSE", "libpng-2.0"),
    "libwebp": ("COPYING", "BSD-3-Clause"),
    "mlas": ("LICENSE", "MIT"),
    "protobuf": ("LICENSE", "BSD-3-Clause"),
    "zlib": ("LICENSE", "Zlib"),
}
OWN = "opencv-python"  # the package that makes a wheel of it


RECIPE = Recipe(
    name="opencv-python-headless",
    version="5.0.0.93",
    summary="OpenCV's pictures and networks, without windows",
    sources=(OPENCV,),
    parts=MappingProxyType({OPENCV: ("LICENSE.txt", OPENCV)}),
    requires=("numpy>=1.23.2",),
    licences=(
        Licence(source=OPENCV, path="opencv/LICENSE", spdx="Apache-2.0"),
        Licence(source=OPENCV, path="LICENSE.txt", spdx="MIT", of=OWN),
        *(
            Licence(source=OPENCV, path=f"opencv/3rdparty/{of}/{file}", spdx=spdx, of=of)
            for of, (file, spdx) in CARRIED.items()
        ),
    ),
    carried=MappingProxyType(dict.fromkeys((OWN, *CARRIED), "")),
    extension=True,
    files="opencv_files",
)

# The machines for which it is built and was tried: those that the project has no wheel for.
MACHINES = frozenset({"riscv64"})

MODULES = "core,imgproc,imgcodecs,videoio,dnn,python3"
# Kernels beside those that every CPU of the machine runs, each chosen by what the CPU has.
DISPATCHED = {"riscv64": "RVV"}

SETTINGS = (
    "-Wno-dev",
    "-DCMAKE_BUILD_TYPE=Release",
    f"-DBUILD_LIST={MODULES}",
    "-DBUILD_SHARED_LIBS=OFF",
    *(
        f"-DBUILD_{name}=OFF"
        for name in ("DOCS", "EXAMPLES", "JAVA", "PERF_TESTS", "TESTS", "opencv_apps")
    ),
    # nothing of the machine that builds, nor of the day
    "-DBUILD_INFO_SKIP_TIMESTAMP=ON",
    "-DBUILD_INFO_SKIP_SYSTEM_VERSION=ON",
    "-DOPENCV_FORCE_3RDPARTY_BUILD=ON",
    "-DOPENCV_GENERATE_SETUPVARS=OFF",
    "-DCMAKE_SKIP_RPATH=ON",
    "-DENABLE_CCACHE=OFF",
    # downloads, other vendors' libraries, and what no device of ours has
    *(
        f"-DWITH_{name}=OFF"
        for name in (
            "1394",
            "ADE",
            "AVIF",
            "CAROTENE",
            "EIGEN",
            "FFMPEG",
            "GSTREAMER",
            "GTK",
            "HAL_RVV",
            "IPP",
            "ITT",
            "JASPER",
            "KLEIDICV",
            "LAPACK",
            "OBSENSOR",
            "OPENCL",
            "OPENEXR",
            "OPENJPEG",
            "TIFF",
            "UNIFONT",
            "VA",
            "VTK",
        )
    ),
    # its kernels for vectors are not chosen when it runs
    "-DPNG_RISCV_RVV=off",
    "-DOPENCV_PYTHON3_INSTALL_PATH=python",
    "-DPYTHON3_LIMITED_API=ON",
    # 3.10's: since 3.11's, macros that it uses take no pointer but an object's
    "-DPYTHON3_LIMITED_API_VERSION=0x030a0000",
    "-DPYTHON3_EXECUTABLE=/usr/bin/python3",
)


def build(executor: Executor, job: Job) -> None:
    """Fill the stage with `cv2`.

    Raises:
        BuildError: a step failed.
    """
    numpy = executor.call(["python3", "-c", "import numpy; print(numpy.get_include())"]).strip()
    prefix = f"{job.build}/installed"
    link = (*cross_compiler.LINK, f"-Wl,--version-script={job.files}/exports.map")
    executor.call(
        cross_compiler.cmake(
            job,
            f"{job.source(OPENCV)}/opencv",
            job.build,
            *SETTINGS,
            f"-DCMAKE_INSTALL_PREFIX={prefix}",
            f"-DCMAKE_MODULE_LINKER_FLAGS={' '.join(link)}",
            "-DCPU_BASELINE=",
            f"-DCPU_DISPATCH={DISPATCHED[job.target.machine]}",
            f"-DPYTHON3_INCLUDE_DIR=/usr/include/python{job.headers}",
            f"-DPYTHON3_LIBRARY=/usr/lib/{job.triple}/libpython{job.headers}.so",
            f"-DPYTHON3_NUMPY_INCLUDE_DIRS={numpy}",
            flags=["-fvisibility=hidden"],
        ),
        on_line=job.progress,
    )
    executor.call(
        ["ninja", "-C", job.build, f"-j{job.jobs}", "opencv_python3"], on_line=job.progress
    )
    executor.call(
        ["cmake", "--install", job.build, "--component", "python", "--strip"],
        on_line=job.progress,
    )
    executor.call(["mv", f"{prefix}/python/cv2", job.stage])
