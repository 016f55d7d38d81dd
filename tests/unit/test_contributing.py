"""The worked examples of CONTRIBUTING.md, taken from its text and run."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from tests.support.examples import worked
from tests.support.fake_executor import FakeExecutor
from toolchain import formats, runtimes, targets
from toolchain.core import paths, plugins, process
from toolchain.core.errors import ModelError
from toolchain.formats import onnx_reference, shapes
from toolchain.lock import pins
from toolchain.wheels.recipe import Job, Recipe

FAKES = Path(__file__).with_name("fake_runtimes")


@pytest.fixture
def examples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with each example in the file that its first line names, as a user's plug-ins."""
    for name, code in worked().items():
        file = tmp_path / "examples" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(code)
    monkeypatch.setenv(plugins.VARIABLE, str(tmp_path / "examples"))
    return tmp_path / "examples"


def test_the_examples_keep_our_own_rules(examples: Path) -> None:
    ruff = Path(sys.executable).with_name("ruff")
    config = paths.ROOT / "pyproject.toml"
    process.run([ruff, "check", "--config", config, "--no-cache", examples])
    process.run([ruff, "format", "--check", "--config", config, "--no-cache", examples])


def test_listing_the_examples_imports_nothing_heavy(examples: Path) -> None:
    heavy = ("tensorflow", "tvm", "onnx", "numpy", "pydantic", "importlib.metadata")
    script = (
        "import sys; from toolchain import formats, runtimes; "
        "runtimes.all_runtimes(); formats.titles(); "
        f"print([m for m in {heavy!r} if m in sys.modules])"
    )
    text = process.run([sys.executable, "-c", script], cwd=paths.ROOT, env=dict(os.environ))
    assert text.strip() == "[]"


def imported(file: Path) -> ModuleType:
    """A module by its file."""
    spec = importlib.util.spec_from_file_location(f"example_{file.stem}", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_example_of_a_runtime_is_one_where_there_are_wheels_for_it(
    examples: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = pins.source("cython")  # any will do: its name alone is looked at
    monkeypatch.setattr(pins, "sources", lambda: {"ai-edge-litert-nightly-arm64": entry})
    litert = runtimes.runtime("litert_nightly")
    arm, risc_v = targets.target("aarch64"), targets.target("rv64gc")
    assert litert in runtimes.serving(arm)
    assert litert not in runtimes.serving(risc_v)
    assert litert.unsupported(risc_v) == "there is no wheel for riscv64"
    assert litert.wheels(arm, []).pinned == ("ai-edge-litert-nightly-arm64",)


def test_the_examples_twin_on_the_device_runs_a_model(
    examples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgewright_runner.backends import Backend

    monkeypatch.syspath_prepend(str(FAKES))
    interpreter = importlib.import_module("tflite_runtime.interpreter")
    monkeypatch.setitem(sys.modules, "ai_edge_litert", ModuleType("ai_edge_litert"))
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", interpreter)
    model = tmp_path / "model.tflite"
    model.write_text(json.dumps({"scale": 2.0}))
    twin: Backend = imported(examples / "backends/litert_nightly.py").Backend(threads=1)
    twin.load(str(model))
    twin.bind({"inputs": [{"name": "x"}], "outputs": [{"name": "y"}]})
    x = np.ones((1, 3), np.float32)
    twin.set_inputs({"x": x})
    twin.run()
    assert np.array_equal(twin.outputs()["y"], 2 * x)
    assert twin.delegated() is None


def test_the_example_of_a_format_reads_a_model_and_its_onnx_says_the_same(
    examples: Path, tmp_path: Path
) -> None:
    drawn = np.random.default_rng(0)
    w, b = (drawn.standard_normal(n).astype(np.float32) for n in ((5, 3), (3,)))
    np.savez(tmp_path / "layer.npz", w=w, b=b)
    x = drawn.standard_normal((2, 5)).astype(np.float32)
    kind = formats.format_of(tmp_path / "layer.npz")
    assert kind.name == "dense"
    kind.refuse_other(tmp_path / "layer.npz")
    network = kind.load(tmp_path / "layer.npz", lambda _step: None)
    inputs, batch = shapes.fixed(network.signature, 2)
    (found,) = onnx_reference.run(network.to_onnx(inputs, "layer"), {"x": x})
    assert batch == 2
    assert np.allclose(found, network.run({"x": x})["y"], atol=1e-6)


def test_the_example_of_a_format_refuses_what_is_pickled(examples: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "layer.npz", w=np.array([object()], dtype=object))
    with pytest.raises(ModelError, match="no dense layer"):
        formats.format_of(tmp_path / "layer.npz").load(tmp_path / "layer.npz", lambda _step: None)


def test_the_example_of_a_target_shares_the_wheels_that_the_text_says(examples: Path) -> None:
    u74, rv64gc = targets.target("sifive-u74"), targets.target("rv64gc")
    for key in ("machine", "cflags", "glibc", "debian", "wheel"):
        assert getattr(u74, key) == getattr(rv64gc, key)
    assert u74.tvm()["mcpu"] == "sifive-u74"


def test_the_example_of_a_recipe_stages_a_stripped_library_of_locked_sources(
    examples: Path,
) -> None:
    module = imported(examples / "recipes/pthreadpool.py")
    recipe, target = module.RECIPE, targets.target("rv64gc")
    assert isinstance(recipe, Recipe)
    assert set(recipe.locked(target).values()) <= pins.sources().keys()
    assert {licence.source for licence in recipe.licences} == set(recipe.sources)
    executor = FakeExecutor()
    job = Job(target=target, headers="", jobs=2, epoch=0)
    module.build(executor, job)
    assert [call[0] for call in executor.calls] == [
        "cmake",
        "ninja",
        f"{job.triple}-strip",
        "install",
    ]
    assert executor.calls[-1][-2:] == [f"{job.stage}/pthreadpool", f"{job.build}/libpthreadpool.so"]
