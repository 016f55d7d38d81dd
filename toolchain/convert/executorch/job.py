"""A user's .pt2 file as a program of ExecuTorch: made and run by the extra, and compared here.

In a process that the kernel confines: the extra reads what others made.
"""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path

import numpy as np

from toolchain.convert import parity
from toolchain.convert.parity import Arrays, Outputs
from toolchain.core import process, store
from toolchain.core.errors import CommandError, ModelError
from toolchain.core.worker import Progress
from toolchain.formats import pytorch_file
from toolchain.models import samples_file
from toolchain.models.checks import Check
from toolchain.models.manifest import ModelManifest
from toolchain.runtimes._made_by_extra import FormRequest
from toolchain.runtimes.executorch import FILE
from toolchain.workstation import extras

EXTRA = "executorch"
LOWERING = Path(__file__).with_name("lowering.py")
OPERATOR = re.compile(r"\b(?:aten|prims|torchvision|dim_order_ops|quantized_decomposed)::[\w.]+")
OTHERS = "use another runtime for this model"


def make(request: FormRequest, progress: Progress) -> Check:
    """Put the network's program into the request's folder.

    Raises:
        ModelError: the extra isn't installed, the file has pickled objects, ExecuTorch can't take
            the network, or what it gives is not what the source gives.
    """
    assert request.source is not None
    pytorch_file.refuse_pickled(request.source)
    manifest = ModelManifest.load(request.model)
    samples = request.model / manifest.samples.file
    reference = Outputs(
        tensors=manifest.outputs,
        arrays=samples_file.outputs(samples, manifest.outputs),
        batch=manifest.batch,
    )
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        names = {
            "inputs": [tensor.name for tensor in manifest.inputs],
            "outputs": [tensor.name for tensor in manifest.outputs],
        }
        (folder / "asked.json").write_text(json.dumps(names))
        given = samples_file.inputs(samples, manifest.inputs)
        np.savez(folder / "inputs.npz", *(given[name] for name in names["inputs"]))
        progress("ExecuTorch's compiler")
        _lower(request.source, folder)
        progress("comparing it with its source")
        check = parity.compare(EXTRA, reference, _outputs(folder, reference))
        store.write_atomically(request.folder / FILE, (folder / "network.pte").read_bytes())
    return check


def _lower(source: Path, folder: Path) -> None:
    """Have the extra make the program and run it.

    Raises:
        ModelError: it can't, and what it stumbled over.
    """
    python = extras.python(EXTRA)
    try:
        said = process.run(
            [python, "-P", LOWERING, source, folder],
            env={"PYTHONPATH": "", "TORCH_FORCE_WEIGHTS_ONLY_LOAD": "1"},
        )
    except CommandError as error:
        raise ModelError(
            "ExecuTorch fails with this network", detail=error.output, resolution=OTHERS
        ) from error
    failed = (folder / "failed.txt").read_text()
    if failed:
        names = sorted(set(OPERATOR.findall(f"{failed}\n{said}")))
        raise ModelError(
            f"ExecuTorch has no kernel for {', '.join(names)}"
            if names
            else f"ExecuTorch can't take the network ({failed.splitlines()[0][:200]})",
            detail=failed,
            resolution=OTHERS,
        )


def _outputs(folder: Path, reference: Outputs) -> Arrays:
    """What the program gave.

    Raises:
        ModelError: the outputs have other sizes than the source's.
    """
    with np.load(folder / "outputs.npz", allow_pickle=False) as arrays:
        found = {
            tensor.name: arrays[f"arr_{index}"] for index, tensor in enumerate(reference.tensors)
        }
    for tensor in reference.tensors:
        wanted = reference.arrays[tensor.name]
        if found[tensor.name].size != wanted.size:
            raise ModelError(
                "ExecuTorch: the outputs have other sizes than the source's",
                detail=f"{tensor.name}: {found[tensor.name].shape}, not {wanted.shape}",
                resolution=OTHERS,
            )
    return {
        tensor.name: found[tensor.name]
        .reshape(reference.arrays[tensor.name].shape)
        .astype(reference.arrays[tensor.name].dtype)
        for tensor in reference.tensors
    }
