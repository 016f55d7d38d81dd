"""How long a shared cache is waited for: a place that gives nothing is let alone at once.

Work goes on in a thread that ends with the process, so that a name that isn't resolved, a mount
that hangs or a library that tries again and again keeps nobody.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
# Bytes; less than that is no progress.
ENOUGH = 1 << 16
POLL_S = 0.05
# Seconds in which all must be expected to come, as is seen after the first ones.
EARLY_S, LONGEST_S = 10.0, 300.0


def waited(work: Callable[[], T], arrived: Callable[[], int], patience: float, whole: int = 0) -> T:
    """The result of some work, as long as it comes forward.

    Args:
        work: what is done in the other thread; what it raises comes through.
        arrived: bytes that have come so far.
        patience: seconds that may pass without a result and without `ENOUGH` bytes more.
        whole: bytes that will come; 0 where nobody knows.

    Raises:
        TimeoutError: too little came, or too slowly; the thread is left to itself.
    """
    over = threading.Event()
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:  # noqa: BLE001  # the one who waits is told
            errors.append(error)
        finally:
            over.set()

    threading.Thread(target=run, daemon=True, name="shared cache").start()
    started = time.monotonic()
    counted, since = 0, started
    while not over.wait(POLL_S):
        count, now = arrived(), time.monotonic()
        if count - counted >= ENOUGH:
            counted, since = count, now
        if now - since > patience:
            raise TimeoutError(f"no answer within {patience:.1f} s")
        if now - started > EARLY_S and count * LONGEST_S < whole * (now - started):
            rate = count / (now - started)
            raise TimeoutError(f"{whole / 1e6:.0f} MB at {rate / 1e6:.1f} MB/s take too long")
    if errors:
        raise errors[0]
    return results[0]
