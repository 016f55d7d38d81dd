"""What the bodies of tasks say, with their work taken out."""

from __future__ import annotations

from pathlib import Path

import pytest
from invoke import Context

from tests.support.manifests import a_manifest
from toolchain.commandline import console
from toolchain.matrix import Outcome
from toolchain.tasks import models


@pytest.mark.parametrize("name", ["convert", "compile"])
def test_a_form_that_was_not_made_is_told_with_its_reason(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = a_manifest().with_missing("tflite", "no operator for it")
    outcome = Outcome(manifests={Path("net"): manifest}, jobs=2)
    # no forms: there is nothing to compile
    monkeypatch.setattr(models, "_converted", lambda _asked: ([], outcome))
    said: list[str] = []
    monkeypatch.setattr(console, "note", said.append)
    getattr(models, name)(Context())
    assert said == ["not made: net, batch 1, tflite: no operator for it"]
