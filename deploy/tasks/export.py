"""The task that writes a bundle for a device that is not reached from here: parse, call, print."""

from __future__ import annotations

from pathlib import Path

from invoke import Context, task

from toolchain.commandline import console, options
from toolchain.commandline.console import guarded
from toolchain.commandline.options import DEFAULT_TARGET, JSON, TARGET, Whole


@task(
    help={
        "to": "a file that ends in .tar.gz, or a folder",
        "target": f"{TARGET}; {DEFAULT_TARGET} when left out",
        "model": "models, separated by commas; all that are compiled when left out",
        "runtime": "runtimes, or all; those of conversion and compilation when left out",
        "variant": "variants such as fp32,int8; all that were made when left out",
        "opt-level": "levels of compiled libraries, separated by commas; all when left out",
        "samples": "inputs of each model that go along; all when 0",
        "json": JSON,
    }
)
@guarded
def export(
    _: Context,
    *,
    to: str = "",
    target: str = DEFAULT_TARGET,
    model: str = "",
    runtime: str = "",
    variant: str = "",
    opt_level: str = "",
    samples: int = Whole(1),
    json: bool = False,
) -> None:
    """Write wheels and models with a program that installs them, for a device elsewhere."""
    from deploy.release import export as exporting
    from toolchain import targets
    from toolchain.bundle import assemble, compiled_models
    from toolchain.bundle.choice import Choice, narrowed

    path = Path(options.required("to", to, "my-network.tar.gz")).expanduser()
    levels = options.numbers("opt-level", opt_level)
    executed_by, chosen = options.names(runtime), targets.target(target)
    wanted = Choice(runtimes=executed_by, variants=options.names(variant), opt_levels=levels)
    made = compiled_models.chosen(chosen, options.names(model), executed_by)
    there = narrowed(made, chosen, wanted, console.note)
    with (
        console.step(f"bundle for {target} into {path}"),
        assemble.to_send(chosen, there, samples) as folder,
    ):
        release = assemble.load(folder).release
        written = exporting.export(folder, f"edgewright-{release[:16]}", path)
    if json:
        console.show_json({"path": str(written), "release": release, "target": target})
        return
    console.out.print(f"{written}: release {release[:16]} for {target}", soft_wrap=True)
    console.note("on the device: unpack it where it is to stay, then: python3 install.py")
