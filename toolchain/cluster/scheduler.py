"""A scheduler of Dask, as the executor asks it."""

from __future__ import annotations

import asyncio
import logging
import re
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from toolchain.cluster import task
from toolchain.cluster.messages import CONVERSIONS, JOBS, TOPIC
from toolchain.core.errors import ConnectionFailed, UsageError
from toolchain.workstation import extras

ADDRESS = re.compile(r"(tcp|tls|ws|wss)://[^/\s]+:\d+/?")
PATIENCE_S = 10
WORKERS_S = 10  # in which workers say what they take
FRESH_S = 1.0  # for so long what is known of workers is not asked again: every job wants to know
NOISY = ("distributed", "distributed.client", "distributed.core", "distributed.comm", "tornado")


class Scheduler:
    """A connection to a scheduler.

    Args:
        address: such as tcp://scheduler:8786.

    Raises:
        UsageError: the address is none, or its credentials are missing.
        ModelError: the extra is not installed.
        ConnectionFailed: no scheduler answers there, or one of another version.
    """

    def __init__(self, address: str) -> None:
        if not ADDRESS.fullmatch(address):
            raise UsageError(
                f"{address} is no address of a scheduler",
                resolution="for example: --on tcp://scheduler:8786, or tls://scheduler:8786",
            )
        extras.python("dask")
        self.address = address
        self._said: tuple[float, dict[str, Any]] = (-FRESH_S, {})
        self._client = _client(address)
        try:
            self._refuse_other_version()
            self._prepare_workers()
        except BaseException:
            self.close()
            raise

    def workers(self) -> dict[str, int]:
        """The threads of each worker that can import our code, by its address."""
        return {
            address: int(said["nthreads"])
            for address, said in self._known().items()
            if JOBS in said.get("resources", {})
        }

    def submit(self, asked: str, key: str, workers: Sequence[str] | None, *, heavy: bool) -> Any:
        """Send a job; what is given back has `result(timeout)`.

        Args:
            asked: the question.
            key: of the job: while one is there, the same is not done twice.
            workers: that may do it; all when None.
            heavy: whether it takes the memory of a conversion.
        """
        return self._client.submit(
            task.run,
            asked,
            key=key,
            workers=workers,
            resources={JOBS: 1, **({CONVERSIONS: 1} if heavy else {})},
        )

    def listen(self, heard: Callable[[Any], None]) -> None:
        """Have a function called with each thing that workers say."""
        self._client.subscribe_topic(TOPIC, lambda event: heard(event[1]))

    def cancel(self, futures: Sequence[Any]) -> None:
        """End jobs, where they are."""
        if self._client.status == "running":
            self._client.cancel(list(futures))

    @property
    def running(self) -> bool:
        """Whether the scheduler is still there."""
        return bool(self._client.status == "running")

    def close(self) -> None:
        """End the connection."""
        self._client.close(timeout=2)

    def _refuse_other_version(self) -> None:
        from distributed import __version__

        # not the client's own question, which waits for each worker too
        said = self._client.sync(self._client.scheduler.versions)["packages"]
        if said.get("distributed") != __version__:
            raise ConnectionFailed(
                f"the scheduler at {self.address} is of another version",
                detail=f"distributed {said.get('distributed')} there, {__version__} here",
                resolution="install the extra there too: invoke setup --extra dask",
            )

    def _prepare_workers(self) -> None:
        """Have each worker, those that come later too, say how much it takes."""
        from toolchain.cluster.worker_resources import Resources

        async def register() -> None:
            await self._client.register_plugin(Resources(), name="edgewright")

        try:
            self._client.sync(register, callback_timeout=WORKERS_S)
        except TimeoutError as error:  # of one that stands still; the others have it
            if not self._comes():
                raise ConnectionFailed(
                    f"no worker of {self.address} answers",
                    detail=f"none within {WORKERS_S} s, of {len(self._known())} that it knows",
                    resolution="see whether they still run, or start others: dask worker "
                    f"{self.address}",
                ) from error
        except Exception as error:  # whatever importing our code raised there
            # the first that failed raised it, and others may still be importing
            if self._known() and not self._comes():
                raise ConnectionFailed(
                    f"no worker of {self.address} can import edgewright",
                    detail=str(error).splitlines()[0] if str(error) else type(error).__name__,
                    resolution="start workers by a checkout's Python: PYTHONPATH=CHECKOUT",
                ) from error

    def _comes(self) -> bool:
        """Whether a worker that can import our code is there before long."""
        end = time.monotonic() + WORKERS_S
        while not (found := self.workers()) and time.monotonic() < end:
            time.sleep(0.1)
        return bool(found)

    def _known(self) -> dict[str, Any]:
        """What the scheduler says of each worker, by its address; all of them each time."""
        at, found = self._said
        now = time.monotonic()
        if now - at >= FRESH_S:
            found = dict(self._client.scheduler_info()["workers"])
            self._said = now, found
        return found


def _client(address: str) -> Any:
    import distributed
    from distributed.versions import VersionMismatchWarning

    for name in NOISY:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    warnings.simplefilter("ignore", VersionMismatchWarning)  # it is refused, in a line
    try:
        # a client waits for ever for who accepts a connection and says nothing
        asyncio.run(asyncio.wait_for(_greet(address), PATIENCE_S))
        return distributed.Client(
            address, timeout=PATIENCE_S, set_as_default=False, name="edgewright"
        )
    except (TypeError, ValueError, RuntimeError) as error:
        if address.startswith(("tls", "wss")):
            raise UsageError(
                f"there are no credentials for {address}",
                detail=str(error).splitlines()[0],
                resolution="name them in Dask's configuration: "
                "DASK_DISTRIBUTED__COMM__TLS__CA_FILE and others (docs/how-to/cluster.md)",
            ) from error
        raise _away(address, error) from error
    except Exception as error:  # what answers may be anything, and its errors have no base
        raise _away(address, error) from error


async def _greet(address: str) -> None:
    from distributed.comm import connect
    from distributed.security import Security

    credentials = Security().get_connection_args("client")
    comm = await connect(address, timeout=PATIENCE_S, **credentials)
    await comm.close()


def _away(address: str, error: Exception) -> ConnectionFailed:
    lines = str(error).splitlines() or [type(error).__name__]
    return ConnectionFailed(
        f"no scheduler answers at {address}",
        detail=lines[0],
        resolution="start one there, `dask scheduler`, or give the address that it prints; one "
        "with certificates has tls://",
    )
