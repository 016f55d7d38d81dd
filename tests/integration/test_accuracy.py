"""Accuracy on a folder of images, through the tasks and a real sshd, with a break in between."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from sklearn import datasets

from tests.support.product import Product
from toolchain.core import paths
from toolchain.formats import onnx_reference
from toolchain.results.statistics import wilson

MODEL, TARGET = "digits-cnn", "x86_64"
IMAGES = 360  # of 64 a shard
SHARDS = 6
PATIENCE_S = 600.0


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of small PNGs and the list of their classes."""
    folder = tmp_path_factory.mktemp("digits")
    found = datasets.load_digits()
    (folder / "images").mkdir()
    lines = []
    for number in range(IMAGES):
        pixels = found.images[number].astype(np.uint8)
        PIL.Image.fromarray(pixels).save(folder / "images" / f"{number:03}.png")
        lines.append(f"{number:03}.png {found.target[number]}\n")
    (folder / "val.txt").write_text("".join(lines))
    return folder


@pytest.fixture(scope="module")
def where(product: Product) -> Iterator[list[str]]:
    """A device of this machine's own kind with the network on it; the options that name it."""
    name, inventory = f"test-accuracy-{os.getpid()}", ["--inventory", str(product.inventory)]
    product.invoke("build-wheels", "--target", TARGET)
    product.invoke("compile", "--model", MODEL, "--target", TARGET)
    product.invoke("emulator.up", "--name", name, "--target", TARGET, *inventory)
    try:
        product.invoke("deploy", "--host", name, "--model", MODEL, *inventory)
        yield ["--host", name, *inventory]
    finally:
        product.invoke("emulator.down", "--name", name, *inventory)


def here(product: Product, folder: Path) -> tuple[int, int]:
    """How many images ONNX Runtime has right on this machine: first, and among the first five."""
    graph = product.folder / "dist" / "models" / MODEL / "b1" / "model.onnx"
    session = onnx_reference.session(graph.read_bytes())
    lines = [line.split() for line in (folder / "val.txt").read_text().splitlines()]
    ranks = []
    for name, label in lines:
        pixels = np.asarray(PIL.Image.open(folder / "images" / name), np.float32)
        given = {session.get_inputs()[0].name: (pixels / 16).reshape(1, 8, 8, 1)}
        (scores,) = session.run(None, given)
        ranks.append(list(np.argsort(-scores[0])).index(int(label)))
    return sum(rank < 1 for rank in ranks), sum(rank < 5 for rank in ranks)


def broken_off(product: Product, command: list[str]) -> Path:
    """Run a task until a shard is counted, interrupt it; the file that holds what was counted."""
    folder = product.folder / "results" / "accuracy"
    env = {**os.environ, "EDGEWRIGHT_DIST": str(product.folder)}
    running = subprocess.Popen([sys.executable, "-m", "invoke", *command], cwd=paths.ROOT, env=env)
    latest = time.monotonic() + PATIENCE_S
    while not list(folder.glob("*.json")) and running.poll() is None:
        assert time.monotonic() < latest, "no shard was counted"
        time.sleep(0.02)
    running.send_signal(signal.SIGINT)
    assert running.wait(PATIENCE_S) == 130
    (path,) = folder.glob("*.json")
    return path


def test_what_breaks_off_goes_on_and_is_what_this_machine_gives(
    product: Product, where: list[str], digits: Path
) -> None:
    command = ["accuracy", *where, "--data", str(digits / "images"), "--model", MODEL]
    command += ["--labels", str(digits / "val.txt")]
    path = broken_off(product, command)
    kept: dict[str, Any] = json.loads(path.read_text())
    assert all(0 < len(subject["shards"]) < SHARDS for subject in kept["subjects"])
    # a mark that would be gone if a shard that was counted were run again
    for subject in kept["subjects"]:
        subject["shards"]["shard-0000.npz"]["agree"] -= 1
    path.write_text(json.dumps(kept))

    found = product.json(*command)
    top1, top5 = here(product, digits)
    assert top1 > 0.95 * IMAGES
    assert {s["runtime"] for s in found["subjects"]} == {"tflite", "tvm"}
    for subject in found["subjects"]:
        assert subject["error"] == ""
        sums = {
            name: sum(counts[name] for counts in subject["shards"].values())
            for name in ("total", "top1", "top5", "reference_top1", "agree")
        }
        assert sums == {
            "total": IMAGES,
            "top1": top1,
            "top5": top5,
            "reference_top1": top1,
            "agree": IMAGES - 1,
        }

    shown = product.invoke("report", "--host", found["host"])
    assert shown.count(f"{IMAGES} of {IMAGES}") == 2
    with (product.folder / "reports" / "report-accuracy.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert {row["runtime"] for row in rows} == {"tflite", "tvm"}
    for row in rows:
        for name, right in (("top1", top1), ("top5", top5)):
            share = wilson(right, IMAGES)
            told = [float(row[key]) for key in (name, f"{name}_low", f"{name}_high")]
            assert told == pytest.approx([share.share, share.low, share.high], abs=1e-4)
