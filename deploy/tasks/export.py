"""The task that writes a bundle for a device that is not reached from here: parse, call, print."""

from __future__ import annotations

from pathlib import Path

from invoke import Context, task

from toolchain.commandline import console, options
from toolchain.commandline.console import guarded
from toolchain.commandline.options import JSON, WHEELS, Board, Whole


@task(
    help=options.help_of(Board)
    | {
        "to": "a file that ends in .tar.gz, or a folder",
        "model": "models, separated by commas; all that are compiled when left out",
        "runtime": "runtimes, or all; those of conversion and compilation when left out",
        "variant": "variants such as fp32,int8; all that were made when left out",
        "opt-level": "levels of compiled libraries, separated by commas; all when left out",
        "wheels": WHEELS,
        "samples": "inputs of each model that go along; all when 0",
        "library": "send the library for programs in C and C++ too (build-library makes it)",
        "json": JSON,
    }
)
@guarded
@options.given(board=Board)
def export(
    _: Context,
    *,
    to: str = "",
    board: Board,
    model: str = "",
    runtime: str = "",
    variant: str = "",
    opt_level: str = "",
    samples: int = Whole(1),
    wheels: str = "built",
    library: bool = False,
    json: bool = False,
) -> None:
    """Write wheels and models with a program that installs them, for a device elsewhere."""
    from deploy.release import export as exporting
    from deploy.tasks.chosen_models import chosen
    from toolchain import targets
    from toolchain.bundle import assemble
    from toolchain.bundle.choice import Choice
    from toolchain.bundle.wheels import Wanted, are_official

    path = Path(options.required("to", to, "my-network.tar.gz")).expanduser()
    levels, as_published = options.numbers("opt-level", opt_level), are_official(wheels)
    wanted = Choice(
        runtimes=options.names(runtime), variants=options.names(variant), opt_levels=levels
    )
    target = board.name()
    known = targets.target(target)
    sent = chosen(known, options.names(model), wanted, as_published=as_published)
    of_wheels = Wanted(as_published=as_published, runtimes=wanted.runtimes)
    with (
        console.step(f"bundle for {target} into {path}"),
        assemble.to_send(known, sent, samples, wanted=of_wheels, library=library) as folder,
    ):
        release = assemble.load(folder).release
        written = exporting.export(folder, f"edgewright-{release[:16]}", path)
    if json:
        console.show_json({"path": str(written), "release": release, "target": target})
        return
    console.out.print(f"{written}: release {release[:16]} for {target}", soft_wrap=True)
    console.note("on the device: unpack it where it is to stay, then: python3 install.py")
