"""The task that looks at a model file before anything is made of it: parse, call, print."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from invoke import Context, task

from toolchain import formats
from toolchain.commandline import console, options
from toolchain.commandline.console import guarded
from toolchain.commandline.options import JSON, Whole
from toolchain.core.errors import UsageError

if TYPE_CHECKING:
    from toolchain.formats.network import Described
    from toolchain.inspection.inspection import Inspection

MOST_OPERATORS = 12
MOST_LABELS, LONGEST_LABEL = 5, 40


@task(
    help={
        "model": f"the file, one of: {formats.titles()}",
        "model-file": "the same",
        "batch": "what an open batch becomes",
        "shape": "sizes of inputs whose sizes are open: images=1x3x640x640,mask=1x640",
        "signature": "which function of a SavedModel with several",
        "json": JSON,
    }
)
@guarded
def inspect(
    _: Context,
    *,
    model: str = "",
    model_file: str = "",
    batch: int = Whole(1),
    shape: str = "",
    signature: str = "",
    json: bool = False,
) -> None:
    """Show what a model file is: signature, operators, costs, and which runtimes take it."""
    from toolchain.core.store import Store
    from toolchain.formats import shapes
    from toolchain.inspection import inspection
    from toolchain.models import catalogue
    from toolchain.models.resolve import resolve_model

    if model in catalogue.entries():
        raise UsageError(
            f"{model} is the catalogue's, and a file once it is converted",
            resolution=f"invoke convert --model {model}, then --model with a file that it wrote",
        )
    file = options.required("model", model_file or model, "net.onnx")
    spec = resolve_model(
        model_file=Path(file),
        shapes=shapes.parsed(shape),
        signature=signature,
    )
    with console.step(f"looking at {file}") as say:
        found = inspection.inspect(spec, batch, cache=Store(), progress=say)
    if json:
        console.show_json(found.plain())
    else:
        _show(found)


def _show(found: Inspection) -> None:
    reading = found.reading
    fixed = {tensor.name: tensor.shape for tensor in reading.fixed}
    rows = [
        [what, tensor.name, tensor.dtype, _sizes(fixed.get(tensor.name, tensor.dims))]
        for what, tensors in (("input", reading.inputs), ("output", reading.outputs))
        for tensor in tensors
    ]
    console.show_table(found.file, ["", "name", "type", "shape"], rows)
    if reading.state:
        console.note(f"state: {reading.state}")
    for line in _said(reading.described):
        console.note(line)
    if reading.operators:
        many = list(reading.operators.items())
        left = sum(count for _, count in many[MOST_OPERATORS:])
        shown = [[name, str(count)] for name, count in many[:MOST_OPERATORS]]
        rest = [["others", str(left)]] if left else []
        console.show_table("operators", ["", "count"], [*shown, *rest])
    if reading.costs is not None:
        costs = reading.costs
        console.show_table(
            f"an inference, {_sizes(reading.fixed[0].shape)}",
            ["parameters", "weights", "multiply-adds", "activations at most"],
            [
                [
                    _many(costs.parameters),
                    f"{_many(costs.weights_bytes)}B",
                    _many(costs.multiply_adds),
                    f"{_many(costs.activations_bytes)}B",
                ]
            ],
        )
    if reading.sizes:
        console.note(reading.sizes)
        return
    taken = [[name, answer] for name, answer in found.runtimes.items()]
    console.show_table("runtimes", ["runtime", "takes it"], taken)


def _said(described: Described | None) -> list[str]:
    """What the file says of its inputs and outputs, in lines."""
    lines = []
    if described and described.mean:
        mean, std = (" ".join(f"{n:g}" for n in of) for of in (described.mean, described.std))
        lines.append(f"pixels, as the file says: less {mean}, divided by {std}")
    if described and described.labels:
        names = ", ".join(name[:LONGEST_LABEL] for name in described.labels[:MOST_LABELS])
        more = ", …" if len(described.labels) > MOST_LABELS else ""
        lines.append(f"classes, as the file says: {len(described.labels)}: {names}{more}")
    return lines


def _many(number: int) -> str:
    """A count in three figures, such as 221 k or 3.50 M."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return f"{number} "


def _sizes(dims: tuple[int | str | None, ...]) -> str:
    return "x".join("?" if d is None else str(d) for d in dims) or "a single number"
