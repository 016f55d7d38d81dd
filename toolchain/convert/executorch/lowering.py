"""Makes a program of ExecuTorch, and runs it. A program of the extra's Python: torch, executorch.

    python lowering.py PROGRAM FOLDER

PROGRAM is a .pt2 file. FOLDER has asked.json, `inputs` and `outputs`: the names of both, in the
order that they are wanted; and inputs.npz, `arr_0` and on, each (inferences, *shape). It gets
network.pte, of the sizes of the inputs and with XNNPACK wherever that has the operators, and
outputs.npz, what that gives, as the inputs; and failed.txt, at which step it failed and with what
words, which is empty when all is there.
"""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from executorch.backends.xnnpack.partition.config import ALL_PARTITIONER_CONFIGS, PreluConfig
from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
from executorch.exir import to_edge_transform_and_lower
from executorch.runtime import Runtime
from torch.utils import _pytree

METHOD = "forward"
LONGEST = 4000  # of an error's words
# A recurrent layer becomes nodes for each of its steps, of which some make hours of work.
LONGEST_S = 600
PICTURES = 4  # dimensions: batch, channels, height, width


class Plain(torch.nn.Module):  # type: ignore[misc]
    """An exported program as a function of tensors alone, in the order wanted.

    Args:
        program: it.
        inputs: the names of what is given.
        outputs: the names of what is wanted.

    Raises:
        ValueError: it has other inputs, or other outputs.
    """

    def __init__(
        self, program: torch.export.ExportedProgram, inputs: Sequence[str], outputs: Sequence[str]
    ) -> None:
        super().__init__()
        self.network = program.module()
        self._tree = program.call_spec.in_spec
        leaves = _arguments(program.graph_signature.input_specs, "USER_INPUT")
        tensors = [leaf.name for leaf in leaves if not hasattr(leaf, "value")]
        if sorted(tensors) != sorted(inputs):
            raise ValueError(f"it has the inputs {tensors}, of which {list(inputs)} were kept")
        places = {name: index for index, name in enumerate(inputs)}
        self._leaves = [
            leaf.value if hasattr(leaf, "value") else places[leaf.name] for leaf in leaves
        ]
        self._given = [not hasattr(leaf, "value") for leaf in leaves]
        made = [
            leaf.name for leaf in _arguments(program.graph_signature.output_specs, "USER_OUTPUT")
        ]
        if not set(outputs) <= set(made):
            raise ValueError(f"it has the outputs {made}, not {list(outputs)}")
        self._wanted = [made.index(name) for name in outputs]

    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """The outputs."""
        leaves = [
            tensors[leaf] if given else leaf
            for leaf, given in zip(self._leaves, self._given, strict=True)
        ]
        given, named = _pytree.tree_unflatten(leaves, self._tree)
        found = _pytree.tree_leaves(self.network(*given, **named))
        return tuple(found[index] for index in self._wanted)


def _arguments(specs: Sequence[Any], kind: str) -> list[Any]:
    return [spec.arg for spec in specs if spec.kind.name == kind]


def lowered(path: Path, asked: dict[str, list[str]], inputs: Sequence[np.ndarray]) -> bytes:
    """The program as ExecuTorch's, of the sizes of one inference."""
    plain = Plain(torch.export.load(path), asked["inputs"], asked["outputs"])
    one = tuple(torch.from_numpy(array[0].copy()) for array in inputs)
    exported = torch.export.export(plain, one)
    taken = [config for config in ALL_PARTITIONER_CONFIGS if _takes(config, exported)]
    edge = to_edge_transform_and_lower(exported, partitioner=[XnnpackPartitioner(taken)])
    return bytes(edge.to_executorch().buffer)


def _takes(config: type, program: torch.export.ExportedProgram) -> bool:
    """Whether XNNPACK can be given what a configuration chooses of a program.

    PReLU of anything but pictures is chosen, and then refused by the compiler's own assertion.
    """
    return config is not PreluConfig or all(
        node.args[0].meta["val"].ndim == PICTURES
        for node in program.graph.nodes
        if node.target is torch.ops.aten.prelu.default
    )


def outputs(program: Path, inputs: Sequence[np.ndarray], count: int) -> list[np.ndarray]:
    """What the program gives for each inference, (inferences, *shape) each."""
    method = Runtime.get().load_program(program).load_method(METHOD)
    made = []
    for number in range(len(inputs[0])):
        given = [torch.from_numpy(array[number].copy()) for array in inputs]
        # its memory is written again by the next
        made.append([tensor.numpy().copy() for tensor in method.execute(given)])
    return [np.stack([one[index] for one in made]) for index in range(count)]


def _end(*_: object) -> None:
    raise TimeoutError(f"it took more than {LONGEST_S // 60} minutes")


def main() -> None:
    """Make it, run it, and say what failed."""
    signal.signal(signal.SIGALRM, _end)
    signal.alarm(LONGEST_S)
    path, folder = map(Path, sys.argv[1:])
    torch.set_num_threads(1)
    asked = json.loads((folder / "asked.json").read_text())
    with np.load(folder / "inputs.npz", allow_pickle=False) as arrays:
        inputs = [arrays[f"arr_{index}"] for index in range(len(asked["inputs"]))]
    step, failed = "make", ""
    try:
        program = folder / "network.pte"
        program.write_bytes(lowered(path, asked, inputs))
        step = "run"
        found = outputs(program, inputs, len(asked["outputs"]))
        np.savez(folder / "outputs.npz", *found)
    except Exception as error:  # noqa: BLE001 - both raise many kinds
        failed = f"{step}: {type(error).__name__}: {error}"[:LONGEST]
    (folder / "failed.txt").write_text(failed)


if __name__ == "__main__":
    main()
