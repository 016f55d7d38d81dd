"""A network that goes with the release that is current, from one call to the next."""

from __future__ import annotations

import logging
import os
import threading
from pathlib import Path
from typing import Any

import numpy as np

from edgewright_device.errors import EdgewrightError
from edgewright_device.network import Arrays, Box, Network
from edgewright_device.release import Json, Release, Wanted

LOG = logging.getLogger("edgewright_device")


class FollowedNetwork:
    """A network of the release that a link leads to. Has all that a `Network` has.

    Each call, `classify`, `detect`, `segment` and `reset` begin with a look at the link. Where it
    leads to another release, the network of that one is loaded and answers from then on; state
    begins anew. Where that can't be, the one before goes on, and a warning says so once, to the
    log `edgewright_device`.

    Args:
        link: to the release, moved by deployments.
        begun: the release whose code this process runs.
        name: the model's.
        batch: samples of a call; the smallest where it is None.
        wanted: which of the model's forms.
        threads: of the runtime; what the model's metadata says where it is None.

    Raises:
        NotDeployedError: the current release holds nothing like that; where it has other code,
            the one that the process has begun with.
        RuntimeFailedError: the runtime can't load it.
        EdgewrightError: the link is none, or that release can't be read.

    Attributes:
        refused: why the release that is current is not the one that answers; empty where it is.
    """

    def __init__(
        self,
        link: Path,
        begun: Path,
        name: str,
        batch: int | None,
        wanted: Wanted,
        threads: int | None,
    ) -> None:
        if not link.is_symlink():
            raise EdgewrightError(
                f"{link} is no link to a release, so there is nothing to follow",
                "give release= the link that deployments move, such as edgewright/current",
            )
        self._link, self._name, self._batch = link.absolute(), name, batch
        self._wanted, self._threads = wanted, threads
        self._changing = threading.Lock()
        begun_with, current = Release(begun), Release(link)
        self._code = begun_with.code
        release = begun_with if self._other_code(current) else current
        self._folder = release.folder
        model = release.model(name, batch)
        self._face = _face(model.card)
        self._network = Network(model, model.form(wanted), threads or model.threads)
        self._seen: str | None = None
        self.refused = ""

    def __call__(self, given: Any = None, /, **arrays: Any) -> Arrays:
        """One inference, as `Network` has it."""
        return self._current()(given, **arrays)

    def classify(self, given: Any, top: int = 5) -> list[tuple[str, float]]:
        """The best classes, as `Network` has them."""
        return self._current().classify(given, top)

    def detect(self, given: Any, score: float = 0.25) -> list[Box]:
        """The objects in a picture, as `Network` has them."""
        return self._current().detect(given, score)

    def segment(self, given: Any) -> np.ndarray:
        """The class of each pixel, as `Network` has it."""
        return self._current().segment(given)

    def reset(self) -> None:
        """Begin a sequence anew."""
        self._current().reset()

    def __getattr__(self, name: str) -> Any:
        """What else the network has that answered the last call."""
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._network, name)

    def _current(self) -> Network:
        """The network that is to answer."""
        # a thread that finds another at it goes on with what there is
        if self._target() != self._seen and self._changing.acquire(blocking=False):
            try:
                self._follow(self._target())
            finally:
                self._changing.release()
        return self._network

    def _target(self) -> str:
        try:
            return os.readlink(self._link)  # noqa: PTH115 (each call pays for this one)
        except OSError:  # no release is current
            return ""

    def _follow(self, target: str) -> None:
        """Take the network of the release that the link leads to, or say why not."""
        try:
            if not target:
                raise EdgewrightError("no release is current", "deploy")
            folder = (self._link.parent / target).resolve()
            if folder != self._folder:
                self._network, self._folder = self._of(Release(folder)), folder
            self.refused = ""
        except Exception as error:  # noqa: BLE001 (whatever a release holds, the program goes on)
            said = str(error) if isinstance(error, EdgewrightError) else repr(error)
            self.refused = " ".join(said.split())
            runs = self._network.release[:16]
            LOG.warning("%s goes on with release %s: %s", self._name, runs, self.refused)
        self._seen = target

    def _other_code(self, release: Release) -> str:
        """The name of a file of code that it has and the process has not; empty where all is."""
        for path, digest in release.code.items():
            if self._code.get(path) != digest:
                return Path(path).name
        return ""

    def _of(self, release: Release) -> Network:
        """The network of another release.

        Raises:
            EdgewrightError: it can't take the place of the one that runs.
        """
        code = self._other_code(release)
        if code:
            raise EdgewrightError(
                f"release {release.id[:16]} has other code, {code}",
                "restart the program: a process keeps the libraries that it has begun with",
            )
        model = release.model(self._name, self._batch)
        face = _face(model.card)
        for what, tensors in self._face.items():
            if face[what] != tensors:
                raise EdgewrightError(
                    f"{self._name} of release {release.id[:16]} has other {what}",
                    "restart the program if it can take them",
                )
        form = model.form(self._wanted)
        for path in (*model.described_by, form.path):
            release.check_whole(path)
        return Network(model, form, self._threads or model.threads)


def _face(card: Json) -> Json:
    """What a program relies on when it calls a network.

    Outputs may have other shapes, of more classes for instance.
    """
    state = card.get("state") or {"feeds": []}
    return {
        "inputs": [(one["name"], tuple(one["shape"]), one["dtype"]) for one in card["inputs"]],
        "outputs": [(one["name"], one["dtype"]) for one in card["outputs"]],
        "state": sorted(feed["input"] for feed in state["feeds"]),
    }
