"""One bundle for each Python: of wheels that serve one Python alone, a device is sent its own.

The bundle of a target has those for every Python; beside it stands one for each of them, made of
the same files, with a release id of its own. Where all wheels serve every Python there is the one.
A device without Python is sent one without wheels: the library for programs in C and C++, and of
each network what that executes.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from packaging.utils import parse_wheel_filename

from toolchain.bundle import assemble, placement, wheels
from toolchain.core.store import digest_file
from toolchain.library import library_folder
from toolchain.models.manifest import ModelManifest
from toolchain.wheels import elf

WHEELS, REQUIREMENTS = "wheels", "requirements.txt"
NO_PYTHON = "none"


def split(folder: Path) -> list[Path]:
    """Make the bundles for each Python, and that for no Python, beside a bundle.

    Where all wheels serve every Python there are none of the first kind, and where nothing runs
    without Python there is none of the second.

    Args:
        folder: the bundle, of the caller's own.
    """
    names = [path.name for path in sorted((folder / WHEELS).iterdir())]
    pythons = sorted({python for name in names if (python := only_python(name))})
    of_pythons = [_for(python, folder, names) for python in pythons]
    return of_pythons + ([_without_python(folder)] if _serves_c(folder) else [])


def fitting(folder: Path, python: str) -> Path:
    """The bundle that a device with a Python is sent: its own, or the one that serves all.

    Args:
        folder: the bundle.
        python: the version, such as 3.13.5, or `none`; what a device says, which may be anything.
    """
    known = re.match(rf"3\.[0-9]{{1,3}}(?![0-9])|{NO_PYTHON}$", python)
    own = _beside(folder, known[0]) if known else folder
    return own if own.is_dir() else folder


def only_python(wheel: str) -> str:
    """The one Python that a wheel serves, such as 3.13; empty when there are more.

    Args:
        wheel: the name of its file.
    """
    tags = parse_wheel_filename(wheel)[3]
    abis = {tag.abi for tag in tags if tag.abi == tag.interpreter}
    if len(abis) != 1 or any(tag.abi not in abis for tag in tags):
        return ""
    (abi,) = abis
    return f"{abi[2]}.{abi[3:]}"


def _beside(folder: Path, python: str) -> Path:
    return folder.with_name(f"{folder.name}-python{python}")


def _for(python: str, folder: Path, names: Iterable[str]) -> Path:
    own = _beside(folder, python)
    shutil.copytree(folder, own, copy_function=placement.share)
    foreign = {name for name in names if only_python(name) not in ("", python)}
    fit = {_project(name) for name in names if name not in foreign}
    # a project that has nothing for this Python keeps what it has, so that the device is refused
    for name in (name for name in foreign if _project(name) in fit):
        (own / WHEELS / name).unlink()
    fields = json.loads((own / placement.MANIFEST).read_text())
    _replace(own / REQUIREMENTS, wheels.requirements(own / WHEELS))
    files = [
        {**of, **_as_it_is(own / of["path"])}
        for of in fields["files"]
        if (own / of["path"]).is_file()
    ]
    there = [path for path in fields["wheels"] if (own / path).is_file()]
    fields |= {"files": files, "wheels": there}
    fields["release"] = assemble.release_id(fields)
    _replace(own / placement.MANIFEST, json.dumps(fields, indent=1, sort_keys=True))
    return own


def _serves_c(folder: Path) -> bool:
    """Whether there is anything in a bundle for a device without Python."""
    models = json.loads((folder / placement.MANIFEST).read_text())["models"]
    # a release without its networks would take the place of one that has them
    if models:
        return any(_in_c(folder, one) for one in models)
    return (folder / assemble.LIBRARY).is_dir()


def _in_c(folder: Path, model: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What of a model, as a manifest has it, programs in C and C++ execute.

    Without the library in the bundle that is what a program of the user's own can read.
    """
    with_library = (folder / assemble.LIBRARY).is_dir()
    by = library_folder.RUNTIMES if with_library else (library_folder.RUNTIME,)
    return [executable for executable in model["executables"] if executable["runtime"] in by]


def _without_python(folder: Path) -> Path:
    """Make the bundle for a device without Python beside a bundle."""
    own, fields = _beside(folder, NO_PYTHON), json.loads((folder / placement.MANIFEST).read_text())
    models = [
        {**model, "executables": of} for model in fields["models"] if (of := _in_c(folder, model))
    ]
    kept = {of["path"] for of in fields["files"] if of["path"].startswith(f"{assemble.LIBRARY}/")}
    kept |= {one["file"] for model in models for one in model["executables"]}
    cards = {model["folder"]: ModelManifest.load(folder / model["folder"]) for model in models}
    kept |= {f"{path}/{card.labels.file}" for path, card in cards.items() if card.labels}
    for path in sorted(kept):
        (own / path).parent.mkdir(parents=True, exist_ok=True)
        placement.share(str(folder / path), str(own / path))
    for path, card in cards.items():
        there = {
            target: {name: one for name, one in of.items() if f"{path}/{one.file}" in kept}
            for target, of in card.libraries.items()
        }
        libraries = {target: of for target, of in there.items() if of}
        card.model_copy(update={"libraries": libraries, "artifacts": {}}).save(own / path)
    # what a Python that comes to the device later installs a release anew with
    own.mkdir(exist_ok=True)
    (own / REQUIREMENTS).write_text("")
    asked: dict[str, str] = {}
    for path in sorted(own.rglob("*")):
        if path.is_file() and elf.is_elf(path):
            asked = elf.highest(asked, elf.read(path).versions)
    requires = {
        **fields["requires"],
        "glibc": asked.get("GLIBC", "0"),
        "glibcxx": asked.get("GLIBCXX", "0"),
        "modules": [],
    }
    files = [of.model_dump() for of in assemble.files(own)]
    fields |= {"files": files, "wheels": [], "models": models, "requires": requires}
    fields["release"] = assemble.release_id(fields)
    (own / placement.MANIFEST).write_text(json.dumps(fields, indent=1, sort_keys=True))
    return own


def _as_it_is(path: Path) -> dict[str, object]:
    return {"sha256": digest_file(path), "size": path.stat().st_size}


def _replace(path: Path, text: str) -> None:
    """Write a file anew: its bytes are those of the other bundles too."""
    path.unlink()
    path.write_text(text)


def _project(wheel: str) -> str:
    return parse_wheel_filename(wheel)[0]
