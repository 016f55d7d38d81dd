"""Which Docker engine is meant, the way to it, and what its SDK's errors mean.

The engine is named as the docker command has it: DOCKER_HOST, else the context of DOCKER_CONTEXT or
of `docker context use`, else the usual socket. By `ssh://` it is reached with paramiko, as the
SDK does: keys of the agent and of ~/.ssh, hosts of ~/.ssh/known_hosts alone, and of ~/.ssh/config
HostName, Port, User, IdentityFile and ProxyCommand.
"""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import paramiko
import requests
from docker.client import DockerClient
from docker.constants import DEFAULT_UNIX_SOCKET
from docker.context import ContextAPI
from docker.context.config import get_current_context_name
from docker.errors import APIError, DockerException
from docker.utils.config import find_config_file

from toolchain.core.errors import EngineError

TIMEOUT_S = 600
LOOPBACK = ("localhost", "127.0.0.1", "::1")
FAILURES = (
    DockerException,
    requests.RequestException,
    paramiko.SSHException,
    EOFError,
    OSError,
)


def address() -> str:
    """Where the engine is, such as ssh://builder or unix:///var/run/docker.sock.

    Raises:
        EngineError: the context that is named is not there or can't be read.
    """
    if host := os.environ.get("DOCKER_HOST"):
        return host
    name = os.environ.get("DOCKER_CONTEXT") or get_current_context_name()
    try:
        context = ContextAPI.get_context(name)
    except Exception as error:  # the SDK raises Exception itself for a file that it can't read
        raise EngineError(
            f"the Docker context {name} can't be read",
            detail=str(error),
            resolution=f"make it anew: docker context rm {name}; docker context create {name} …",
        ) from error
    if context is None:
        resolution = "see: docker context ls   (DOCKER_CONTEXT=default is the engine of here)"
        if find_config_file() is None:  # the SDK looks for contexts beside it
            resolution = (
                "its SDK sees contexts beside a config.json: echo {} > ~/.docker/config.json"
            )
        raise EngineError(f"there is no Docker context {name}", resolution=resolution)
    return str(context.Host or DEFAULT_UNIX_SOCKET).removeprefix("http+")


def connect() -> DockerClient:
    """A connection to the engine, which has answered.

    Raises:
        EngineError: none answers.
    """
    place = address()
    try:
        client = DockerClient.from_env(timeout=TIMEOUT_S)
        client.ping()
    except FAILURES as error:
        if is_local(place):
            brief, resolution = (
                "no Docker engine answers",
                "run: invoke setup   (as root on Debian it installs and starts one)",
            )
        else:
            brief, resolution = f"no Docker engine answers at {place}", _try(place)
        raise EngineError(brief, detail=str(error), resolution=resolution) from error
    return client


def is_local(place: str) -> bool:
    """Whether an address is of this machine: a socket file, or a port of its own."""
    parts = urlsplit(place)
    if parts.scheme in ("tcp", "http", "https"):
        return parts.hostname in LOOPBACK
    return parts.scheme in ("", "unix", "http+unix")


def shares_files(client: DockerClient) -> bool:
    """Whether the engine sees this machine's folders, so that containers can mount them.

    Behind a local address may be another machine's engine, by a forwarded port or a socket that is
    mounted in a container: that one has another name, or another kernel.
    """
    if not is_local(address()):
        return False
    its, own = client.info(), os.uname()
    return (its["Name"], its["KernelVersion"]) == (own.nodename, own.release)


def _try(place: str) -> str:
    parts = urlsplit(place)
    if parts.scheme != "ssh":
        return f"see whether it answers: docker --host {place} version"
    port = f"-p {parts.port} " if parts.port else ""
    user = f"{parts.username}@" if parts.username else ""
    return f"see whether it answers: ssh {port}{user}{parts.hostname} docker version"


@contextmanager
def explained() -> Iterator[None]:
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
    except (*FAILURES, tarfile.TarError) as error:
        raise EngineError(
            "lost the Docker engine",
            detail=str(error),
            resolution="start it (invoke setup does) and run the same task again",
        ) from error
