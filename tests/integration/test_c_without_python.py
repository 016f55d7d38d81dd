"""The programs that `example` writes in C and C++, on emulated boards without Python."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from deploy.ssh import connection
from tests.support.c_programs import compiled
from tests.support.product import LONG, TARGET, Product
from tests.support.small_board import SmallBoard
from toolchain import targets
from toolchain.core.errors import CommandError
from toolchain.core.store import Store, digest_of
from toolchain.library import library_folder
from toolchain.samples import public_images
from toolchain.wheels import build

MODEL = "digits-cnn"
ELSEWHERE = "aarch64"
HOME = "/root"
SEARCH = f"{HOME}/edgewright/current/library/lib"
# the library takes a quarter of an hour where this machine has not built it
WANTED = build.inputs(library_folder.RECIPE, targets.target(ELSEWHERE))
BUILT = Store().entry(digest_of(WANTED)) is not None


@pytest.fixture(params=[TARGET, pytest.param(ELSEWHERE, marks=() if BUILT else LONG)])
def board(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SmallBoard]:
    started = SmallBoard(tmp_path_factory.mktemp("small"), request.param)
    yield started
    started.end()


@pytest.fixture
def wanted(product: Product) -> np.ndarray:
    """What the converted network gives here for the first held-out digit, (classes,)."""
    import tensorflow as tf  # here: it takes seconds

    (manifest,) = product.json("convert", "--model", MODEL)
    file = product.folder / "dist/models" / MODEL / "b1" / manifest["tflite"]["fp32"]["file"]
    with pytest.warns(UserWarning, match="deprecated"):
        network = tf.lite.Interpreter(str(file))
    network.allocate_tensors()
    _, _, images, _ = public_images.digits()
    network.set_tensor(network.get_input_details()[0]["index"], images[:1] / 16)
    network.invoke()
    found: np.ndarray = network.get_tensor(network.get_output_details()[0]["index"])[0]
    return found


def test_they_give_there_what_the_network_gives_here(
    product: Product, board: SmallBoard, wanted: np.ndarray, tmp_path: Path
) -> None:
    library = Path(product.json("build-library", "--target", board.target)["folder"])
    on = board.inventory(tmp_path / "inventory.yml")
    product.invoke("deploy", "--model", MODEL, "--library", *on)
    _, _, images, labels = public_images.digits()
    pixels = images[0, ..., 0].astype(np.uint8)
    (tmp_path / "digit.pgm").write_bytes(b"P5\n8 8\n255\n" + pixels.tobytes())
    (tmp_path / "large.pgm").write_bytes(b"P5\n9 9\n255\n" + bytes(81))
    with connection.connect(board.device("none")) as conn:
        for path in tmp_path.glob("*.pgm"):
            conn.push(path, f"{HOME}/{path.name}")
        for language in ("c", "cpp"):
            folder = tmp_path / language
            about = ["--model", MODEL, "--language", language]
            product.invoke("example", *about, "--out", str(folder))
            program = compiled(folder, library, language, SEARCH, board.target)
            conn.push(program, f"{HOME}/{language}")
            conn.run(["chmod", "+x", f"{HOME}/{language}"])
            said = conn.run([f"{HOME}/{language}", f"{HOME}/digit.pgm"])
            _, *rows, last = said.splitlines()
            scores = {int(row.split()[1]): float(row.split()[0]) for row in rows}
            assert next(iter(scores)) == labels[0]
            # four digits are printed
            assert all(abs(score - wanted[label]) < 1e-4 for label, score in scores.items())
            assert last.endswith(" ms under tflite")
            with pytest.raises(CommandError) as refused:
                conn.run([f"{HOME}/{language}", f"{HOME}/large.pgm"])
            assert "is 9 x 9 pixels, and this network takes 8 x 8" in refused.value.output
