"""Where things that a user may add are found: our folder of that kind, and the user's own.

`EDGEWRIGHT_PLUGINS` names folders, separated as in PATH. Each may hold a folder of a kind, such as
`runtimes`, with modules like those of ours. They are code, and run as the user who names them.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import pkgutil
import sys
from functools import cache
from pathlib import Path
from types import ModuleType

from toolchain.core.errors import UsageError

VARIABLE = "EDGEWRIGHT_PLUGINS"


def named() -> tuple[Path, ...]:
    """The user's folders, absolute, in the order in which they are named."""
    given = os.environ.get(VARIABLE, "").split(os.pathsep)
    return tuple(Path(folder).resolve() for folder in given if folder)


def folders(kind: str) -> tuple[Path, ...]:
    """The user's folders of a kind, in the order in which they are named."""
    return tuple(sub for folder in named() if (sub := folder / kind).is_dir())


def names(package: ModuleType, kind: str) -> list[str]:
    """The names of `modules`, sorted, without importing any."""
    ours = [found.name for found in pkgutil.iter_modules(package.__path__)]
    return sorted({*ours, *(path.stem for path in _files(kind))})


def sources(package: ModuleType, kind: str) -> list[Path]:
    """The files of `modules`, without importing any."""
    ours = [path for folder in package.__path__ for path in sorted(Path(folder).glob("[!_]*.py"))]
    return ours + _files(kind)


def modules(package: ModuleType, kind: str) -> list[ModuleType]:
    """The modules of a package of ours, and those of the user's folders of that kind.

    Args:
        package: such as `toolchain.runtimes`; what is in its folder is imported.
        kind: the folder's name in a user's folder.

    Raises:
        UsageError: a folder that is named isn't there, or a module in it can't be imported.
    """
    for folder in named():
        if not folder.is_dir():
            raise UsageError(
                f"{VARIABLE} names {folder}, which is no folder",
                resolution="give the folders that hold your own runtimes and the like",
            )
    ours = [
        importlib.import_module(f"{package.__name__}.{found.name}")
        for found in pkgutil.iter_modules(package.__path__)
    ]
    return ours + [_imported(path) for path in _files(kind)]


def _files(kind: str) -> list[Path]:
    return [path for folder in folders(kind) for path in sorted(folder.glob("[!_]*.py"))]


@cache
def _imported(path: Path) -> ModuleType:
    # two folders may have a module of one name, so the whole path is its name
    spec = importlib.util.spec_from_file_location(f"{VARIABLE}:{path}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise UsageError(
            f"{path}: this plug-in can't be imported",
            detail=f"{type(error).__name__}: {error}",
            resolution=f"mend it, or take its folder out of {VARIABLE}",
        ) from error
    return module
