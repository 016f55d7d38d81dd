"""What only some users need, installed when asked for: PyTorch, s3fs, Dask, and converters' tools.

PyTorch, s3fs and Dask fit beside the rest. onnx2tf pins other versions of TensorFlow, ONNX and
NumPy than ours, so it lives in a virtual environment of its own and is only ever started as a
program; so do pnnx, which is one, the ncnn that runs here what it makes, ExecuTorch, and
TensorFlow.js's converter, beside which stand the files of npm that a browser is given.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from toolchain.core import paths, process, store
from toolchain.core.errors import CommandError, LockError, ModelError, UsageError
from toolchain.lock import mirrors, vendor

INSTALLED = "installed"  # in an environment of its own once it is whole
PYTORCH_INDEX = (
    "check pip's index; PyTorch's CPU build is on its own index, which pip is told of by "
    "PIP_EXTRA_INDEX_URL"
)


@dataclass(frozen=True, kw_only=True)
class Extra:
    """One extra.

    Attributes:
        name: as `invoke setup --extra` takes it.
        what: what it is for.
        module: what is imported of it.
        apart: whether it has an environment of its own.
        bare: whether its pins leave out what its projects ask for and this use of them doesn't.
        index: what to do where pip doesn't find it.
        browser: files of npm's packages that a page needs, in the folder node_modules of its pins.
    """

    name: str
    what: str
    module: str
    apart: bool
    bare: bool = False
    index: str = "check pip's index"
    browser: tuple[str, ...] = ()

    @property
    def requirements(self) -> Path:
        """Its pins, with hashes."""
        return paths.ROOT / f"requirements-{self.name}.txt"

    @property
    def packages(self) -> tuple[Path, ...]:
        """Its pins of npm's packages, with hashes; none where it has none."""
        folder = paths.ROOT / "toolchain" / "browser" / "npm"
        return (folder / "package.json", folder / "package-lock.json") if self.browser else ()


EXTRAS = {
    extra.name: extra
    for extra in (
        Extra(
            name="pytorch",
            what="reads PyTorch's .pt2 files",
            module="torch",
            apart=False,
            index=PYTORCH_INDEX,
        ),
        Extra(name="s3", what="keeps a shared cache in a bucket", module="s3fs", apart=False),
        Extra(name="dask", what="has jobs done by a cluster", module="distributed", apart=False),
        Extra(name="onnx2tf", what="makes .tflite of .onnx and .pt2", module="onnx2tf", apart=True),
        Extra(
            name="ncnn",
            what="makes ncnn's networks of ONNX graphs",
            module="pnnx",
            apart=True,
            bare=True,  # pnnx asks for PyTorch, which it brings within itself
        ),
        Extra(
            name="executorch",
            what="makes ExecuTorch's programs of .pt2 files",
            module="executorch",
            apart=True,
            bare=True,  # it asks for what its tests, its examples and other backends use
            index=PYTORCH_INDEX,
        ),
        Extra(
            name="tfjs",
            what="makes networks for browsers",
            module="tensorflowjs",
            apart=True,
            bare=True,  # it asks for JAX and decision forests, of which nothing is converted here
            browser=(
                "@tensorflow/tfjs/dist/tf.min.js",
                "@tensorflow/tfjs-backend-wasm/dist/tf-backend-wasm.min.js",
                "@tensorflow/tfjs-backend-wasm/dist/tfjs-backend-wasm.wasm",
                "@tensorflow/tfjs-backend-wasm/dist/tfjs-backend-wasm-simd.wasm",
                "@tensorflow/tfjs-backend-wasm/dist/tfjs-backend-wasm-threaded-simd.wasm",
            ),
        ),
    )
}


def extra(name: str) -> Extra:
    """One extra by its name.

    Raises:
        UsageError: there is none of that name.
    """
    if name not in EXTRAS:
        known = "; ".join(f"{e.name}, which {e.what}" for e in EXTRAS.values())
        raise UsageError(f"unknown extra: {name}", resolution=f"known: {known}")
    return EXTRAS[name]


def environment(one: Extra) -> Path:
    """The folder of an extra's own environment: another for other pins, or another Python."""
    made_from = [store.digest_file(pins) for pins in (one.requirements, *one.packages)]
    made_from.append(platform.python_version())
    return paths.cache() / "extras" / f"{one.name}-{store.digest_of(made_from)[:16]}"


def identity(name: str) -> str:
    """What decides what an extra does; empty when it isn't installed."""
    one = EXTRAS[name]
    if not present(one):
        return ""
    return environment(one).name if one.apart else importlib.metadata.version(one.module)


def present(one: Extra) -> bool:
    """Whether it is installed."""
    if one.apart:
        return (environment(one) / INSTALLED).is_file()
    return importlib.util.find_spec(one.module) is not None


def python(name: str) -> Path:
    """The Python that has an extra.

    Raises:
        ModelError: it isn't installed; the error says how to.
    """
    one = EXTRAS[name]
    if not present(one):
        raise ModelError(
            f"{name}, which {one.what}, is not installed",
            resolution=f"install the extra: invoke setup --extra {name}",
        )
    return environment(one) / "bin" / "python" if one.apart else Path(sys.executable)


def browser_files(name: str) -> Path:
    """The folder of what a page needs of an extra.

    Raises:
        ModelError: it isn't installed; the error says how to.
    """
    python(name)
    return environment(EXTRAS[name]) / "browser"


def install(name: str, progress: Callable[[str], None]) -> None:
    """Install an extra from its pins, every file checked by its hash.

    With EDGEWRIGHT_VENDOR, from that folder and without a network.

    Raises:
        UsageError: no such extra.
        ModelError: pip can't install it.
    """
    one = extra(name)
    if not one.apart:
        _pip(Path(sys.executable), one, progress)
        return
    folder = environment(one)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_name(f"{folder.name}.lock")):
        if present(one):
            return
        shutil.rmtree(folder, ignore_errors=True)  # of an installation that was cut short
        process.run([sys.executable, "-m", "venv", str(folder)])
        _pip(folder / "bin" / "python", one, progress)
        if one.browser:
            _keep_for_browser(folder, one, progress)
        (folder / INSTALLED).touch()


def keep(folder: Path, say: Callable[[str], None]) -> None:
    """Put the files of every extra into a vendor folder; one that can't be had stops no other.

    Raises:
        LockError: files of some can't be had; they are named.
    """
    failed: dict[str, LockError] = {}
    for one in EXTRAS.values():
        try:
            vendor.keep_requirements(folder, one.requirements, say, bare=one.bare)
            if one.browser:
                with tempfile.TemporaryDirectory() as unpacked:
                    _npm(Path(unpacked), one, say, ["--cache", str(folder / "npm")])
        except LockError as error:
            failed[one.name] = error
    if failed:
        raise LockError(
            f"all is kept but the files of: {', '.join(failed)}",
            detail="\n".join(f"{name}: {error.detail}" for name, error in failed.items()),
            resolution="\n".join(
                f"{EXTRAS[name].index}; or {error.resolution}" for name, error in failed.items()
            ),
        )


def _keep_for_browser(folder: Path, one: Extra, progress: Callable[[str], None]) -> None:
    """Put what a page needs into the environment's folder `browser`, and nothing else of npm's.

    Raises:
        ModelError: npm is missing, or can't install its packages.
    """
    kept = mirrors.vendor()
    options = [] if kept is None else ["--offline", "--cache", str(kept / "npm")]
    with tempfile.TemporaryDirectory() as unpacked:
        try:
            _npm(Path(unpacked), one, progress, options)
        except LockError as error:
            raise ModelError(
                error.brief, detail=error.detail, resolution=error.resolution
            ) from error
        (folder / "browser").mkdir()
        for file in one.browser:
            shutil.copy(Path(unpacked) / "node_modules" / file, folder / "browser")


def _npm(folder: Path, one: Extra, progress: Callable[[str], None], options: Sequence[str]) -> None:
    """Install an extra's packages of npm into a folder; no script of theirs is run.

    Raises:
        LockError: npm is missing, or can't have its packages.
    """
    for pins in one.packages:
        shutil.copy(pins, folder)
    command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", *options]
    try:
        process.run(command, cwd=folder, on_line=progress)
    except CommandError as error:
        raise LockError(
            f"npm can't install what a page needs of {one.name}",
            detail=error.output,
            resolution="install npm (apt-get install npm), and check its registry",
        ) from error


def _pip(interpreter: Path, one: Extra, progress: Callable[[str], None]) -> None:
    command = [str(interpreter), "-m", "pip", "install", "--disable-pip-version-check"]
    command += ["--require-hashes", "-r", str(one.requirements)]
    command += ["--no-deps"] if one.bare else []
    kept = mirrors.vendor()
    if kept is not None:
        command += ["--no-index", "--find-links", str(vendor.wheels(kept, one.requirements))]
    try:
        process.run(command, on_line=progress)
    except CommandError as error:
        raise ModelError(
            f"pip can't install the extra {one.name}",
            detail=error.output,
            resolution=one.index
            if kept is None
            else f"keep its files first, with a network: invoke lock --keep --vendor {kept}",
        ) from error
