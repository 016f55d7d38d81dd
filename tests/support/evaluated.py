"""Accuracy on a user's images, and a model of which not all could be made."""

from __future__ import annotations

from typing import Any

from tests.support import deployed
from toolchain.accuracy.counts import Counts, Run, Subject
from toolchain.models.manifest import ModelManifest


def run(**changes: Any) -> Run:
    """48 of 64 images right under TFLite, and a TVM library that crashed."""
    counts = Counts(total=64, top1=48, top5=60, reference_top1=47, agree=63)
    ran = Subject(
        runtime="tflite",
        variant="int8",
        opt_level=None,
        threads=1,
        sha256="a" * 64,
        shards={"shard-0": counts},
    )
    crashed = Subject(
        runtime="tvm",
        variant="fp32",
        opt_level=3,
        threads=1,
        sha256="b" * 64,
        error="load: killed by SIGSEGV",
    )
    fields: dict[str, Any] = {
        "host": "board",
        "model": "resnet50",
        "dataset": "val",
        "images": 64,
        "unreadable": [],
        "published_top1": 74.9,
        "published_top5": 92.1,
        "emulated": False,
        "release": "c" * 64,
        "content": "d" * 64,
        "subjects": [ran, crashed],
    }
    return Run(**{**fields, **changes})


def manifest() -> ModelManifest:
    """The manifest of digits-cnn whose int16x8 variant could not be made for TVM."""
    missing = {"tvm int16x8": "TVM can't import operator Foo"}
    return ModelManifest.model_validate({**deployed.manifest("digits-cnn"), "missing": missing})
