"""The invoke tasks: `invoke --list` is the manual.

Those that make things are in toolchain/tasks/, those that talk to devices in deploy/tasks/.
"""

from __future__ import annotations

from invoke import Collection, Context, task

from deploy.tasks import accuracy, boards, export, fleet
from deploy.tasks import measure as device
from deploy.tasks import profile as profiling
from deploy.tasks import run as inference
from toolchain.commandline import console, free_words, options
from toolchain.commandline.console import guarded
from toolchain.commandline.options import Amount
from toolchain.tasks import browser, example, history, inspection, library, publication
from toolchain.tasks import machine as make
from toolchain.tasks import models as model
from toolchain.tasks import report as reporting
from toolchain.workstation import leftovers

console.at_start = leftovers.sweep
options.target_of_devices = boards.target_of
options.target_named = boards.target_named
free_words.install()

QUICKSTART_MODELS = "digits-cnn,mobilenetv3-large"
# with vectors for both runtimes: one finds them in the emulated CPU by itself, the other by target
QUICKSTART_TARGET = "rv64gcv"


@task(help={"budget": "seconds to measure each model under each runtime"})
@guarded
def quickstart(context: Context, budget: float = Amount(2)) -> None:
    """Go from nothing to two models measured on an emulated RISC-V device: all tasks in order."""
    target = QUICKSTART_TARGET
    host = f"emu-{target}"
    make.build_images.body(context, target=target)
    make.build_wheels.body(context, target=target)
    model.convert.body(context, model=QUICKSTART_MODELS)
    model.compile.body(context, model=QUICKSTART_MODELS, target=target)
    device.emulator_up.body(context, target=target)
    fleet.deploy.body(context, host=host, model=QUICKSTART_MODELS)
    # The report shows the table. Times of an emulated device say nothing of a board; its
    # instructions do.
    device.bench.body(context, host=host, budget=budget, parity_samples=4, quiet=True)
    device.bench.body(context, host=host, count_instructions=True, quiet=True)
    reporting.report.body(context, host=host)


ns = Collection(
    make.doctor, make.setup, make.clean, make.build_images, make.build_wheels,
    library.build_library, publication.publish, make.lock,
    model.models, inspection.inspect, boards.add_board,
    model.canvases, model.convert, model.compile, browser.tfjs, example.example, reporting.report,
    history.history, history.share_results, fleet.probe,
    fleet.deploy, export.export, fleet.releases, fleet.rollback, fleet.keys, inference.run,
    device.bench, profiling.profile, accuracy.accuracy, device.tune,
    device.schemas, make.verify, quickstart,
)  # fmt: skip
_emulator = Collection("emulator")
_emulator.add_task(device.emulator_up, name="up")
_emulator.add_task(device.emulator_down, name="down")
_emulator.add_task(device.emulator_stop, name="stop")
_emulator.add_task(device.emulator_start, name="start")
_emulator.add_task(device.emulator_status, name="status")
ns.add_collection(_emulator)
