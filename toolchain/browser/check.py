"""What a network of TensorFlow.js gives in a browser beside its source, and how long it takes."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from toolchain.browser import chromium
from toolchain.convert import parity
from toolchain.convert.parity import Array, Arrays, Outputs
from toolchain.convert.tfjs import job
from toolchain.convert.tfjs.request import LAYERS, PLAIN
from toolchain.core.errors import ModelError
from toolchain.models import samples_file
from toolchain.models.checks import Check
from toolchain.models.manifest import ModelManifest
from toolchain.workstation import extras

PAGE = Path(__file__).with_name("page")
PAGE_FILE = "index.html"
BACKENDS = ("wasm", "cpu")
# of a number type that JavaScript has arrays of
TYPES = {"float32": "float32", "int32": "int32", "int64": "int32", "bool": "bool"}
MOST = 10_000  # measurements of time
# Inferences at most that are compared, and seconds after which no other is begun: plain JavaScript
# takes seconds for each.
SAMPLES, PATIENCE_S = 64, 60
LIMIT_S = 600
STAGE = "tfjs"


class _Said(BaseModel):
    """What the page says of one backend."""

    model_config = ConfigDict(extra="forbid")
    times: list[float] = Field(max_length=MOST)
    compared: int = Field(ge=0, le=SAMPLES)
    error: str


@dataclass(frozen=True, kw_only=True)
class InBrowser:
    """One backend.

    Attributes:
        backend: TensorFlow.js's name of it; each has one thread.
        check: how far its outputs are from the source's; None where it can't run the network.
        median_ms: of an inference, its outputs read; None likewise.
        measurements: of the time.
        error: why there are none.
    """

    backend: str
    check: Check | None
    median_ms: float | None
    measurements: int
    error: str


def check(
    network: Path, converted: Path, form: str, weights: str, budget: float
) -> list[InBrowser]:
    """Run a network in headless Chromium under each backend.

    Args:
        network: its folder.
        converted: that of the converted model, whose samples and outputs are the reference.
        form: as it was asked for.
        weights: the same.
        budget: seconds of inferences that are timed, under each backend.

    Raises:
        ModelError: there is no browser, an input is of a type that JavaScript lacks, no backend can
            run the network, or in float32 an output differs by more than float32's arithmetic
            allows.
    """
    manifest = ModelManifest.load(converted)
    samples = converted / manifest.samples.file
    given = samples_file.inputs(samples, manifest.inputs)
    inferences = min(SAMPLES, len(next(iter(given.values()))))
    asked = {
        "form": form,
        "backends": BACKENDS,
        "inferences": inferences,
        "patience": PATIENCE_S,
        "budget": budget,
        "most": MOST,
        "inputs": [
            {"name": t.name, "shape": t.shape, "dtype": _type(t.name, t.dtype)}
            for t in manifest.inputs
        ],
        "outputs": [{"name": tensor.name} for tensor in manifest.outputs],
    }
    files: dict[str, Path | bytes] = {
        PAGE_FILE: PAGE / PAGE_FILE,
        "page": PAGE,
        "library": extras.browser_files(job.EXTRA),
        "network": network,
        "asked.json": json.dumps(asked).encode(),
    }
    for index, tensor in enumerate(manifest.inputs):
        arrays = given[tensor.name].astype(_type(tensor.name, tensor.dtype))
        for inference in range(inferences):
            files[f"inputs/{inference}-{index}"] = arrays[inference].tobytes()
    sent = chromium.browse(files, PAGE_FILE, LIMIT_S + len(BACKENDS) * math.ceil(budget))
    expected = samples_file.outputs(samples, manifest.outputs)
    found = [_judged(backend, sent, manifest, expected, weights) for backend in BACKENDS]
    if all(one.check is None for one in found):
        words, _, rest = found[0].error.strip().partition("\n")
        raise ModelError(
            f"TensorFlow.js can't run it: {words}",
            detail=rest,
            resolution="leave --form layers out" if form == LAYERS else "",
        )
    return found


def _type(name: str, dtype: str) -> str:
    """The type that JavaScript has of a tensor.

    Raises:
        ModelError: it has none.
    """
    if dtype not in TYPES:
        raise ModelError(f"the input {name} is {dtype}, which TensorFlow.js's tensors can't be")
    return TYPES[dtype]


def _judged(
    backend: str,
    sent: Mapping[str, bytes],
    manifest: ModelManifest,
    expected: Arrays,
    weights: str,
) -> InBrowser:
    try:
        said = _Said.model_validate_json(sent.get(f"said/{backend}", b""))
    except ValidationError as error:
        raise ModelError(f"the page says nothing of {backend}", detail=str(error)) from error
    if said.error or not said.times or not said.compared:
        return InBrowser(
            backend=backend, check=None, median_ms=None, measurements=0, error=said.error
        )
    reference = Outputs(
        tensors=manifest.outputs,
        arrays={name: array[: said.compared] for name, array in expected.items()},
        batch=manifest.batch,
    )
    found = {
        tensor.name: np.stack(
            [
                _array(sent, f"outputs/{backend}/{inference}-{index}", wanted, tensor.name)
                for inference, wanted in enumerate(reference.arrays[tensor.name])
            ]
        )
        for index, tensor in enumerate(manifest.outputs)
    }
    judge = parity.compare if weights == PLAIN else parity.measure
    return InBrowser(
        backend=backend,
        check=judge(f"{STAGE}-{backend}", reference, found),
        median_ms=statistics.median(said.times),
        measurements=len(said.times),
        error="",
    )


def _array(sent: Mapping[str, bytes], key: str, wanted: Array, name: str) -> Array:
    """An output of one inference.

    Raises:
        ModelError: it isn't of the source's size.
    """
    whole = wanted.dtype.kind in "iu"
    kind = "int32" if whole else TYPES.get(wanted.dtype.name, "float32")
    try:
        values = np.frombuffer(sent.get(key, b""), dtype=kind)
    except ValueError:
        values = np.empty(0, dtype=kind)
    if values.size != wanted.size:
        raise ModelError(
            f"the output {name} has another size in the browser",
            detail=f"{values.size} values, not {wanted.size}",
        )
    return values.reshape(wanted.shape).astype(wanted.dtype)
