"""Marks between inferences, for the emulator's plugin that counts instructions."""

from __future__ import annotations

import gc
import os

import pytest
from edgewright_runner import counting

from toolchain.images import instruction_counter


def test_each_counted_inference_is_between_two_marks(monkeypatch: pytest.MonkeyPatch) -> None:
    happened: list[str] = []

    def call(asked: int) -> None:
        assert asked == counting.MARK
        happened.append("mark")
        raise ProcessLookupError

    monkeypatch.setattr(os, "getsid", call)
    monkeypatch.setattr(counting, "MOST", 2)
    try:
        counting.repeat(lambda: happened.append("inference"))
    finally:
        gc.enable()
    assert happened == ["inference", "mark", "inference", "mark", "inference", "mark"]


def test_the_plugin_knows_the_mark() -> None:
    source = (instruction_counter.FILES / "count.c").read_text()
    assert f"#define MARK {counting.MARK:#x} " in source
