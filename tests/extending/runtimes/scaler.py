"""A made-up runtime, as a user adds one: it runs networks that multiply their input by a number."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from toolchain.core.errors import ModelError
from toolchain.models import manifest as model_manifest
from toolchain.models.manifest import ModelManifest, RuntimeArtifact
from toolchain.runtimes import Runtime
from toolchain.targets import Target

FILE = "net.scale"


class Scaler(Runtime):
    """All that differs from what a runtime is when it says nothing."""

    def make(
        self, folder: Path, manifest: ModelManifest, progress: Callable[[str], None]
    ) -> ModelManifest:
        """A file with the number, found by the samples."""
        progress("looking at the samples")
        with np.load(folder / manifest.samples.file) as samples:
            (given,), (made,) = manifest.inputs, manifest.outputs
            factors = samples[f"out:{made.name}"] / samples[f"in:{given.name}"]
        if np.ptp(factors):
            raise ModelError(f"{manifest.model} does more than multiply")
        (folder / FILE).write_text(json.dumps({"factor": float(factors.flat[0])}))
        file = model_manifest.record(folder, FILE)
        return manifest.with_artifact(self.name, RuntimeArtifact(**file.model_dump()))

    def unsupported(self, target: Target) -> str:
        """It runs on 64-bit targets alone."""
        return "it needs 64 bits" if target.name == "armv7l" else ""


RUNTIME = Scaler(name="scaler", label="Scaler", title="A made-up runtime", makes_artifacts=True)
