"""Where the files of a converted model are: one folder a model and batch."""

from __future__ import annotations

from pathlib import Path

from toolchain.core import paths


def root_folder() -> Path:
    """The folder of all models of the current project: dist/models."""
    return paths.dist() / "models"


def folder_of(name: str, batch: int, root: Path | None = None) -> Path:
    """The folder of a converted model.

    Args:
        name: the model's, as its manifest says it.
        batch: the batch that its graphs are fixed at.
        root: the folder of all models; dist/models when not given.
    """
    return (root_folder() if root is None else root) / name / f"b{batch}"


def all_folders(root: Path | None = None) -> list[Path]:
    """Every folder of a converted model, sorted.

    Args:
        root: the folder of all models; dist/models when not given.
    """
    return sorted((root_folder() if root is None else root).glob("*/b*"))
