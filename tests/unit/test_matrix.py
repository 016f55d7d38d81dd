"""Many conversions: side by side where there is room, and what failed told at the end."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from toolchain import matrix
from toolchain.cluster.work import CONVERSION
from toolchain.convert import conversion, runtime_artifacts, variant_conversion
from toolchain.core.errors import ModelError
from toolchain.core.store import Store
from toolchain.models.specification import ModelSpec
from toolchain.models.variants import VARIANTS

SPECS = [ModelSpec(name=name, kind="keras", digest=name) for name in ("one", "two")]
TITLES: list[str] = []


@contextmanager
def step(title: str) -> Iterator[matrix.Say]:
    TITLES.append(title)
    yield lambda _: None


@pytest.fixture(autouse=True)
def titles() -> None:
    TITLES.clear()


def converted(monkeypatch: pytest.MonkeyPatch, work: Any, workers: int) -> matrix.Outcome:
    monkeypatch.setattr(conversion, "convert", work)
    # these manifests have no forms that a runtime could take
    monkeypatch.setattr(runtime_artifacts, "add", lambda _folder, manifest, *_: manifest)
    return matrix.converted(SPECS, [1, 8], ["fp32"], step, workers)


def test_as_many_as_asked_for_run_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    together = threading.Barrier(2, timeout=30)

    def work(spec: ModelSpec, batch: int, progress: matrix.Say, cache: Store) -> Any:
        together.wait()  # broken when nobody else comes
        return SimpleNamespace(model=spec.name, batch=batch)

    made = converted(monkeypatch, work, workers=2)
    assert [(manifest.model, manifest.batch) for manifest in made.manifests.values()] == [
        ("one", 1), ("one", 8), ("two", 1), ("two", 8)
    ]  # fmt: skip
    assert TITLES == ["convert 4 networks, 2 at once"]


def test_without_memory_for_two_they_run_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matrix, "_memory", lambda: 2 * CONVERSION - 1)
    running = threading.Lock()

    def work(spec: ModelSpec, batch: int, progress: matrix.Say, cache: Store) -> Any:
        assert running.acquire(blocking=False), "another one runs"
        time.sleep(0.02)  # so that another one would meet it
        running.release()
        return SimpleNamespace(model=spec.name, batch=batch)

    made = converted(monkeypatch, work, workers=2)
    assert len(made.manifests) == 4
    # the first batch of each model makes the weights that its others wait for
    order = [("one", 1), ("two", 1), ("one", 8), ("two", 8)]
    assert [f"convert {name}, batch {batch}" for name, batch in order] == TITLES


@pytest.mark.parametrize("workers", [1, 2])
def test_one_that_fails_is_told_and_the_others_are_done(
    monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    def work(spec: ModelSpec, batch: int, progress: matrix.Say, cache: Store) -> Any:
        if (spec.name, batch) == ("one", 8):
            raise ModelError("no")
        return SimpleNamespace(model=spec.name, batch=batch)

    made = converted(monkeypatch, work, workers)
    assert made.jobs == 4
    assert [(f.what, f.error.brief) for f in made.failures] == [("convert one, batch 8", "no")]
    assert [path.relative_to(path.parents[1]) for path in made.manifests] == [
        Path("one/b1"), Path("two/b1"), Path("two/b8")
    ]  # fmt: skip


def test_all_forms_of_a_model_are_those_that_it_can_have(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversion, "convert", lambda spec, batch, **_: present(spec, batch))
    monkeypatch.setattr(runtime_artifacts, "add", lambda _folder, manifest, *_: manifest)
    asked: list[str] = []

    def add(spec: ModelSpec, batch: int, variant: str, *_: Any, **__: Any) -> Any:
        asked.append(f"{spec.name} {variant}")
        return present(spec, batch)

    monkeypatch.setattr(variant_conversion, "add", add)
    own = Path("net.onnx")
    specs = [*SPECS[:1], ModelSpec(name="graph", kind="onnx", path=own, digest="graph")]
    made = matrix.converted(specs, [1], list(VARIANTS), step, 1, makeable=True)
    assert not made.failures
    assert asked == [
        *(f"one {form}" for form in ("float16", "dynamic", "int8", "int16x8")),
        *(f"graph {form}" for form in ("float16", "dynamic", "int8")),
    ]
    assert [line.partition(":")[0] for line in made.left_out] == [
        "qat, pruned, clustered left out",
        "int16x8, qat, pruned, clustered left out",
    ]


def present(spec: ModelSpec, batch: int) -> Any:
    return SimpleNamespace(model=spec.name, batch=batch)


def test_the_memory_of_this_machine_is_read() -> None:
    assert 1 << 20 < matrix._memory() < 1 << 50
