"""Whether the compiler imports a network, in the worker: TVM is imported there alone."""

from __future__ import annotations

from toolchain.compile import compilation_job
from toolchain.compile.importing import graph_import
from toolchain.core.errors import ModelError
from toolchain.core.worker import Progress
from toolchain.inspection.requests import ImportRequest

OPT_LEVEL = 3  # what networks are compiled at where nothing else is said


def check(request: ImportRequest, progress: Progress) -> str:
    """Why the network is not imported, by operator and node or tensor; empty when it is."""
    here = compilation_job.host_target()
    try:
        graph_import.imported(request.source, here, OPT_LEVEL, progress)
    except ModelError as error:
        return f"{error.brief}: {error.detail.partition(chr(10))[0]}"
    return ""
