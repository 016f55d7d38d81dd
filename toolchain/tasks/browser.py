"""The task that makes networks for browsers: parse, call, print."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from invoke import Context, task

from toolchain.commandline import console, options
from toolchain.commandline.console import guarded
from toolchain.commandline.options import JSON, Amount, Whole

if TYPE_CHECKING:
    from toolchain.browser.check import InBrowser

LONGEST_ERROR = 300


@task(
    help={
        "model": "a model of the catalogue; a name for --model-file",
        "model-file": "a Keras model, a SavedModel folder or a frozen graph of yours",
        "signature": "which function of a SavedModel with several",
        "batch": "the batch size",
        "form": "graph, which every network has; or layers, of a Keras model, which can be trained "
        "on",
        "quantize": "what weights are kept as: float16, uint16 or uint8; float32 when left out",
        "budget": "seconds of inferences that are timed, for each backend",
        "unchecked": "don't run it in a browser here",
        "json": JSON,
    }
)
@guarded
def tfjs(
    _: Context,
    *,
    model: str = "",
    model_file: str = "",
    signature: str = "",
    batch: int = Whole(1),
    form: str = "graph",
    quantize: str = "float32",
    budget: float = Amount(2),
    unchecked: bool = False,
    json: bool = False,
) -> None:
    """Make a model for browsers by TensorFlow.js, and check and time it in headless Chromium."""
    from toolchain.browser import check, conversion
    from toolchain.models.resolve import resolve_model

    if not model and not model_file:
        options.required("model", model, "digits-cnn")
    spec = resolve_model(
        model or None, model_file=Path(model_file) if model_file else None, signature=signature
    )
    with console.step(f"{spec.name} for TensorFlow.js") as progress:
        folder, converted = conversion.make(spec, batch, form, quantize, progress)
    size = sum(path.stat().st_size for path in folder.iterdir())
    found: list[InBrowser] = []
    if not unchecked:
        with console.step(f"{spec.name} in Chromium"):
            found = check.check(folder, converted, form, quantize, budget)
    if json:
        console.show_json(
            {
                "folder": str(folder),
                "bytes": size,
                "backends": [
                    asdict(one)
                    | {"check": None if one.check is None else one.check.model_dump(mode="json")}
                    for one in found
                ],
            }
        )
        return
    if found:
        console.show_table(
            f"{spec.name}, {form}, {quantize}",
            ["backend", "largest difference", "same class", "ms", "samples compared"],
            [_row(one) for one in found],
        )
    for one in found:
        if one.error:
            console.note(f"{one.backend} can't run it: {one.error.splitlines()[0][:LONGEST_ERROR]}")
    console.note(f"written: {folder} ({size:,} bytes)")
    if unchecked:
        console.note("not checked: leave --unchecked out to run it in Chromium")


def _row(one: InBrowser) -> list[str]:
    if one.check is None or one.median_ms is None:
        return [one.backend, "-", "-", "-", "-"]
    same = one.check.top1_agreement
    return [
        one.backend,
        f"{max(output.max_abs for output in one.check.outputs):.2g}",
        "-" if same is None else f"{same:.1%}",
        f"{one.median_ms:.3g}",
        f"{one.check.count:,}",
    ]
