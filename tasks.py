"""The invoke tasks: parse, call, print. No logic; `invoke --list` is the manual.

Modules are imported by the task that needs them, so that listing the tasks is quick.
"""

from __future__ import annotations

from pathlib import Path

from invoke import Collection, Context, task

from toolchain import console
from toolchain.console import guarded

INVENTORY = "inventory.yml"
QUICKSTART_MODELS = "digits-cnn,mobilenetv3-large"
JSON = "print JSON instead of a table"
TARGET = "name of a target in toolchain/targets.toml"
PYTHON = "version of the device's Python, such as 3.13"
HOST = "name of a device in the inventory"
INVENTORY_HELP = "the inventory file"


def _list(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


@task(help={"json": JSON})
@guarded
def doctor(_: Context, json: bool = False) -> None:
    """Show what this machine has of what the tasks need; exit 1 when something is missing."""
    from toolchain import host

    checks = host.checks()
    if json:
        console.show_json([vars(c) for c in checks])
    else:
        rows = [
            ["✓" if c.ok else "✗", c.name, c.found, "" if c.ok else c.resolution] for c in checks
        ]
        console.show_table("this machine", ["", "what", "found", "what to do"], rows)
    if not all(c.ok for c in checks):
        raise SystemExit(1)


@task
@guarded
def setup(_: Context) -> None:
    """Install and start what is missing on this machine: Docker engine, emulators (Debian, root)."""
    from toolchain import host

    with console.step("set-up of this machine") as say:
        host.install(say)


@task(help={"target": TARGET, "json": JSON})
@guarded
def build_images(_: Context, target: str = "rv64gc", json: bool = False) -> None:
    """Build the images: the cross image and the emulated device's."""
    from toolchain import images, imagespec, targets
    from toolchain.engine import Engine
    from toolchain.store import Store

    chosen = targets.target(target)
    engine = Engine()
    built = []
    for kind in images.KINDS:
        spec = imagespec.spec(kind, chosen)
        with console.step(f"image {spec.name}") as say:
            built.append(
                images.build(spec, engine, Store(), progress=say, fetched=console.counter(say))
            )
    if json:
        console.show_json([vars(image) for image in built])
    else:
        rows = [[i.name, i.tag, i.id, "built" if i.built else "unchanged"] for i in built]
        console.show_table("images", ["image", "tag", "id", ""], rows)
