"""A converted network on this machine: what its outputs on a device are shown beside."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolchain.core import worker
from toolchain.core.errors import UsageError
from toolchain.models import place
from toolchain.models.manifest import ModelManifest
from toolchain.models.variants import PLAIN
from toolchain.reference.request import RUN, ReferenceRequest

if TYPE_CHECKING:
    import numpy.typing as npt

    Arrays = Mapping[str, npt.NDArray[Any]]


def outputs(
    there: ModelManifest, inputs: Sequence[Arrays], progress: worker.Progress = worker.silent
) -> list[dict[str, npt.NDArray[Any]]]:
    """What a network as it was trained gives here, by ONNX Runtime or TensorFlow Lite.

    Args:
        there: the manifest on the device, whose network it must be.
        inputs: of each inference, by name, as the network takes them.
        progress: called with each step.

    Returns:
        the outputs of each inference, by name.

    Raises:
        ModelError: it was not converted here, or can't be run.
        UsageError: what was converted here is another network.
    """
    import numpy as np

    folder = place.folder_of(there.model, there.batch)
    here = ModelManifest.load(folder)
    if here.source != there.source or here.inputs != there.inputs:
        raise UsageError(
            f"{there.model} on the device is not the one that was converted here",
            resolution="deploy again, or leave --compare out",
        )
    # ONNX Runtime starts in a tenth of the time that TensorFlow takes
    own = here.tflite[PLAIN] if here.onnx is None else None
    file = own or here.graph(PLAIN)
    named_in = (own.inputs if own else None) or [tensor.name for tensor in here.inputs]
    named_out = (own.outputs if own else None) or [tensor.name for tensor in here.outputs]
    with tempfile.TemporaryDirectory() as scratch:
        given, made = Path(scratch) / "inputs.npz", Path(scratch) / "outputs" / "outputs.npz"
        made.parent.mkdir()
        arrays = {f"{n}:{name}": a for n, one in enumerate(inputs) for name, a in one.items()}
        np.savez(given, allow_pickle=False, **arrays)
        request = ReferenceRequest(
            model=folder / file.file,
            inputs=tuple(named_in),
            outputs=tuple(named_out),
            arrays=given,
            count=len(inputs),
            made=made,
        )
        what = f"running {there.model} here"
        worker.call(RUN, request, what=what, progress=progress, rights=request.rights())
        with np.load(made, allow_pickle=False) as found:
            return [
                {
                    tensor.name: found[f"{n}:{tensor.name}"].reshape(tensor.shape)
                    for tensor in here.outputs
                }
                for n in range(len(inputs))
            ]
