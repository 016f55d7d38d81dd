"""The task that writes a program for a network: parse, call, print."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from invoke import Context, task

from toolchain.commandline import console, options
from toolchain.commandline.console import guarded
from toolchain.commandline.options import Whole
from toolchain.core.errors import UsageError

LANGUAGES = ("python", "c", "cpp")


@task(
    help={
        "model": "the name of a converted model",
        "language": f"of the program: {', '.join(LANGUAGES)}",
        "batch": "the batch size",
        "out": "the file to write (c, cpp: the folder), which is not there yet; without it the "
        "program is printed",
    }
)
@guarded
def example(
    _: Context, *, model: str = "", language: str = "python", batch: int = Whole(1), out: str = ""
) -> None:
    """Write a complete small program that runs a converted model on a device."""
    from toolchain.examples import c_program, python_program
    from toolchain.models import place
    from toolchain.models.manifest import ModelManifest

    name = options.required("model", model, "mobilenetv3-large")
    if language not in LANGUAGES:
        raise UsageError(
            f"no programs are written in {language}",
            resolution=f"give one of --language {', '.join(LANGUAGES)}",
        )
    folder = place.folder_of(name, batch)
    if not folder.is_dir():
        known = sorted({path.parent.name for path in place.all_folders()})
        raise UsageError(
            f"{name} was not converted at batch {batch}",
            detail=f"converted are: {', '.join(known) or 'none'}",
            resolution=f"run: invoke convert --model {name}",
        )
    manifest = ModelManifest.load(folder)
    labels: list[str] = []
    if manifest.labels is not None:
        path = folder / manifest.labels.file
        try:
            labels = path.read_text("utf-8").splitlines()
        except OSError as error:
            raise UsageError(
                f"{path} is gone", resolution=f"run: invoke convert --model {name}"
            ) from error
    if language == "python":
        files = {"": python_program.program(manifest, labels)}
    else:
        files = c_program.programs(manifest, labels, language)
    if not out:
        sys.stdout.write(next(iter(files.values())))
        return
    path = Path(out).expanduser()
    try:
        _write(path, files)
    except FileExistsError as error:
        # a program that was begun with is changed by whoever has it
        raise UsageError(
            f"{path} is there already", resolution="name a path that is not there yet"
        ) from error
    except OSError as error:
        raise UsageError(f"{out} can't be written", detail=str(error)) from error
    console.note(f"written: {path}")


def _write(path: Path, files: Mapping[str, str]) -> None:
    """Write a file of no name, or a folder of files by their names.

    Raises:
        FileExistsError: there is something of that path.
        OSError: it can't be written.
    """
    if "" not in files:
        path.mkdir()
    for name, text in files.items():
        with (path / name).open("x", encoding="utf-8") as stream:
            stream.write(text)
