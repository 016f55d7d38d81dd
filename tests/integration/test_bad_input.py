"""Bad input gets one clear error, the exit code of its class, and nothing half-made."""

from __future__ import annotations

import pytest

from tests.support.product import Product


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (["build-wheels", "--target", "z80"], 2, "unknown target: z80"),
        (["build-wheels", "--only", "numpy"], 2, "unknown wheel: numpy"),
        (["emulator.up", "--os", "debian11"], 2, "no image of debian11"),
        (["build-wheels", "--python", "2.7"], 2, "Python 2.7"),
        (["build-wheels", "--glibc", "2.17"], 2, "glibc 2.17"),
        (["build-wheels", "--glibc", "new"], 2, "glibc new"),
        (["verify", "--only", "numpy"], 2, "unknown wheel: numpy"),
        (["lock", "--keep"], 2, "--vendor"),
        (["build-images", "--target", "z80"], 2, "unknown target: z80"),
        (["convert", "--model", "no-such-net"], 2, "no-such-net"),
        (["convert", "--model", "digits-cnn", "--batch", "two"], 2, "--batch"),
        (["convert", "--model-file", "nowhere.onnx"], 2, "nowhere.onnx"),
        (["deploy", "--host", "nobody"], 2, "nobody"),
        (["probe", "--host", "nobody"], 2, "nobody"),
        (["report"], 11, "no results"),
    ],
)
def test_what_does_not_exist_is_named(
    product: Product, args: list[str], code: int, said: str
) -> None:
    product.inventory.parent.mkdir(parents=True, exist_ok=True)
    refused = product.refused(*args, env={"EDGEWRIGHT_DIST": str(product.folder / "nothing")})
    assert refused.returncode == code
    assert said in refused.output
    assert "what to do:" in refused.output


def test_no_engine_is_one_error(product: Product) -> None:
    refused = product.refused(
        "build-images", env={"DOCKER_HOST": "unix:///nonexistent/docker.sock"}
    )
    assert refused.returncode == 5
    assert "invoke setup" in refused.output


def test_doctor_exits_1_when_something_is_missing(product: Product) -> None:
    refused = product.refused("doctor", env={"DOCKER_HOST": "unix:///nonexistent/docker.sock"})
    assert refused.returncode == 1
    assert "Docker engine" in refused.output
