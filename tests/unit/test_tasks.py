"""What the bodies of tasks say, with their work taken out."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from invoke import Context
from onnx import helper

from tests.support.manifests import a_manifest
from tests.support.networks import model
from toolchain import matrix
from toolchain.commandline import console
from toolchain.commandline.options import Models
from toolchain.core.store import Store
from toolchain.matrix import Outcome
from toolchain.models.specification import ModelSpec
from toolchain.tasks import models


@pytest.mark.parametrize("name", ["convert", "compile"])
def test_a_form_that_was_not_made_is_told_with_its_reason(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = a_manifest().with_missing("tflite", "no operator for it")
    outcome = Outcome(manifests={Path("net"): manifest}, jobs=2)
    # no forms: there is nothing to compile
    monkeypatch.setattr(models, "_converted", lambda _asked, _store, _executor: ([], outcome))
    said: list[str] = []
    monkeypatch.setattr(console, "note", said.append)
    getattr(models, name)(Context())
    assert said[-1] == "not made: net, batch 1, tflite: no operator for it"
    # where it is, and what for: neither was asked
    assert len(said) == 2
    assert {"convert": "net", "compile": "rv64gc"}[name] in said[0]


def test_several_shapes_of_a_network_are_networks_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: Store
) -> None:
    file = tmp_path / "net.onnx"
    nodes = [helper.make_node("Relu", ["x"], ["y"])]
    onnx.save(model(nodes, (1, 2)), file)
    asked: list[ModelSpec] = []

    def convert(
        specs: list[ModelSpec],
        *_others: object,
        cache: Store,
        executor: object,
        makeable: bool,
    ) -> Outcome:
        assert executor is None
        assert not makeable
        assert cache is store
        asked.extend(specs)
        return Outcome()

    monkeypatch.setattr(matrix, "converted", convert)
    models._converted(Models(model_file=str(file), shape="x=1x2,x=1x4"), store)
    models._converted(Models(model_file=str(file), shape="x=1x2"), store)
    assert [(spec.name, dict(spec.shapes)) for spec in asked] == [
        ("net-1x2", {"x": (1, 2)}),
        ("net-1x4", {"x": (1, 4)}),
        ("net", {"x": (1, 2)}),
    ]
