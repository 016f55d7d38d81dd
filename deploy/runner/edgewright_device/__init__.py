"""Networks of a release in a program of the user's own, on the device.

    from edgewright_device import load

    net = load("mobilenetv3-large")
    for label, score in net.classify("cat.jpg"):
        print(label, score)

The program runs by the release's own Python, `edgewright/current/venv/bin/python`. Python's
library and numpy are all that is needed; Pillow or OpenCV reads pictures where one is installed.
Written for Python 3.10 and later.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Literal, overload

from edgewright_device.errors import (
    EdgewrightError,
    InputError,
    MeaningError,
    NotDeployedError,
    RuntimeFailedError,
)
from edgewright_device.following import FollowedNetwork
from edgewright_device.network import Box, Network
from edgewright_device.release import Release, Wanted

__all__ = [
    "Box",
    "EdgewrightError",
    "FollowedNetwork",
    "InputError",
    "MeaningError",
    "Network",
    "NotDeployedError",
    "RuntimeFailedError",
    "load",
    "models",
]

# Of runner/edgewright_device/__init__.py, and not what a link leads to after the next deployment.
OWN = Path(__file__).parents[2].resolve()


def _own(path: str) -> str:
    """A folder of this release by its own path, whatever link it was given by."""
    real = os.path.realpath(path)
    return real if path and real.startswith(f"{OWN}{os.sep}") else path


# What is imported later is of this release too.
sys.path[:] = [_own(path) for path in sys.path]


@overload
def load(
    name: str,
    *,
    runtime: str | None = None,
    variant: str | None = None,
    opt_level: int | None = None,
    threads: int | None = None,
    batch: int | None = None,
    release: Path | str | None = None,
    follow: Literal[False] = False,
) -> Network: ...


@overload
def load(
    name: str,
    *,
    runtime: str | None = None,
    variant: str | None = None,
    opt_level: int | None = None,
    threads: int | None = None,
    batch: int | None = None,
    release: Path | str | None = None,
    follow: Literal[True],
) -> FollowedNetwork: ...


def load(
    name: str,
    *,
    runtime: str | None = None,
    variant: str | None = None,
    opt_level: int | None = None,
    threads: int | None = None,
    batch: int | None = None,
    release: Path | str | None = None,
    follow: bool = False,
) -> Network | FollowedNetwork:
    """A network of a release, ready to be called.

    Args:
        name: the model's.
        runtime: its name; what the model's metadata says, else the first that there is.
        variant: of the network, such as int8; as it was trained where that is there.
        opt_level: of a runtime that has such levels; the highest.
        threads: of the runtime; what the model's metadata says, else 1.
        batch: samples of a call; the smallest that is deployed.
        release: the release's folder, as a path or its text; the one that this library is in.
        follow: whether the network changes, between two calls, when another release is current;
            `release` is then the link that says which one is, beside the releases.

    Raises:
        NotDeployedError: the release holds nothing like that.
        RuntimeFailedError: the runtime can't load it.
        EdgewrightError: the release can't be read.
    """
    wanted = Wanted(runtime, variant, opt_level)
    if follow:
        link = OWN.parents[1] / "current" if release is None else Path(release)
        runs = OWN if (OWN / "manifest.json").is_file() else link
        return FollowedNetwork(link, runs, name, batch, wanted, threads)
    model = Release(Path(release or OWN)).model(name, batch)
    return Network(model, model.form(wanted), threads or model.threads)


def models(release: Path | str | None = None) -> list[str]:
    """The names of the models of a release.

    Args:
        release: its folder; the one that this library is in.

    Raises:
        EdgewrightError: it can't be read.
    """
    return Release(Path(release or OWN)).models
