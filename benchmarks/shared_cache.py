"""What a shared cache costs: a 2 MB wheel that it has, one that it lacks, a cache that is away.

    python -m benchmarks.shared_cache                              # a folder, a web server, nobody
    python -m benchmarks.shared_cache --away                       # nobody alone
    python -m benchmarks.shared_cache sftp://HOST/FOLDER s3://BUCKET/FOLDER

Each time is of a process of its own with an empty store: from the question to the entry in the
store, imports of libraries included. What is asked in vain is the time of an entry of one byte less
that of the same without a shared cache. Nobody is a server that takes connections and says nothing,
one that refuses them, and a name that nothing has; over S3 where the extra is installed.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

from toolchain.commandline import console
from toolchain.core import process, signing
from toolchain.core.store import Store
from toolchain.shared_cache import shared_store, trusted_keys

RUNS = 5
SIZE = 2_000_000
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "one", "AWS_SECRET_ACCESS_KEY": "two"}
REFUSES, NAMELESS = "http://127.0.0.1:1", "http://nobody.invalid"
WHEEL, OTHER = {"kind": "wheel", "of": "2 MB"}, {"kind": "wheel", "of": "1 byte"}


def fill(size: int, folder: Path) -> None:
    """Make an entry of one file."""
    (folder / "one-1-py3-none-any.whl").write_bytes(os.urandom(size))


def child(what: str) -> None:
    """Print the seconds of one thing, with the store and cache that the environment names."""
    # the modules of every task are there by then
    store: Store = Store() if what == "alone" else shared_store.opened(console.note)
    if what == "give":
        store = shared_store.opened(console.note, share=True)
    started = time.monotonic()
    if what in ("give", "take"):
        store.get_or_build(WHEEL, partial(fill, SIZE))
    else:
        store.get_or_build(OTHER, partial(fill, 1))
    sys.stdout.write(f"{time.monotonic() - started}\n")


def seconds(what: str, address: str, folder: Path, **more: str) -> float:
    """The time of one thing in a process of its own, with an empty store and more variables."""
    with tempfile.TemporaryDirectory(dir=folder) as cache:
        env = {"EDGEWRIGHT_SHARED_CACHE": address, "EDGEWRIGHT_CACHE": cache, **more}
        command = [sys.executable, "-m", "benchmarks.shared_cache", "--child", what]
        return float(process.run(command, env=env).splitlines()[-1])


@contextmanager
def web(folder: Path) -> Iterator[str]:
    """A web server of a folder."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def shown(times: list[float]) -> str:
    """A median with what it is of."""
    return f"{statistics.median(times):.2f} ({min(times):.2f} to {max(times):.2f})"


def row(address: str, folder: Path, giving: str = "") -> list[str]:
    """An address's times: taking, and asking for what isn't there; `giving` is another to give."""
    seconds("give", giving or address, folder)
    taken = [seconds("take", address, folder) for _ in range(RUNS)]
    alone = statistics.median(seconds("alone", "", folder) for _ in range(RUNS))
    asked = [seconds("ask", address, folder) - alone for _ in range(RUNS)]
    return [address, shown(taken), shown(asked)]


def present(folder: Path, addresses: list[str]) -> list[list[str]]:
    """The rows of places that answer: a folder, a web server of it and those of some addresses."""
    shared = folder / "shared"
    shared.mkdir()
    rows = [row(str(shared), folder)]
    with web(shared) as address:
        rows.append(row(address, folder, giving=str(shared)))
    return rows + [row(address, folder) for address in addresses]


def away(folder: Path) -> list[list[str]]:
    """The rows of places that are away."""
    rows = []

    def beyond(ask: Callable[[], float]) -> str:
        return shown([ask() - seconds("alone", "", folder) for _ in range(RUNS)])

    with socket.create_server(("127.0.0.1", 0)) as silent:
        nobody = {
            "takes connections, says nothing": f"http://127.0.0.1:{silent.getsockname()[1]}",
            "refuses connections": REFUSES,
            "a name that nothing has": NAMELESS,
        }
        for what, address in nobody.items():
            ask = partial(seconds, "ask", address, folder)
            rows.append([f"a web server: {what}", "-", beyond(ask)])
            if importlib.util.find_spec("s3fs"):
                named = {**CREDENTIALS, "AWS_ENDPOINT_URL": address}
                ask = partial(seconds, "ask", "s3://team/cache", folder, **named)
                rows.append([f"s3://: {what}", "-", beyond(ask)])
    return rows


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("address", nargs="*")
    parser.add_argument("--away", action="store_true")
    parser.add_argument("--child", default="")
    asked = parser.parse_args()
    if asked.child:
        child(asked.child)
        return
    with tempfile.TemporaryDirectory(prefix="edgewright-") as made:
        folder = Path(made)
        os.environ |= {"EDGEWRIGHT_KEYS": str(folder / "keys"), "EDGEWRIGHT_DIST": made}
        signing.make_key()
        trusted_keys.path().write_text(signing.public_key())
        rows = away(folder) if asked.away else [*present(folder, asked.address), *away(folder)]
        console.show_table("seconds", ["cache", "2 MB taken", "asked in vain"], rows)


if __name__ == "__main__":
    main()
