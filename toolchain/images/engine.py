"""The seam to Docker: the only module that imports its SDK.

It builds, loads and saves images and runs commands in containers. Which image, and which command,
is somebody else's knowledge. Every container it starts carries LABEL, so that what a killed run
left behind can be found and removed.
"""

from __future__ import annotations

import collections
import tarfile
import tempfile
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests
from docker.client import DockerClient
from docker.errors import APIError, DockerException, ImageNotFound, NotFound

from toolchain.core import process
from toolchain.core.errors import BuildError, EngineError
from toolchain.images import container_mark
from toolchain.images.build_container import Mount, OnLine

LABEL = "edgewright"
PROCESS = "edgewright.process"  # a build's: whose it is, as `process.own_name` names it
TAIL_LINES = 40
START_TIMEOUT_S = 60.0


@dataclass(kw_only=True)
class Container:
    """A running container; see `Engine.container`."""

    id: str
    name: str
    _api: Any = field(repr=False)
    umask: str = ""

    def call(
        self,
        args: Sequence[str],
        *,
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
        on_line: OnLine | None = None,
    ) -> str:
        """Run a command in the container and return what it printed.

        Raises:
            BuildError: it returned non-zero; the error holds the last lines.
            EngineError: the engine went away.
        """
        under = ["sh", "-c", 'umask "$0"; exec "$@"', self.umask] if self.umask else []
        tail: collections.deque[str] = collections.deque(maxlen=TAIL_LINES)
        output: list[str] = []
        with _explained():
            execution = self._api.exec_create(
                self.id, [*under, *args], workdir=cwd, environment=dict(env or {})
            )["Id"]
            rest = ""
            for chunk in self._api.exec_start(execution, stream=True):
                text = chunk.decode(errors="replace")
                output.append(text)
                *lines, rest = (rest + text).split("\n")
                for line in lines:
                    tail.append(line)
                    if on_line is not None:
                        on_line(line)
            if rest:
                tail.append(rest)
            code = self._api.exec_inspect(execution)["ExitCode"]
        if code is None:
            raise EngineError(
                "the Docker engine stopped in the middle of a step",
                detail=" ".join(args[:3]),
                resolution="start it (invoke setup does) and run the same task again",
            )
        if code != 0:
            raise BuildError(
                f"{args[0]} failed in {self.name} with exit status {code}", detail="\n".join(tail)
            )
        return "".join(output)

    def log(self) -> str:
        """The last lines of what its own command has printed."""
        with _explained():
            said: bytes = self._api.logs(self.id, tail=TAIL_LINES)
            return said.decode(errors="replace").strip()


class Engine:
    """A connection to the Docker engine that DOCKER_HOST or the usual socket names.

    Raises:
        EngineError: none answers.
    """

    def __init__(self) -> None:
        try:
            self._client = DockerClient.from_env(timeout=600)
            weakref.finalize(self, self._client.close)
            self._client.ping()
        except (DockerException, requests.RequestException, OSError) as error:
            raise EngineError(
                "no Docker engine answers",
                detail=str(error),
                resolution="run: invoke setup   (as root on Debian it installs and starts one)",
            ) from error
        self._api = self._client.api

    def version(self) -> str:
        """The engine's version, such as 20.10.24."""
        with _explained():
            return str(self._client.version()["Version"])

    def image_id(self, reference: str) -> str | None:
        """The id (sha256:…) of an image by tag or id; None when it isn't there."""
        with _explained():
            try:
                return str(self._client.images.get(reference).id)
            except ImageNotFound:
                return None

    def image_config(self, reference: str) -> dict[str, Any]:
        """The image's configuration as the engine tells it: Config, RootFS, Architecture."""
        with _explained():
            inspected: dict[str, Any] = self._api.inspect_image(reference)
            return inspected

    def load_image(self, archive: Path) -> None:
        """Load an image archive (docker save's format)."""
        with _explained(), archive.open("rb") as stream:
            self._client.images.load(stream)

    def save_image(self, reference: str, archive: Path) -> None:
        """Write an image as an archive."""
        with _explained(), archive.open("wb") as stream:
            for chunk in self._client.images.get(reference).save():
                stream.write(chunk)

    def tag(self, image_id: str, tag: str) -> None:
        """Give an image a name."""
        with _explained():
            self._api.tag(image_id, tag)

    def remove_image(self, reference: str) -> None:
        """Remove an image or a tag; one that isn't there is no error."""
        with _explained():
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
        with _explained():
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
                        f"docker build of {tag} failed: {event['error']}", detail="\n".join(tail)
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
    ) -> Iterator[Container]:
        """A container without network, removed at the end whatever happens.

        Args:
            image: tag or id.
            mounts: folders of this machine that it sees.
            env: variables of every command run in it.
            user: "uid:gid" that commands run as.
            name: its name; the engine chooses one when not given.
            hostname: the machine's name in it; the engine chooses one when empty.
            umask: of every command; the engine's when empty.
        """
        with container_mark.kept():
            container = self._start(
                image,
                name=name,
                command=["sleep", "infinity"],
                mounts=mounts,
                environment=dict(env or {}),
                user=user,
                network_mode="none",
                init=True,
                hostname=hostname or None,
            )
            container.umask = umask
            try:
                yield container
            finally:
                self.remove_container(container.id)

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
            mounts=(),
            environment=dict(env),
            user=None,
            ports={f"{port}/tcp": ("127.0.0.1", publish)},
            labels={LABEL: "service", **labels},
            init=True,
        )

    def services(self) -> dict[str, dict[str, str]]:
        """Labels and state of each container started by `start_service`, by name."""
        with _explained():
            services = self._listed("service")
            return {c.name: {**c.labels, "state": c.status} for c in services}

    def remove_builds(self, is_left: Callable[[str], bool] = lambda _process: True) -> None:
        """Remove the containers of builds that were left behind.

        Args:
            is_left: whether those of a process, by its `process.own_name`, are; else all.
        """
        with _explained():
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
        with _explained():
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
            reference: the container's name.
            folder: of this machine.
            target: a folder in the container; made when it isn't there.

        Raises:
            EngineError: there is no such container, or the engine refused.
        """
        container = self.exec_in(reference)
        container.call(["mkdir", "-p", target])
        with tempfile.TemporaryFile() as archive:
            with tarfile.open(fileobj=archive, mode="w") as tar:
                tar.add(folder, arcname=".")
            archive.seek(0)
            with _explained():
                self._api.put_archive(container.id, target, archive)

    def exec_in(self, reference: str) -> Container:
        """A running container by name, to run commands in.

        Raises:
            EngineError: there is none.
        """
        with _explained():
            container = self._client.containers.get(reference)
            return Container(id=container.id, name=container.name, _api=self._api)

    def _start(
        self,
        image: str,
        *,
        name: str | None,
        command: list[str] | None,
        mounts: Sequence[Mount],
        environment: dict[str, str],
        user: str | None,
        **options: Any,
    ) -> Container:
        volumes = {
            str(m.source): {"bind": m.target, "mode": "ro" if m.read_only else "rw"} for m in mounts
        }
        options.setdefault("labels", {LABEL: "build", PROCESS: process.own_name()})
        with _explained():
            container = self._client.containers.create(
                image,
                command,
                name=name,
                volumes=volumes,
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


@contextmanager
def _explained() -> Iterator[None]:
    """Map the SDK's errors to ours."""
    try:
        yield
    except APIError as error:
        text = str(error.explanation or error)
        if "no space left" in text:
            raise EngineError(
                "the Docker engine has no space left",
                detail=text,
                resolution="free some with: docker system prune",
            ) from error
        raise EngineError("the Docker engine refused a request", detail=text) from error
    except (DockerException, requests.RequestException, tarfile.TarError, OSError) as error:
        raise EngineError(
            "lost the Docker engine",
            detail=str(error),
            resolution="start it (invoke setup does) and run the same task again",
        ) from error
