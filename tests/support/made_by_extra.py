"""Runtimes of which an extra makes the network's file, where it seems to be installed."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import pytest

from toolchain.convert import runtime_artifacts
from toolchain.models import place
from toolchain.models.manifest import ModelManifest
from toolchain.workstation import extras


def project(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have dist/ and the cache in a folder."""
    monkeypatch.setenv("EDGEWRIGHT_DIST", str(folder / "dist"))
    monkeypatch.setenv("EDGEWRIGHT_CACHE", str(folder / "cache"))


def install(name: str) -> None:
    """Have an extra there, as far as anybody looks."""
    folder = extras.environment(extras.EXTRAS[name])
    (folder / "bin").mkdir(parents=True)
    (folder / extras.INSTALLED).touch()


def saved(manifest: ModelManifest) -> tuple[Path, ModelManifest]:
    """A converted model's folder, which holds its manifest alone, and that."""
    folder = place.folder_of(manifest.model, manifest.batch)
    folder.mkdir(parents=True)
    manifest.save(folder)
    return folder, manifest


def added(folder: Path, manifest: ModelManifest, source: Path | None = None) -> ModelManifest:
    """The manifest, with what the runtimes' extras made of the model."""
    return runtime_artifacts.add(
        folder, manifest, lambda _title: nullcontext(lambda _line: None), source
    )
