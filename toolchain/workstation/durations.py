"""How long building a wheel takes here: by the builds of this machine, else by those of ours.

For a reader who decides whether to wait. Nothing that is built depends on it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from pydantic import TypeAdapter, ValidationError

from toolchain.core.store import Store, write_atomically

FILE = "durations.json"
# Seconds of all cores together, nothing in the compiler's cache (benchmarks/README.md; ONNX
# Runtime's, ncnn's and OpenCV's from docs/reference/runtimes.md).
USUAL = {
    "edgewright_library": 790.0,
    "executorch": 25.0,
    "ncnn": 720.0,
    "opencv": 2700.0,
    "onnxruntime": 7200.0,
    "tflite_runtime": 772.0,
    "tvm_compiler": 11000.0,
    "tvm_ffi": 214.0,
    "tvm_runtime": 254.0,
    "tvm_runtime_source": 254.0,
}
CACHED = 4  # what takes so many times less came from a cache
_Measured = TypeAdapter(dict[str, float])


def expected(names: Sequence[str], store: Store, cores: int | None = None) -> str:
    """How long these take one after another, for people; empty where it isn't known of any.

    Args:
        names: of recipes.
        store: the cache, which has what earlier builds took.
        cores: that build; this machine's when left out.
    """
    known = _known(names, store)
    if not known:
        return ""
    took = minutes(names, store, cores)
    words = "a minute" if took < 1.5 else f"{took:.0f} minutes"
    more = "" if len(known) == len(names) else ", and more for those that were never built here"
    return f"about {words}{more}"


def minutes(names: Sequence[str], store: Store, cores: int | None = None) -> float:
    """The same in minutes; 0 where it isn't known of any."""
    return sum(_known(names, store)) / (cores or os.cpu_count() or 1) / 60


def record(name: str, seconds: float, store: Store) -> None:
    """Keep what a build took, where none of that wheel took longer: most was compiled then.

    Far less than usual is not kept: what a cache had was not compiled.

    Args:
        name: of the recipe.
        seconds: by the clock; 0 where nothing was built.
        store: the cache.
    """
    took = seconds * (os.cpu_count() or 1)
    known = _measured(store)
    if took > max(known.get(name, 0.0), USUAL.get(name, 0.0) / CACHED):
        text = _Measured.dump_json({**known, name: round(took, 1)})
        write_atomically(store.root / FILE, text)


def _known(names: Sequence[str], store: Store) -> list[float]:
    """Seconds of all cores together for each of the names of which it is known."""
    known = {**USUAL, **_measured(store)}
    return [known[name] for name in names if name in known]


def _measured(store: Store) -> dict[str, float]:
    try:
        return _Measured.validate_json((store.root / FILE).read_bytes())
    except (OSError, ValidationError):
        return {}
