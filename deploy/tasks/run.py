"""The task that runs a user's own input on a device: parse, call, print.

Modules are imported by the task, so that listing the tasks is quick.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invoke import Context, task

from toolchain import runtimes
from toolchain.commandline import console, options
from toolchain.commandline.console import guarded
from toolchain.commandline.options import HOST_HELP, INVENTORY, Devices, Limit, Whole

if TYPE_CHECKING:
    from deploy.run.deployed_model import Choice, DeployedModel
    from deploy.run.device_run import Ran
    from deploy.run.meaning import Meaning, Reader

TOP, SCORE = 5, 0.25
MOST_TABLES = 5


@task(
    help=HOST_HELP
    | {
        "model": "the model; the only one that is deployed when left out",
        "input": "a picture, a .wav, an .npz or .npy of arrays, or a folder of them; camera, or "
        "camera:/dev/video2, for a picture that the device takes",
        "runtime": f"{', '.join(runtimes.names())}; the fastest that was measured on the device "
        "when left out",
        "variant": "the network's variant, such as int8; as it was trained when left out",
        "opt-level": "level of a compiled library; the highest when left out",
        "threads": "threads of the runtime; those of the fastest measurement, or 1, when left out",
        "batch": "the batch size that is deployed",
        "out": "a file or folder: .npz for arrays, .png or .jpg for boxes and masks",
        "top": "so many classes are printed",
        "score": "boxes below it are left out",
        "compare": "show what the network gives here beside it",
    }
)
@guarded
def run(
    _: Context,
    *,
    host: str = "",
    model: str = "",
    input: str = "",  # noqa: A002 (an option's name)
    runtime: str = "",
    variant: str = "",
    opt_level: str = "",
    threads: int = Whole(0),
    batch: int = Whole(1),
    out: str = "",
    top: int = Whole(TOP),
    score: float = Limit(SCORE),
    compare: bool = False,
    inventory: str = INVENTORY,
    json: bool = False,
) -> None:
    """Run a picture, a sound or arrays through a deployed model, on the device."""
    from deploy.inventory import selection
    from deploy.run import camera, deployed_model, device_run, inputs, written
    from deploy.run.meaning import Reader
    from deploy.ssh import connection
    from toolchain.core import paths

    given = Path(options.required("input", input, "cat.jpg")).expanduser()
    node = camera.asked(input)
    written.refuse_unknown(out)
    device = selection.only(Devices(host=host, inventory=inventory))
    levels = options.numbers("opt-level", opt_level)
    if runtime:
        runtimes.runtime(runtime)
    with (
        console.step(f"{given.name} on {device.name}") as say,
        connection.connect(device) as conn,
    ):
        there = deployed_model.deployed(conn, device.name, device.root, model, batch)
        choice = deployed_model.choose(
            there, runtime=runtime, variant=variant, opt_level=levels[0] if levels else None,
            threads=threads or None,
            measured=deployed_model.fastest(paths.results(), device.name, there, variant),
        )  # fmt: skip
        if node is not None:
            say("taking a picture")
            folder = paths.results() / "runs" / there.manifest.model
            given, by = camera.take(conn, device.name, device.root, node, folder)
            console.note(f"taken by {by} on {device.name}: {given}")
        fed = list(there.manifest.state.inputs) if there.manifest.state else []
        items = inputs.read(given, there.manifest.inputs, fed)
        say(f"running under {deployed_model.words(choice.executable)}")
        ran = device_run.run(conn, device.root, there, choice, items, inputs=compare, progress=say)
    shown = _Shown(
        there=there, choice=choice, ran=ran, out=out, compare=compare,
        reader=Reader(there.manifest, there.labels, top=top, score=score),
    )  # fmt: skip
    shown.show(json=json)


@dataclass(frozen=True, kw_only=True)
class _Shown:
    """What came out, and how it is shown."""

    there: DeployedModel
    choice: Choice
    ran: Sequence[Ran]
    reader: Reader
    out: str
    compare: bool

    def show(self, *, json: bool) -> None:
        """Print it, and write its files."""
        from deploy.run import deployed_model, written
        from toolchain.reference import run as reference

        here = None
        if self.compare:
            with console.step(f"{self.there.manifest.model} here") as say:
                here = reference.outputs(self.there.manifest, [r.inputs for r in self.ran], say)
        meanings = [self.reader.meaning(one.outputs, one.item) for one in self.ran]
        manifest = self.there.manifest
        files = written.files(manifest, self.ran, meanings, Path(self.out) if self.out else None)
        if json:
            console.show_json(written.plain(self.there, self.choice, self.ran, meanings, here))
        else:
            self._print(meanings, here)
        its = self.choice
        where = deployed_model.words(its.executable) + (f" ({its.why})" if its.why else "")
        console.note(f"ran under {where}")
        for path in files:
            console.note(f"written: {path}")

    def _print(self, meanings: Sequence[Meaning], here: Sequence[dict[str, Any]] | None) -> None:
        """A table for each of the first inputs; of many that are classified, one for all."""
        from deploy.run import written

        manifest = self.there.manifest
        others = None
        if here is not None:
            others = [
                self.reader.meaning(arrays, one.item)
                for arrays, one in zip(here, self.ran, strict=True)
            ]
        if len(self.ran) > 1 and all(meaning.scores for meaning in meanings):
            console.show_table(manifest.title, *written.overview(self.ran, meanings, others))
            return
        for number, one in enumerate(self.ran[:MOST_TABLES]):
            arrays = None if here is None else here[number]
            other = None if others is None else others[number]
            title = f"{one.item.name}: {one.seconds * 1000:.1f} ms"
            columns, rows = written.table(manifest, one, meanings[number], arrays, other)
            console.show_table(title, columns, rows)
            if arrays is not None:
                console.note(written.apart(manifest, one.outputs, arrays))
        if len(self.ran) > MOST_TABLES:
            rest = len(self.ran) - MOST_TABLES
            console.note(f"and {rest} inputs more: --json, or --out found.npz, has all")
