"""Networks of TensorFlow.js: how layers are described, what a page gets, what is judged."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.manifests import a_manifest
from toolchain.browser import check, chromium, conversion
from toolchain.convert.tfjs import job, topology
from toolchain.core import process
from toolchain.core.errors import CommandError, ModelError, UsageError
from toolchain.models import samples_file
from toolchain.models.manifest import ModelManifest
from toolchain.models.resolve import resolve_model
from toolchain.workstation import extras


def a_tensor(layer: str) -> dict[str, Any]:
    return {"class_name": topology.TENSOR, "config": {"keras_history": [layer, 0, 0]}}


def a_layer(name: str, kind: str, *nodes: Any, **config: Any) -> dict[str, Any]:
    policy = {"module": "keras", "class_name": "DTypePolicy", "config": {"name": "float32"}}
    return {
        "module": "keras.layers",
        "class_name": kind,
        "config": {"name": name, "dtype": policy, **config},
        "registered_name": None,
        "build_config": {},
        "name": name,
        "inbound_nodes": list(nodes),
    }


def test_layers_are_described_as_keras_2_wrote_them() -> None:
    both = {"args": [[a_tensor("a"), a_tensor("b")]], "kwargs": {}}
    one = {"args": [a_tensor("sum")], "kwargs": {"training": False, "axis": 1}}
    described = {
        "class_name": "Functional",
        "config": {
            "layers": [
                a_layer("a", "InputLayer", batch_shape=[None, 4], optional=False),
                a_layer("b", "InputLayer", batch_shape=[None, 4]),
                a_layer("sum", "Add", both),
                a_layer("out", "Softmax", one),
            ],
            "input_layers": [["a", 0, 0], ["b", 0, 0]],
            "output_layers": ["out", 0, 0],
        },
    }
    first, _, total, out = topology.of(described)["config"]["layers"]
    assert first["config"] == {"name": "a", "dtype": "float32", "batch_input_shape": [None, 4]}
    assert set(first) == {"class_name", "config", "name", "inbound_nodes"}
    assert total["inbound_nodes"] == [[["a", 0, 0, {}], ["b", 0, 0, {}]]]
    assert out["inbound_nodes"] == [[["sum", 0, 0, {"axis": 1}]]]
    assert topology.of(described)["config"]["output_layers"] == [["out", 0, 0]]


def test_tensors_by_name_are_none_that_layers_take() -> None:
    node = {"args": [a_tensor("q")], "kwargs": {"value": a_tensor("v")}}
    with pytest.raises(ModelError, match="attention is given tensors by name"):
        topology.of(a_layer("attention", "MultiHeadAttention", node))


@pytest.mark.parametrize(
    "node",
    [
        {"args": [a_tensor("x"), 2.0], "kwargs": {}},
        {"args": [a_tensor("x")], "kwargs": {"training": True}},
    ],
)
def test_values_beside_tensors_are_not_dropped_silently(node: dict[str, Any]) -> None:
    with pytest.raises(ModelError, match="double is called with values beside tensors"):
        topology.of(a_layer("double", "Multiply", node))


def test_weights_are_called_as_tensorflow_js_calls_them() -> None:
    assert topology.weight_name("c", "Conv2D", "kernel") == "c/kernel"
    assert topology.weight_name("d", "DepthwiseConv2D", "kernel") == "d/depthwise_kernel"


def test_a_page_reaches_what_it_is_given_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "model.json").write_text("{}")
    (tmp_path / "secret").write_text("no")
    files: dict[str, Path | bytes] = {"asked.json": b"[1]", "network": tmp_path / "folder"}
    with chromium._serving(files) as (address, sent):
        read = urllib.request.urlopen  # (of this machine)
        assert read(f"{address}asked.json").read() == b"[1]"
        answer = read(f"{address}network/model.json")
        assert (answer.read(), answer.headers["Content-Type"]) == (b"{}", "application/json")
        host = address.split("/", 3)[:3]
        for wrong in ("network/../secret", "network/", "secret", "network/none"):
            with pytest.raises(urllib.error.HTTPError, match="404"):
                read(f"{address}{wrong}")
        with pytest.raises(urllib.error.HTTPError, match="404"):
            read("/".join([*host, "asked.json"]))
        read(f"{address}said/wasm", data=b"here")
    assert sent == {"said/wasm": b"here"}


def test_a_page_that_ends_without_a_word_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(args: list[Any], **_: object) -> str:
        raise CommandError([str(a) for a in args], 124, "out of time")

    monkeypatch.setattr(chromium, "program", lambda: "/bin/chromium")
    monkeypatch.setattr(process, "run", run)
    with pytest.raises(ModelError, match="did not come to its end in the browser within 3 s"):
        chromium.browse({"index.html": tmp_path}, "index.html", 3)
    monkeypatch.setattr(chromium, "program", lambda: None)
    with pytest.raises(ModelError, match="Chromium is not installed"):
        chromium.browse({}, "index.html", 3)


@pytest.fixture
def network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path, ModelManifest]:
    """A network's folder, that of the converted model with two samples, and its manifest."""
    folder, converted = tmp_path / "tfjs", tmp_path / "b1"
    folder.mkdir()
    converted.mkdir()
    manifest = a_manifest()
    manifest.save(converted)
    names = {"inputs": manifest.inputs, "outputs": manifest.outputs}
    arrays = {
        kind: {t.name: np.ones((2, *t.shape), t.dtype) for t in tensors}
        for kind, tensors in names.items()
    }
    monkeypatch.setattr(samples_file, "inputs", lambda *_: arrays["inputs"])
    monkeypatch.setattr(samples_file, "outputs", lambda *_: arrays["outputs"])
    monkeypatch.setattr(extras, "browser_files", lambda _name: tmp_path)
    return folder, converted, manifest


def answering(
    monkeypatch: pytest.MonkeyPatch, manifest: ModelManifest, value: float, **said: object
) -> list[Mapping[str, Path | bytes]]:
    """Have the page send outputs of one value; returns what pages are given."""
    given = []

    def browse(files: Mapping[str, Path | bytes], _page: str, _limit: int) -> dict[str, bytes]:
        given.append(files)
        sent = {}
        for backend in check.BACKENDS:
            words = {"times": [2.0, 1.0, 9.0], "compared": 2, "error": "", **said}
            sent[f"said/{backend}"] = json.dumps(words).encode()
            for index, tensor in enumerate(manifest.outputs):
                values = np.full(tensor.shape, value, np.float32).tobytes()
                for inference in range(2):
                    sent[f"outputs/{backend}/{inference}-{index}"] = values
        return sent

    monkeypatch.setattr(chromium, "browse", browse)
    return given


def test_what_a_browser_gives_is_compared_with_the_source(
    network: tuple[Path, Path, ModelManifest], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, converted, manifest = network
    given = answering(monkeypatch, manifest, 1.0)
    wasm, cpu = check.check(folder, converted, "graph", "float32", 1)
    assert (wasm.backend, cpu.backend) == ("wasm", "cpu")
    assert wasm.median_ms == 2.0
    assert wasm.check is not None
    assert (wasm.check.max_abs, wasm.check.stage) == (0, "tfjs-wasm")
    asked = json.loads(bytes(given[0]["asked.json"]))
    assert asked["inferences"] == 2
    assert asked["inputs"][0]["shape"] == list(manifest.inputs[0].shape)
    assert given[0]["inputs/1-0"] == np.ones(manifest.inputs[0].shape, np.float32).tobytes()


def test_float32_may_not_differ_and_rounded_weights_may(
    network: tuple[Path, Path, ModelManifest], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, converted, manifest = network
    answering(monkeypatch, manifest, 1.1)
    with pytest.raises(ModelError, match="tfjs-wasm"):
        check.check(folder, converted, "graph", "float32", 1)
    (wasm, _) = check.check(folder, converted, "graph", "uint8", 1)
    assert wasm.check is not None
    assert wasm.check.max_abs == pytest.approx(0.1, rel=1e-3)


def test_a_network_that_no_backend_runs_is_refused_with_its_words(
    network: tuple[Path, Path, ModelManifest], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, converted, manifest = network
    answering(monkeypatch, manifest, 1.0, error="Unknown layer: Odd\nmore", times=[], compared=0)
    with pytest.raises(ModelError, match="can't run it: Unknown layer: Odd") as found:
        check.check(folder, converted, "layers", "float32", 1)
    assert found.value.resolution == "leave --form layers out"


@pytest.mark.parametrize("said", [{"times": "soon"}, {"compared": 1 << 40}, {"more": 1}])
def test_what_a_page_says_is_checked(
    network: tuple[Path, Path, ModelManifest],
    monkeypatch: pytest.MonkeyPatch,
    said: dict[str, Any],
) -> None:
    folder, converted, manifest = network
    answering(monkeypatch, manifest, 1.0, **said)
    with pytest.raises(ModelError, match="the page says nothing of wasm"):
        check.check(folder, converted, "graph", "float32", 1)


def test_an_output_of_another_size_is_refused(
    network: tuple[Path, Path, ModelManifest], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, converted, manifest = network
    answering(monkeypatch, manifest, 1.0, compared=3)
    grown = {t.name: np.ones((3, *t.shape), t.dtype) for t in manifest.outputs}
    monkeypatch.setattr(samples_file, "outputs", lambda *_: grown)
    with pytest.raises(ModelError, match="has another size in the browser"):
        check.check(folder, converted, "graph", "float32", 1)


def test_forms_and_extras_that_are_not_there_are_said_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEWRIGHT_CACHE", str(tmp_path))
    spec = resolve_model("digits-cnn")
    with pytest.raises(UsageError, match="--form tree can't be used"):
        conversion.make(spec, 1, "tree", "float32")
    with pytest.raises(UsageError, match="--quantize int4 can't be used"):
        conversion.make(spec, 1, "graph", "int4")
    with pytest.raises(ModelError, match="tfjs, which makes networks for browsers, is not inst"):
        conversion.make(spec, 1, "graph", "float32")


def test_operators_that_it_lacks_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(args: list[Any], **_: object) -> str:
        words = "ValueError: Unsupported Ops in the model before optimization\nOdd, Odder\n"
        raise CommandError([str(a) for a in args], 1, words)

    monkeypatch.setattr(process, "run", run)
    monkeypatch.setattr(extras, "python", lambda _name: Path("python"))
    with pytest.raises(ModelError, match="lacks operators of the network: Odd, Odder"):
        job._write(tmp_path, tmp_path)


def test_a_graph_says_the_networks_own_names(tmp_path: Path) -> None:
    plain = a_manifest()
    (output,) = plain.outputs
    outputs = [replace(output, name=name) for name in ("contour", "note")]
    manifest = plain.model_copy(update={"outputs": outputs})
    signature: dict[str, Any] = {
        "inputs": {"input_0000": {"name": "input_0000:0"}},
        "outputs": {
            "Identity_1:0": {"name": "Identity_1:0"},
            "output_0000": {"name": "Identity:0"},
        },
    }
    path = tmp_path / "model.json"
    path.write_text(json.dumps({"format": "graph-model", "signature": signature}))
    job._name(path, manifest)
    found = json.loads(path.read_text())
    assert found["format"] == "graph-model"
    assert found["signature"] == {
        "inputs": {manifest.inputs[0].name: {"name": "input_0000:0"}},
        "outputs": {"contour": {"name": "Identity:0"}, "note": {"name": "Identity_1:0"}},
    }
    del signature["outputs"]["Identity_1:0"]
    path.write_text(json.dumps({"signature": signature}))
    with pytest.raises(ModelError, match="left out some of the network's outputs"):
        job._name(path, manifest)
