"""Runs on a device: the library for C beside the one for Python, on the same networks.

    python c_library_on_device.py libedgewright.so CURRENT RELEASES

Every network of CURRENT that both have, and `net` of each release in the folder RELEASES, is given
the same by both. Prints one JSON object: by network how many outputs were compared and which
differ in a bit; and what the library says to what it refuses.
"""

from __future__ import annotations

import ctypes
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import edgewright_device as device
import numpy as np
from edgewright_device import load, models
from edgewright_device.release import Release

ABI = 3
OK = 0
SMALL = "digits-cnn"
TFLITE, TVM = "tflite", "tvm"
TYPES = {
    name: number
    for number, name in enumerate(
        ("bool", "float16", "float32", "float64", "int8", "int16", "int32", "int64")
        + ("uint8", "uint16", "uint32", "uint64"),
        start=1,
    )
}
SCORE = 0.25
SOUNDS = (1, 200, 5000)  # samples
PICTURES = ((8, 8, 1), (5, 9, 3), (40, 31, 3), (20, 64, 4), (17, 8, 1))


class Options(ctypes.Structure):
    """edgewright_options."""

    _fields_ = (
        ("release", ctypes.c_char_p),
        ("runtime", ctypes.c_char_p),
        ("variant", ctypes.c_char_p),
        ("batch", ctypes.c_size_t),
        ("threads", ctypes.c_size_t),
        ("opt_level", ctypes.c_char_p),
    )


class Class(ctypes.Structure):
    """edgewright_class."""

    _fields_ = (
        ("label", ctypes.c_char_p),
        ("number", ctypes.c_size_t),
        ("score", ctypes.c_double),
    )


class Box(ctypes.Structure):
    """edgewright_box."""

    _fields_ = (
        ("label", ctypes.c_char_p),
        ("number", ctypes.c_size_t),
        *((name, ctypes.c_double) for name in ("score", "left", "top", "right", "bottom")),
    )


class Library:
    """The functions of edgewright.h, called as a C program does."""

    def __init__(self, path: str) -> None:
        self._library = ctypes.CDLL(path)
        self._library.edgewright_error.restype = ctypes.c_char_p

    def __getattr__(self, name: str) -> Any:
        return getattr(self._library, f"edgewright_{name}")

    def said(self) -> str:
        """What the last failure was."""
        return str(self.error().decode())

    def opened(
        self, name: str, release: Path, runtime: str = TFLITE, abi: int = ABI, level: str = ""
    ) -> tuple[int, ctypes.c_void_p]:
        """The status of loading a network, and the network."""
        network = ctypes.c_void_p()
        options = Options(str(release).encode(), runtime.encode(), None, 0, 0, level.encode())
        status = self.load_for_abi(abi, name.encode(), ctypes.byref(options), ctypes.byref(network))
        return status, network

    def network(
        self, name: str, release: Path, runtime: str = TFLITE, level: str = ""
    ) -> ctypes.c_void_p:
        """A network that is there."""
        status, network = self.opened(name, release, runtime, level=level)
        assert status == OK, self.said()
        return network

    def given(self, network: ctypes.c_void_p, name: str, array: np.ndarray) -> int:
        """The status of giving an input an array."""
        values = np.ascontiguousarray(array)
        return int(
            self.set(
                network,
                name.encode(),
                TYPES[values.dtype.name],
                values.ctypes.data_as(ctypes.c_void_p),
                ctypes.c_size_t(values.size),
            )
        )

    def shown(self, network: ctypes.c_void_p, picture: np.ndarray) -> int:
        """The status of giving a picture."""
        sizes = [ctypes.c_size_t(size) for size in picture.shape]
        return int(self.set_picture(network, picture.ctypes.data_as(ctypes.c_void_p), *sizes))

    def output(self, network: ctypes.c_void_p, name: str, like: np.ndarray) -> np.ndarray:
        """An output in the shape and type of an array."""
        values = np.empty_like(like)
        status = self.get(
            network,
            name.encode(),
            TYPES[values.dtype.name],
            values.ctypes.data_as(ctypes.c_void_p),
            ctypes.c_size_t(values.size),
        )
        assert status == OK, self.said()
        return values


def same(library: Library, network: ctypes.c_void_p, wanted: dict[str, np.ndarray]) -> list[bool]:
    """Whether each output of a run is the wanted one, bit for bit."""
    assert library.run(network) == OK, library.said()
    return [
        library.output(network, name, array).tobytes() == array.tobytes()
        for name, array in wanted.items()
    ]


def compared(library: Library, name: str, release: Path, runtime: str = TFLITE) -> list[bool]:
    """Whether both libraries give the same for arrays, one after another, and for pictures."""
    net = load(name, runtime=runtime, release=release)
    network = library.network(name, release, runtime)
    random = np.random.default_rng(0)
    found = []
    for step in range(3):
        arrays = {}  # of the inputs without state
        for one in (net._inputs[own][0] for own in net._own):
            real = random.random(one["shape"]) * 4 - 2
            whole = one["dtype"] != "float32" and one.get("quantization") is None
            arrays[one["name"]] = (real * 9).astype(one["dtype"]) if whole else real
            status = library.given(network, one["name"], arrays[one["name"]])
            assert status == OK, library.said()
        found += same(library, network, net(arrays))
        if step == 1:
            net.reset()
            library.reset(network)
    if net._preprocessing is not None:
        for shape in PICTURES:
            found += same_of_picture(
                library, network, net, random.integers(0, 256, shape, np.uint8)
            )
    if net._spectrogram is not None:
        for length in SOUNDS:
            found.append(same_sound(library, network, net, random.random(length) * 2 - 1))
    library.free(network)
    return found


def same_of_picture(
    library: Library, network: ctypes.c_void_p, net: Any, picture: np.ndarray
) -> list[bool]:
    """Whether both libraries give the same for a picture; nothing where both refuse it."""
    if library.shown(network, picture) != OK:
        assert "resizes nothing" in library.said()
        return []
    wanted = net(picture)
    found = same(library, network, wanted)
    if net._detection is not None:
        found.append(boxes(library, network) == net.detect(picture, score=SCORE))
    elif net.name == "net" and not net.labels:
        found.append(masks(library, network, picture) == net.segment(picture).tobytes())
    elif len(wanted) == 1:
        found.append(classes(library, network) == net.classify(picture))
    return found


def boxes(library: Library, network: ctypes.c_void_p) -> list[device.Box]:
    """The objects in the picture of the last run."""
    count, best = ctypes.c_size_t(99), (Box * 99)()
    score = ctypes.c_double(SCORE)
    assert library.detect(network, score, best, ctypes.byref(count)) == OK, library.said()
    return [
        device.Box(one.label.decode(), one.score, one.left, one.top, one.right, one.bottom)
        for one in best[: count.value]
    ]


def masks(library: Library, network: ctypes.c_void_p, picture: np.ndarray) -> bytes:
    """The class of each pixel of the picture of the last run."""
    mask = np.empty(picture.shape[:2], np.uint8)
    to, count = mask.ctypes.data_as(ctypes.c_void_p), ctypes.c_size_t(mask.size)
    assert library.segment(network, to, count) == OK, library.said()
    return mask.tobytes()


def same_sound(library: Library, network: ctypes.c_void_p, net: Any, sound: np.ndarray) -> bool:
    """Whether a sound becomes the same numbers, but for the order of a sum in double."""
    samples = sound.astype(np.float32)
    given = samples.ctypes.data_as(ctypes.c_void_p), ctypes.c_size_t(samples.size)
    assert library.set_sound(network, *given) == OK, library.said()
    assert library.run(network) == OK, library.said()
    ((name, wanted),) = net(samples.astype(np.float64)).items()
    ours = library.output(network, name, wanted)
    return np.allclose(ours, wanted, rtol=1e-6, atol=1e-6)


def classes(library: Library, network: ctypes.c_void_p) -> list[tuple[str, float]]:
    """The best classes of the last run."""
    count, best = ctypes.c_size_t(5), (Class * 5)()
    assert library.classify(network, best, ctypes.byref(count)) == OK, library.said()
    return [(one.label.decode(), one.score) for one in best[: count.value]]


def refusals(library: Library, release: Path, damaged: Path) -> dict[str, str]:
    """What is said to each thing that is refused."""
    found = {}

    def refused(what: str, status: int) -> None:
        assert status != OK, what
        found[what] = library.said()

    refused("another ABI", library.opened("net", release, abi=ABI + 1)[0])
    refused("no such model", library.opened("cat", release)[0])
    refused("another runtime", library.opened("net", release, "onnxruntime")[0])
    refused("no such form", library.opened("net", release, TVM)[0])
    refused("no such level", library.opened("net", release, TFLITE, level="O2")[0])
    refused("no release", library.opened("net", release / "nothing")[0])
    refused("a damaged manifest", library.opened("net", damaged)[0])
    network = library.network("net", release)
    refused("nothing given", library.run(network))
    refused("another size", library.given(network, "x", np.zeros(3, np.float32)))
    refused("too large", library.given(network, "x", np.full(192, 1000)))
    refused("another name", library.given(network, "image", np.zeros(192, np.float32)))
    refused("no number", library.given(network, "x", np.full(192, np.nan, np.float32)))
    few = ctypes.byref(ctypes.c_size_t(1))
    refused("no detector", library.detect(network, ctypes.c_double(0), (Box * 1)(), few))
    refused("no sound", library.set_sound(network, (ctypes.c_float * 1)(), ctypes.c_size_t(1)))
    refused("no picture", library.segment(network, b"", ctypes.c_size_t(1)))
    refused("not run", library.get(network, b"y", 3, None, ctypes.c_size_t(192)))
    library.free(network)
    return found


def outputs_by_tvm(path: str, current: Path, name: str, level: str, by: str) -> bytes:
    """Outputs under TVM by one library: a process has one TVM, and each brings its own."""
    card = next(current.glob(f"models/{name}/b1/model.json"))
    signature = json.loads(card.read_text())
    random = np.random.default_rng(0)
    arrays = {
        one["name"]: random.random(one["shape"]).astype(one["dtype"]) for one in signature["inputs"]
    }
    if by == "python":
        wanted = load(name, runtime=TVM, opt_level=int(level[1:]), release=current)(arrays)
        return b"".join(wanted[one["name"]].tobytes() for one in signature["outputs"])
    library = Library(path)
    network = library.network(name, current, TVM, level)
    assert all(library.given(network, *one) == OK for one in arrays.items()), library.said()
    assert library.run(network) == OK, library.said()
    shapes = {one["name"]: np.empty(one["shape"], one["dtype"]) for one in signature["outputs"]}
    return b"".join(library.output(network, *one).tobytes() for one in shapes.items())


def same_by_tvm(path: str, current: Path, name: str, level: str) -> bool:
    """Whether both libraries give the same outputs under TVM at a level."""
    ours, pythons = (
        subprocess.run(
            [sys.executable, __file__, path, str(current), name, level, by],
            check=True,
            stdout=subprocess.PIPE,
        ).stdout
        for by in ("c", "python")
    )
    return ours == pythons and len(ours) > 0


def main(path: str, current: Path, releases: Path) -> None:
    """Compare all that there is."""
    library = Library(path)
    found: dict[str, list[bool]] = {}
    for name in models(current):
        found[name] = compared(library, name, current)
        forms = [one for one in Release(current).model(name, None).forms if one.runtime == TVM]
        # of a small network the lowest level too
        levels = {form.opt_level or 0 for form in (forms if name == SMALL else forms[:1])}
        found[f"{name} by tvm"] = [
            same_by_tvm(path, current, name, f"O{level}") for level in {min(levels), max(levels)}
        ]
    for release in sorted(releases.iterdir()):
        if release.name != "damaged":
            found[release.name] = compared(library, "net", release)
    refused = refusals(library, releases / "int8", releases / "damaged")
    sys.stdout.write(json.dumps({"same": found, "refused": refused}) + "\n")


if __name__ == "__main__":
    if len(sys.argv) > 4:
        sys.stdout.buffer.write(outputs_by_tvm(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:]))
    else:
        main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
