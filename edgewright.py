"""The `edgewright` command: the tasks of tasks.py, for a folder of the user's own.

The folder is the one it is called in, and has an inventory.yml; dist/, results/ and reports/ are
made there. All else (pins, images' folders, patches, targets) is read from this checkout.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import NoReturn

from invoke import Program

import tasks
from toolchain.commandline import console
from toolchain.commandline.options import INVENTORY
from toolchain.core import paths
from toolchain.core.errors import EdgewrightError, UsageError

# tasks about the machine, which need no folder
ANYWHERE = {"clean", "doctor", "setup"}


class Command(Program):  # type: ignore[misc]  # invoke has no types
    """Invoke's own program, which looks at the folder before it runs a task."""

    def print_version(self) -> None:
        """Print the version of the checkout that is installed, which only --version has to find."""
        from importlib import metadata

        print(f"{self.name} {metadata.version('edgewright')}")  # noqa: T201  # as invoke does

    def execute(self) -> None:
        """Run the tasks that were named, with their outputs in this folder."""
        try:
            refuse_package(paths.ROOT)
            if not {task.name for task in self.tasks} <= ANYWHERE:
                use_folder(Path.cwd())
        except EdgewrightError as error:
            console.show_error(error)
            sys.exit(error.exit_code)
        super().execute()


def refuse_package(root: Path) -> None:
    """Refuse to run from a package that was built from the checkout: it lacks what is no Python.

    Args:
        root: the folder that toolchain/ is in.

    Raises:
        EdgewrightError: docker/ or patches/ is not there. (`docker` of a package's folder is the
            SDK, so a file in it is asked for.)
    """
    needed = ("docker/cross/image.toml", "patches")
    if lacking := [name for name in needed if not (root / name).exists()]:
        raise EdgewrightError(
            "edgewright runs from its checkout, and this is a package without it",
            detail=f"{root} lacks {' and '.join(lacking)}",
            resolution="in a clone of the repository: make setup; then .venv/bin/edgewright there",
        )


def use_folder(folder: Path) -> None:
    """Have dist/, results/ and reports/ made in a folder, unless EDGEWRIGHT_DIST says where.

    Raises:
        UsageError: the folder has no inventory.yml, so it is not known to be a project's.
    """
    if not (folder / INVENTORY).is_file():
        raise UsageError(
            f"no {INVENTORY} in {folder}",
            detail="dist/, results/ and reports/ are made where it stands",
            resolution=f"go to the folder that has one, or begin one: "
            f"cp {paths.ROOT / INVENTORY} .",
        )
    os.environ.setdefault("EDGEWRIGHT_DIST", str(folder))


def main() -> NoReturn:
    """Run the tasks of the command line; its exit code is theirs."""
    console.task_command = "edgewright"
    Command(name="edgewright", binary="edgewright", namespace=tasks.ns).run()
    sys.exit(0)


if __name__ == "__main__":
    main()
