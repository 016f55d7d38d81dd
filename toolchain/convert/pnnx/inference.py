"""Runs a network of ncnn on some samples. A program of the extra's Python: numpy and ncnn alone.

    python inference.py FOLDER OPTION…

FOLDER has network.param, network.bin and inputs.npz: `arr_0` and on, each (inferences, *shape) as
`ncnn_inputs` makes them. It gets outputs.npz, the same of the outputs, less what axes ncnn doesn't
have. Options of ncnn that are named are off. It gets verdict.json too: `lacking`, the kinds of
layers that ncnn has none of, and `failed`, what it refused; both are empty when there are outputs.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import ncnn
import numpy as np


def kinds(param: str) -> list[str]:
    """The kinds of layers that a graph has, in their order: the first word of each of its lines."""
    lines = (line.split() for line in param.splitlines()[2:])
    return list(dict.fromkeys(words[0] for words in lines if words))


def by_number(names: list[str]) -> list[str]:
    """The names that pnnx gives inputs and outputs, such as out10, in their order."""
    return sorted(names, key=lambda name: int(name.lstrip("inout")))


def run(folder: Path, off: Sequence[str]) -> str:
    """Run all samples; return what was refused, or nothing."""
    net = ncnn.Net()
    net.opt.num_threads = 1
    for option in off:
        setattr(net.opt, option, False)
    if net.load_param(str(folder / "network.param")) or net.load_model(str(folder / "network.bin")):
        return "it can't load the network"
    with np.load(folder / "inputs.npz", allow_pickle=False) as given:
        inputs = [given[f"arr_{number}"] for number in range(len(given.files))]
    names, made = by_number(net.output_names()), []
    for number in range(len(inputs[0])):
        extractor = net.create_extractor()
        for name in net.input_names():
            given = inputs[int(name.removeprefix("in"))][number]
            extractor.input(name, ncnn.Mat(given).clone())  # else it is numpy's memory
        found = [extractor.extract(name) for name in names]
        if failed := [name for name, (code, _) in zip(names, found, strict=True) if code]:
            return f"it can't compute {', '.join(failed)}"
        made.append([np.array(array) for _, array in found])
    np.savez(folder / "outputs.npz", *(np.stack(of) for of in zip(*made, strict=True)))
    return ""


def main() -> None:
    """Say what is lacking, or run."""
    folder = Path(sys.argv[1])
    present = kinds((folder / "network.param").read_text())
    lacking = [kind for kind in present if ncnn.layer_to_index(kind) < 0]
    failed = "" if lacking else run(folder, sys.argv[2:])
    verdict = {"lacking": lacking, "failed": failed}
    (folder / "verdict.json").write_text(json.dumps(verdict))


if __name__ == "__main__":
    main()
