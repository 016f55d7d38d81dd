"""The tasks that turn models into files for devices, and results into reports: parse, call, print.

Modules are imported by the task that needs them, so that listing the tasks is quick.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from invoke import Context, task

from toolchain import console, options
from toolchain.console import guarded
from toolchain.options import DEFAULT_TARGET, JSON, TARGET

if TYPE_CHECKING:
    from toolchain.card import ModelCard


@task(help={"json": JSON})
@guarded
def models(_: Context, json: bool = False) -> None:
    """List the models of the catalogue."""
    from toolchain import models as catalogue

    known = catalogue.catalogue()
    if json:
        console.show_json({name: entry.model_dump(mode="json") for name, entry in known.items()})
        return
    rows = [
        [name, "×".join(str(n) for n in entry.shape), str(entry.classes), entry.title]
        for name, entry in known.items()
    ]
    console.show_table("models", ["model", "input", "classes", ""], rows)


MODEL_HELP = {
    "model": "names from the catalogue, separated by commas; a name for --model-file",
    "model-file": "a model of yours: .onnx, .keras, .h5 or a SavedModel folder",
    "weights": "file with the weights of a catalogue model; without it they are drawn",
    "batch": "batch sizes, separated by commas",
    "json": JSON,
}


@task(help=MODEL_HELP)
@guarded
def convert(
    _: Context,
    model: str = "",
    model_file: str = "",
    weights: str = "",
    batch: str = "1",
    json: bool = False,
) -> None:
    """Convert models to TFLite and ONNX and check them against their source."""
    cards = [card for _, card in _converted(model, model_file, weights, batch)]
    if json:
        console.show_json([card.model_dump(mode="json") for card in cards])
    else:
        _show_checks(cards)


@task(
    help=MODEL_HELP
    | {
        "target": TARGET,
        "opt-level": "0 to 3; what they mean is in docs/",
        "compiler": "release, or source: built from source with Debian's LLVM, an hour the first "
        "time",
    }
)
@guarded
def compile(  # noqa: A001  # the task's name is the field's word
    _: Context,
    model: str = "",
    model_file: str = "",
    weights: str = "",
    batch: str = "1",
    target: str = DEFAULT_TARGET,
    opt_level: int = 3,
    compiler: str = "release",
    json: bool = False,
) -> None:
    """Compile models by TVM to a library for a target; converts them first where needed."""
    from toolchain import compile as compiling
    from toolchain import crosslink, targets, tvm_source
    from toolchain.store import Store

    chosen = targets.target(target)
    cards = []
    for folder, card in _converted(model, model_file, weights, batch):
        title = f"compile {card.model}, batch {card.batch}, O{opt_level}, for {target}"
        with console.step(title) as say:
            by = tvm_source.chosen(compiler, Store(), say)
            cards.append(
                compiling.compile_model(
                    folder,
                    chosen,
                    opt_level,
                    linker=crosslink.linker(chosen, Store(), say),
                    compiler=by,
                    progress=say,
                )
            )
    if json:
        console.show_json([card.model_dump(mode="json") for card in cards])
        return
    rows = [
        [card.model, str(card.batch), name, library.file, f"{library.size / 1e6:.1f} MB"]
        for card in cards
        for name, library in card.libraries.get(target, {}).items()
    ]
    console.show_table("libraries", ["model", "batch", "level", "file", "size"], rows)


def _converted(
    model: str, model_file: str, weights: str, batch: str
) -> Iterator[tuple[Path, ModelCard]]:
    from toolchain import convert as converter
    from toolchain import models as catalogue
    from toolchain import paths

    file = Path(model_file) if model_file else None
    names = [model] if file else options.names(model) or [""]
    for name in names:
        spec = catalogue.resolve(
            name or None, model_file=file, weights=Path(weights) if weights else None
        )
        for size in options.numbers("batch", batch):
            with console.step(f"convert {spec.name}, batch {size}") as say:
                card = converter.convert(spec, size, progress=say)
            yield paths.dist() / "models" / spec.name / f"b{size}", card


def _show_checks(cards: Sequence[ModelCard]) -> None:
    rows = [
        [
            card.model,
            str(card.batch),
            check.stage,
            f"{check.max_abs:.1e}",
            f"{check.max_rel:.1e}",
            f"{100 * check.top1_agreement:.1f} %",
            str(check.count),
        ]
        for card in cards
        for check in card.checks
    ]
    console.show_table(
        "checked against the source",
        ["model", "batch", "stage", "largest difference", "relative", "same top-1", "samples"],
        rows,
    )


@task(
    help={
        "host": "devices, separated by commas; all with results when left out",
        "all": "every result rather than each device's latest",
        "json": JSON,
    }
)
@guarded
def report(_: Context, host: str = "", all: bool = False, json: bool = False) -> None:  # noqa: A002
    """Show results as a table and write them as HTML, CSV and JSON to reports/."""
    from toolchain import paths, results
    from toolchain import report as reports

    found = results.load_all(paths.results())
    hosts = options.names(host)
    found = [r for r in found if not hosts or r.host in hosts]
    found = found if all else results.latest(found)
    built = reports.build(found)
    if json:
        console.out.file.write(built.json.read_text())
    else:
        reports.show(found, console.out)
    console.note(f"report: {built.html}")
