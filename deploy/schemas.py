"""The JSON Schemas of the files that others may rely on, generated from the code."""

from __future__ import annotations

import json
from pathlib import Path

from deploy.inventory import reading
from toolchain.bundle.assemble import Manifest
from toolchain.core import paths
from toolchain.core.store import write_atomically
from toolchain.models.manifest import ModelManifest
from toolchain.results import measurement

FOLDER = paths.ROOT / "docs" / "reference" / "schemas"


def all_schemas() -> dict[str, str]:
    """The text of each schema by its file's name."""
    schemas = {
        "inventory": reading.json_schema(),
        "manifest": Manifest.model_json_schema(),
        "model": ModelManifest.model_json_schema(),
        "result": measurement.schema(),
    }
    return {
        f"{name}.schema.json": json.dumps(schema, indent=1, sort_keys=True) + "\n"
        for name, schema in schemas.items()
    }


def write(folder: Path = FOLDER) -> list[Path]:
    """Write them; return the files."""
    written = []
    for name, text in all_schemas().items():
        write_atomically(folder / name, text.encode())
        written.append(folder / name)
    return written
