"""Networks of a folder through the `ncnn` that is installed there; their outputs beside them.

Runs on a device: the standard library, numpy and ncnn. `python ncnn_on_device.py FOLDER KIND...`.
The folder has NAME.param, NAME.bin and NAME.in.npy; it gets NAME.THREADS.KIND.npy, where the kind
is `exact` (float32 computed as float32) or `usual` (as options are by default). Prints as JSON what
was seen of the package.
"""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import ncnn
import numpy as np

EXACT = ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic", "use_bf16_storage")


def a_net(graph: Path, threads: int, kind: str, *, by_stream: bool) -> ncnn.Net:
    """A network that is read from files, or its weights from a stream."""
    net = ncnn.Net()
    net.opt.num_threads = threads
    for option in EXACT if kind == "exact" else ():
        setattr(net.opt, option, False)
    assert net.load_param(graph) == 0
    weights = graph.with_suffix(".bin")
    with weights.open("rb") as stream:
        assert net.load_model(stream if by_stream else weights) == 0
    return net


def output(net: ncnn.Net, x: np.ndarray) -> np.ndarray:
    """What a network with one input and one output gives."""
    extractor = net.create_extractor()
    assert extractor.input("in0", ncnn.Mat(x)) == 0
    failed, made = extractor.extract("out0")
    assert failed == 0
    return np.array(made)


def refused(folder: Path) -> dict[str, int]:
    """What the package says to networks that are none, and to names that there are not."""
    graph = next(folder.glob("*.param"))
    short, unknown, named = ncnn.Net(), ncnn.Net(), ncnn.Net()
    short.load_param(graph)
    half = io.BytesIO(graph.with_suffix(".bin").read_bytes()[:100])
    named.load_param(graph)
    named.load_model(graph.with_suffix(".bin"))
    extractor = named.create_extractor()
    return {
        "no graph": ncnn.Net().load_param_mem("7767"),
        "weights without a graph": ncnn.Net().load_model(io.BytesIO()),
        "half of the weights": short.load_model(half),
        "unknown layer": unknown.load_param_mem("7767517\n1 1\nNothing n 0 1 out0\n"),
        "no file": ncnn.Net().load_param(folder / "absent"),
        "unknown input": extractor.input("x", ncnn.Mat(np.zeros(1, np.float32))),
        "unknown output": extractor.extract("y")[0],
    }


def arrays() -> list[str]:
    """Shapes and types whose elements do not come out as they went in."""
    wrong = []
    for shape in ((5,), (2, 3), (2, 3, 5), (2, 3, 1, 5)):
        for kind in (np.float32, np.int32, np.float16, np.int8):
            x = np.random.default_rng(0).integers(-9, 9, shape).astype(kind)
            mat = ncnn.Mat(x)
            made = mat.numpy(x.dtype.char)
            if not np.array_equal(made, x) or mat.shape != shape:
                wrong.append(f"{shape} {x.dtype}")
    view = ncnn.Mat(np.arange(6, dtype=np.float32).reshape(2, 3)).numpy()
    if view.tolist() != [[0, 1, 2], [3, 4, 5]]:
        wrong.append("a view whose array is gone")
    return wrong


def main() -> None:
    """Run all, on one thread and on two."""
    folder = Path(sys.argv[1])
    for graph in sorted(folder.glob("*.param")):
        x = np.load(graph.with_suffix(".in.npy"))
        for threads in (1, 2):
            for kind in sys.argv[2:]:
                net = a_net(graph, threads, kind, by_stream=threads == 1)
                np.save(folder / f"{graph.stem}.{threads}.{kind}.npy", output(net, x))
    said = {
        "version": ncnn.__version__,
        "names": [net.input_names(), net.output_names()],
        "refused": refused(folder),
        "arrays": arrays(),
        "lacking": ncnn.layer_to_index("Nothing"),
    }
    sys.stdout.write("\n" + json.dumps(said))


if __name__ == "__main__":
    main()
