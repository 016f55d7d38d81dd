"""The wheel of ncnn on emulated devices: with vectors, with floats of 16 bits, without either."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.support import named_wheels
from toolchain.wheels import build

RECIPE = "ncnn"
VECTORS = "rv64,v=true,vext_spec=v1.0"
BOTH = ("exact", "usual")
# By options as they are by default a riscv64 CPU without Zfh that has vectors ends the process: not
# run.
CPUS: dict[str, dict[str, tuple[str, ...]]] = {
    "rv64gc": {
        "rv64,v=false": BOTH,
        "rv64,v=false,Zfh=true": BOTH,
        f"{VECTORS},vlen=128": ("exact",),
        f"{VECTORS},vlen=256": ("exact",),
        f"{VECTORS},vlen=128,Zfh=true": ("exact",),
    },
    "aarch64": {"cortex-a72": BOTH, "cortex-a76": BOTH},
    "armv7l": {"cortex-a9": BOTH, "cortex-a15": BOTH},
    "x86_64": {"": BOTH},
}
# keep or compute float32 in 16 bits, unless that is turned off
HALF = ("rv64,v=false,Zfh=true", "cortex-a15", "cortex-a72", "cortex-a76", "")
PROGRAM = Path(named_wheels.__file__).with_name("ncnn_on_device.py")
MOST = {"x86_64": 9e6}  # bytes; it has kernels for eight sets of instructions
MOST_ELSEWHERE = 4e6


def of_each(named: str) -> pytest.MarkDecorator:
    """A test for each target, or for each of its CPUs, skipped where the wheel is not built."""
    pairs = [(target, cpu) for target, cpus in CPUS.items() for cpu in cpus]
    return pytest.mark.parametrize(
        named,
        [
            pytest.param(*one, marks=named_wheels.needed(RECIPE, "minutes", one[0]))
            for one in (pairs if "," in named else [(target,) for target in CPUS])
        ],
    )


def convolved(x: np.ndarray, w: np.ndarray, b: np.ndarray) -> np.ndarray:
    """A 3×3 convolution, zeros around; w is (out, in, 3, 3) or, of each, (channels, 1, 3, 3)."""
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))
    if w.shape[1] == 1:
        sums = np.einsum("chwij,cij->chw", windows, w[:, 0])
    else:
        sums = np.einsum("chwij,ocij->ohw", windows, w)
    return np.asarray(sums + b[:, None, None])


def write(folder: Path, name: str, layers: list[str], weights: list[np.ndarray]) -> None:
    """A network's graph and its weights, as the documentation of ncnn has both files."""
    blobs = len({blob for layer in layers for blob in layer.split()[4:] if "=" not in blob})
    text = "\n".join(["7767517", f"{len(layers)} {blobs}", *layers, ""])
    (folder / f"{name}.param").write_text(text)
    # kernels have a word before them that says how they are kept: 0 for float32
    parts = [(bytes(4) if w.ndim > 1 else b"") + w.tobytes() for w in weights]
    (folder / f"{name}.bin").write_bytes(b"".join(parts))


def a_classifier(folder: Path, channels: int) -> np.ndarray:
    """Convolutions of all channels and of each, a mean, a dense layer, a softmax; what it gives."""
    rng = np.random.default_rng(channels)

    def drawn(*shape: int) -> np.ndarray:
        return np.asarray((rng.normal(size=shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32))

    x, c = drawn(3, 13, 11) * 8, channels
    first, second, dense = drawn(c, 3, 3, 3), drawn(c, 1, 3, 3), drawn(10, c)
    biases = [drawn(c, 1)[:, 0], drawn(c, 1)[:, 0], drawn(10, 1)[:, 0]]
    layers = [
        "Input in0 0 1 in0",
        f"Convolution first 1 1 in0 a 0={c} 1=3 4=1 5=1 6={first.size} 9=1",
        f"ConvolutionDepthWise second 1 1 a b 0={c} 1=3 4=1 5=1 6={second.size} 7={c}",
        "Pooling mean 1 1 b c 0=1 4=1",
        f"InnerProduct dense 1 1 c d 0=10 1=1 2={dense.size}",
        "Softmax softmax 1 1 d out0 0=0 1=1",
    ]
    weights = [first, biases[0], second, biases[1], dense, biases[2]]
    write(folder, f"classifier{c}", layers, weights)
    np.save(folder / f"classifier{c}.in.npy", x)
    hidden = np.maximum(convolved(x, first, biases[0]), 0)
    means = convolved(hidden, second, biases[1]).mean(axis=(1, 2))
    scores = np.exp(dense @ means + biases[2])
    return np.asarray(scores / scores.sum())


def elementwise(folder: Path) -> np.ndarray:
    """Functions of single values, and a sum of two branches; what it gives."""
    x = np.random.default_rng(3).normal(size=(5, 7, 9)).astype(np.float32)
    layers = [
        "Input in0 0 1 in0",
        "Split split 1 2 in0 a b",
        "Sigmoid sigmoid 1 1 a c",
        "HardSwish hardswish 1 1 b d 0=1.666667e-01 1=5.000000e-01",
        "BinaryOp sum 2 1 c d e 0=0",
        "TanH tanh 1 1 e out0",
    ]
    write(folder, "elementwise", layers, [])
    np.save(folder / "elementwise.in.npy", x)
    sigmoid = 1 / (1 + np.exp(-x))
    return np.asarray(np.tanh(sigmoid + x * np.clip(x / 6 + 0.5, 0, 1)))


@of_each("target,cpu")
def test_networks_are_right_on_each_cpu_and_on_threads(
    target: str, cpu: str, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    kinds = CPUS[target][cpu]
    installed = named_wheels.unpacked(RECIPE, tmp_path_factory.mktemp("site"), target)
    expected = {f"classifier{c}": a_classifier(tmp_path, c) for c in (4, 13, 64)}
    expected["elementwise"] = elementwise(tmp_path)
    said = named_wheels.run(PROGRAM, tmp_path, installed, cpu, *kinds, target=target)
    assert said["version"].endswith(build.recipe(RECIPE)[0].version)
    assert said["names"] == [["in0"], ["out0"]]
    assert said["arrays"] == []
    assert said["lacking"] == -1
    assert {what for what, code in said["refused"].items() if code == 0} == set()
    off: dict[str, float] = dict.fromkeys(kinds, 0.0)
    for name, values in expected.items():
        for kind in kinds:
            made = [np.load(tmp_path / f"{name}.{threads}.{kind}.npy") for threads in (1, 2)]
            assert np.array_equal(*made), "threads change nothing"
            found = float(np.abs(made[0] - values).max() / np.abs(values).max())
            off[kind] = max(off[kind], found)
    assert off["exact"] < 5e-5
    # kernels of 16-bit floats run where the CPU has them, and only there
    assert off.get("usual", 0) < 1e-2
    assert (off.get("usual", 0) > 1e-4) == (cpu in HALF)


@of_each("target")
def test_it_needs_nothing_beyond_the_system_and_says_what_is_inside(
    target: str, tmp_path: Path
) -> None:
    installed = named_wheels.unpacked(RECIPE, tmp_path, target)
    found, (library,) = named_wheels.wheel(RECIPE, target), installed.rglob("*.so*")
    assert found is not None
    assert found.stat().st_size < MOST.get(target, MOST_ELSEWHERE)
    assert all(name.startswith("ncnn_") for name in named_wheels.exported(library))
    shipped = {path.name for path in installed.glob("*.dist-info/licenses/**/*") if path.is_file()}
    assert shipped == {"LICENSE.txt", "ruapu.h"}
