"""The seam to Docker; with `engine_connection`, the way to it, all that imports its SDK.

It builds, loads and saves images and runs commands in containers. Which image, and which command,
is somebody else's knowledge. Every container it starts carries LABEL, so that what a killed run
left behind can be found and removed.
"""

from __future__ import annotations

import collections
import functools
import tarfile
import tempfile
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import requests
from docker.errors import APIError, ImageNotFound, NotFound

from toolchain.core import process
from toolchain.core.errors import BuildError, EngineError
from toolchain.images import container_mark, engine_connection
from toolchain.images.build_container import Mount, OnLine
from toolchain.images.container import TAIL_LINES, Container
from toolchain.images.copied_folders import CopiedFolders
from toolchain.images.engine_connection import explained

LABEL = "edgewright"
PROCESS = "edgewright.process"  # a build's: whose it is, as `process.own_name` names it
START_TIMEOUT_S = 60.0
NOT_ITS_FORMAT = "exec format error"
NO_EMULATOR = (
    "the engine's machine runs no programs of that CPU; there: "
    "apt-get install qemu-user-static binfmt-support"
)


class Engine:
    """A connection to the Docker engine that `engine_connection` finds.

    Raises:
        EngineError: none answers.
    """

    def __init__(self) -> None:
        self._client = engine_connection.connect()
        weakref.finalize(self, self._client.close)
        self._api = self._client.api

    def version(self) -> str:
        """The engine's version, such as 20.10.24."""
        with explained():
            return str(self._client.version()["Version"])

    @functools.cached_property
    def shares_files(self) -> bool:
        """Whether it is of this machine: folders are mounted, and ports are published, here."""
        with explained():
            return engine_connection.shares_files(self._client)

    def image_id(self, reference: str) -> str | None:
        """The id (sha256:…) of an image by tag or id; None when it isn't there."""
        with explained():
            try:
                return str(self._client.images.get(reference).id)
            except ImageNotFound:
                return None

    def image_config(self, reference: str) -> dict[str, Any]:
        """The image's configuration as the engine tells it: Config, RootFS, Architecture."""
        with explained():
            inspected: dict[str, Any] = self._api.inspect_image(reference)
            return inspected

    def load_image(self, archive: Path) -> None:
        """Load an image archive (docker save's format)."""
        with explained(), archive.open("rb") as stream:
            self._client.images.load(stream)

    def save_image(self, reference: str, archive: Path) -> None:
        """Write an image as an archive."""
        with explained(), archive.open("wb") as stream:
            for chunk in self._client.images.get(reference).save():
                stream.write(chunk)

    def tag(self, image_id: str, tag: str) -> None:
        """Give an image a name."""
        with explained():
            self._api.tag(image_id, tag)

    def remove_image(self, reference: str) -> None:
        """Remove an image or a tag; one that isn't there is no error."""
        with explained():
            try:
                self._client.images.remove(reference, force=True)
            except ImageNotFound:
                return

    def build_image(
        self,
        context: Path,
        *,
        tag: str,
        arguments: Mapping[str, str],
        on_line: OnLine | None = None,
    ) -> None:
        """Run `docker build` on a folder, with no network and no layer cache.

        Raises:
            BuildError: a step of the Dockerfile failed; the error holds its last lines.
        """
        tail: collections.deque[str] = collections.deque(maxlen=TAIL_LINES)
        with explained():
            events = self._api.build(
                path=str(context),
                tag=tag,
                buildargs=dict(arguments),
                network_mode="none",
                nocache=True,
                rm=True,
                forcerm=True,
                decode=True,
            )
            for event in events:
                for line in str(event.get("stream", "")).splitlines():
                    tail.append(line)
                    if on_line is not None:
                        on_line(line)
                if "error" in event:
                    raise BuildError(
                        f"docker build of {tag} failed: {event['error']}",
                        detail="\n".join(tail),
                        resolution=NO_EMULATOR if NOT_ITS_FORMAT in "".join(tail) else "",
                    )

    @contextmanager
    def container(
        self,
        image: str,
        *,
        mounts: Sequence[Mount] = (),
        env: Mapping[str, str] | None = None,
        user: str | None = None,
        name: str | None = None,
        hostname: str = "",
        umask: str = "",
        kept: Mapping[str, str] = MappingProxyType({}),
    ) -> Iterator[Container]:
        """A container without network, removed at the end whatever happens.

        Args:
            image: tag or id.
            mounts: folders of this machine that it sees; copies of them, where the engine is
                another machine's.
            env: variables of every command run in it.
            user: "uid:gid" that commands run as.
            name: its name; the engine chooses one when not given.
            hostname: the machine's name in it; the engine chooses one when empty.
            umask: of every command; the engine's when empty.
            kept: targets of mounts whose content nobody reads here: where the engine is another
                machine's they are not copied, but of the volume named, or new where that is empty.
        """
        with container_mark.kept(), ExitStack() as stack:
            if self.shares_files:
                binds = [f"{m.source}:{m.target}:{'ro' if m.read_only else 'rw'}" for m in mounts]
            else:
                written = [m.target for m in mounts if not m.read_only]
                binds = [f"{kept[t]}:{t}" if kept.get(t) else t for t in written]
            container = self._start(
                image,
                name=name,
                command=["sleep", "infinity"],
                binds=binds,
                environment=dict(env or {}),
                user=user,
                network_mode="none",
                init=True,
                hostname=hostname or None,
            )
            container.umask = umask
            stack.callback(self.remove_container, container.id)
            if not self.shares_files:
                container.folders = stack.enter_context(
                    CopiedFolders(self._api, container.id, mounts, kept, user)
                )
            yield container

    def attach(self, identity: str) -> Container:
        """A container that another process of ours runs, by its id."""
        return Container(id=identity, name=identity[:12], _api=self._api)

    def start_service(
        self,
        image: str,
        *,
        name: str,
        port: int,
        publish: int,
        env: Mapping[str, str],
        labels: Mapping[str, str],
    ) -> Container:
        """Start a container that stays, its port published on 127.0.0.1 only.

        Args:
            image: tag or id; its own command is run.
            name: the container's name.
            port: port inside the container.
            publish: port on 127.0.0.1.
            env: its environment.
            labels: what `services` gives back.
        """
        return self._start(
            image,
            name=name,
            command=None,
            binds=(),
            environment=dict(env),
            user=None,
            ports={f"{port}/tcp": ("127.0.0.1", publish)},
            labels={LABEL: "service", **labels},
            init=True,
        )

    def services(self) -> dict[str, dict[str, str]]:
        """Labels and state of each container started by `start_service`, by name."""
        with explained():
            services = self._listed("service")
            return {c.name: {**c.labels, "state": c.status} for c in services}

    def remove_builds(self, is_left: Callable[[str], bool] = lambda _process: True) -> None:
        """Remove the containers of builds that were left behind.

        Args:
            is_left: whether those of a process, by its `process.own_name`, are; else all.
        """
        with explained():
            left = [c for c in self._listed("build") if is_left(c.labels.get(PROCESS, ""))]
        for container in left:
            self.remove_container(container.id)

    def _listed(self, kind: str) -> list[Any]:
        # another process may take one away between the list and the look at each
        containers: list[Any] = self._client.containers.list(
            all=True, filters={"label": f"{LABEL}={kind}"}, ignore_removed=True
        )
        return containers

    def remove_container(self, reference: str) -> None:
        """Stop and remove a container; one that isn't there is no error."""
        with explained():
            try:
                self._api.remove_container(reference, force=True, v=True)
            except NotFound:
                return
            except APIError as error:
                if error.status_code != requests.codes.conflict:  # being removed already
                    raise

    def copy_in(self, reference: str, folder: Path, target: str) -> None:
        """Copy a folder's content into a running container.

        Args:
            reference: the container's name or id.
            folder: of this machine; or a file, which keeps its name.
            target: a folder in the container; made when it isn't there.

        Raises:
            EngineError: there is no such container, or the engine refused.
        """
        container = self.exec_in(reference)
        container.call(["mkdir", "-p", target])
        with tempfile.TemporaryFile() as archive:
            with tarfile.open(fileobj=archive, mode="w") as tar:
                tar.add(folder, arcname="." if folder.is_dir() else folder.name)
            archive.seek(0)
            with explained():
                self._api.put_archive(container.id, target, archive)

    def copy_out(self, reference: str, file: str, folder: Path) -> None:
        """Copy a file of a running container into a folder here, under its name.

        Raises:
            EngineError: there is no such container or file, or the engine refused.
        """
        with tempfile.TemporaryFile() as archive, explained():
            for chunk in self._api.get_archive(reference, file)[0]:
                archive.write(chunk)
            archive.seek(0)
            with tarfile.open(fileobj=archive) as tar:
                tar.extractall(folder, filter="data")

    def exec_in(self, reference: str) -> Container:
        """A running container by name, to run commands in.

        Raises:
            EngineError: there is none.
        """
        with explained():
            container = self._client.containers.get(reference)
            return Container(id=container.id, name=container.name, _api=self._api)

    def _start(
        self,
        image: str,
        *,
        name: str | None,
        command: list[str] | None,
        binds: Sequence[str],
        environment: dict[str, str],
        user: str | None,
        **options: Any,
    ) -> Container:
        options.setdefault("labels", {LABEL: "build", PROCESS: process.own_name()})
        with explained():
            container = self._client.containers.create(
                image,
                command,
                name=name,
                volumes=[*binds],
                environment=environment,
                user=user,
                **options,
            )
            try:
                container.start()
                deadline = time.monotonic() + START_TIMEOUT_S
                while container.status != "running":
                    container.reload()
                    if container.status == "exited" or time.monotonic() > deadline:
                        log = container.logs().decode(errors="replace")
                        raise EngineError(f"{container.name} did not start", detail=log)
            except BaseException:
                container.remove(force=True)
                raise
            return Container(id=container.id, name=container.name, _api=self._api)
