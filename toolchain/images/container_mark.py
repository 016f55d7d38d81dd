"""What says that a process has a container: a file in the cache's scratch, as long as it has one.

By it a later start sees, without asking the engine, that one may have been left behind.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from toolchain.core import paths, process
from toolchain.core.errors import EngineError

KIND = "-container-"  # in its name, after its owner's


@contextmanager
def kept() -> Iterator[None]:
    """Have the file for a block in which a container is started and removed.

    It stays when the engine went away in the block: the container may be there still.
    """
    folder = paths.cache() / paths.SCRATCH
    folder.mkdir(parents=True, exist_ok=True)
    descriptor, mark = tempfile.mkstemp(dir=folder, prefix=f"{process.own_name()}{KIND}")
    os.close(descriptor)
    lost = False
    try:
        yield
    except EngineError:
        lost = True
        raise
    finally:
        if not lost:
            Path(mark).unlink(missing_ok=True)
