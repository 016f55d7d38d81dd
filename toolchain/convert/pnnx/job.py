"""A converted model's ONNX graph as a network of ncnn: made by pnnx, run here, and compared.

In a process that the kernel confines: both programs read what others made.
"""

from __future__ import annotations

import json
import re
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import onnx

from toolchain.convert import parity
from toolchain.convert.parity import Arrays, Outputs
from toolchain.convert.pnnx.graph import readable
from toolchain.convert.pnnx.ncnn_inputs import SHORTER_FLOATS, one_sample
from toolchain.core import process
from toolchain.core.errors import CommandError, ModelError
from toolchain.core.worker import Progress
from toolchain.models import samples_file
from toolchain.models.checks import Check
from toolchain.models.manifest import ModelManifest
from toolchain.runtimes._made_by_extra import FormRequest
from toolchain.runtimes.ncnn import FILE, PARTS
from toolchain.workstation import extras

EXTRA = "ncnn"
EPOCH = (1980, 1, 1, 0, 0, 0)  # the first day that a zip archive can say
INFERENCE = Path(__file__).with_name("inference.py")
VERDICT = "verdict.json"  # what this program leaves
COMPLAINT = re.compile(r"fail|invalid|unknown|unsupported|not (support|implement)", re.IGNORECASE)
OTHERS = "use another runtime for this model"


def make(request: FormRequest, progress: Progress) -> Check:
    """Put the network's form of ncnn into the request's folder.

    Raises:
        ModelError: the extra isn't installed, pnnx or ncnn can't take the network, or what it
            gives is not what the source gives.
    """
    manifest = ModelManifest.load(request.model)
    assert manifest.onnx is not None
    python = extras.python(EXTRA)
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        progress("pnnx")
        _convert(python, request.model / manifest.onnx.file, folder)
        progress("comparing it with its source")
        samples = request.model / manifest.samples.file
        inputs = samples_file.inputs(samples, manifest.inputs)
        given = ([one_sample(one) for one in inputs[tensor.name]] for tensor in manifest.inputs)
        np.savez(folder / "inputs.npz", *(np.stack(ones) for ones in given))
        expected = samples_file.outputs(samples, manifest.outputs)
        reference = Outputs(tensors=manifest.outputs, arrays=expected, batch=manifest.batch)
        check = parity.compare(EXTRA, reference, _outputs(python, folder, reference))
        _pack(folder, request.folder / FILE)
    return check


def _convert(python: Path, graph: Path, folder: Path) -> None:
    """Have pnnx write network.param and network.bin, the weights in float32."""
    (program,) = python.parents[1].glob("lib/python3*/site-packages/pnnx/pnnx")
    onnx.save(readable(onnx.load(graph)), folder / "network.onnx")
    named = [f"ncnn{part.partition('.')[2]}={part}" for part in PARTS]
    ended, output = "", ""
    try:
        output = process.run([program, "network.onnx", *named, "fp16=0"], cwd=folder)
    except CommandError as error:
        ended, output = f" (it ended with {error.returncode})", error.output
    if not all((folder / part).is_file() for part in PARTS):
        what = _operator(output, graph)
        raise ModelError(f"pnnx can't take {what}{ended}", detail=output, resolution=OTHERS)


def _operator(output: str, graph: Path) -> str:
    """What pnnx stumbled over: the first operator of the graph that a complaint of it names."""
    nodes = onnx.load(graph, load_external_data=False).graph.node
    operators = {node.op_type for node in nodes}
    complaints = " ".join(line for line in output.splitlines() if COMPLAINT.search(line))
    named = [word for word in re.findall(r"\w+", complaints) if word in operators]
    return f"operator {named[0]}" if named else "the graph"


def _outputs(python: Path, folder: Path, reference: Outputs) -> Arrays:
    """What ncnn gives for the samples, with the shapes and types of the source's outputs.

    Raises:
        ModelError: it lacks a kind of layer, refuses the network, or gives something else.
    """
    try:
        said = process.run(
            [python, "-P", INFERENCE, folder, *SHORTER_FLOATS], env={"PYTHONPATH": ""}
        )
    except CommandError as error:
        raise ModelError(
            "ncnn fails with this network", detail=error.output, resolution=OTHERS
        ) from error
    verdict = json.loads((folder / VERDICT).read_text())
    if verdict["lacking"]:
        what = ", ".join(verdict["lacking"])
        raise ModelError(f"ncnn has no layer for the graph's {what}", resolution=OTHERS)
    if verdict["failed"]:
        raise ModelError(f"ncnn: {verdict['failed']}", detail=said, resolution=OTHERS)
    with np.load(folder / "outputs.npz", allow_pickle=False) as arrays:
        found = [arrays[f"arr_{number}"] for number in range(len(arrays.files))]
    expected = [reference.arrays[tensor.name] for tensor in reference.tensors]
    if [array.size for array in found] != [array.size for array in expected]:
        raise ModelError(
            "ncnn: the outputs have other sizes than the source's",
            detail=f"source {[a.shape for a in expected]}\nncnn   {[a.shape for a in found]}",
            resolution=OTHERS,
        )
    return {
        tensor.name: given.reshape(wanted.shape).astype(wanted.dtype)
        for tensor, given, wanted in zip(reference.tensors, found, expected, strict=True)
    }


def _pack(folder: Path, into: Path) -> None:
    """Put graph and weights into one file, as they are, the same bytes each time."""
    with zipfile.ZipFile(into, "w") as archive:
        for part in PARTS:
            entry = zipfile.ZipInfo(part, EPOCH)
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, (folder / part).read_bytes())
