"""An emulated device is switched off and on, by its tasks and by the engine itself."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.product import Product
from toolchain.core import process


@pytest.mark.usefixtures("deployed")
def test_a_device_that_was_switched_off_has_what_it_had(product: Product, device: str) -> None:
    host = ["--host", device, "--inventory", str(product.inventory)]
    named = ["--name", device, "--inventory", str(product.inventory)]
    releases: Any = product.json("releases", *host)
    entry = product.inventory.read_text()
    product.invoke("emulator.stop", "--name", device)
    assert f"invoke emulator.start --name {device}" in product.refused("releases", *host).output
    (again,) = product.json("emulator.start", *named)
    assert again["state"] == "running"
    assert product.json("releases", *host) == releases
    process.run(["docker", "stop", f"edgewright-{device}"])
    product.invoke("emulator.up", *named)  # it is no new one
    assert product.json("releases", *host) == releases
    assert product.inventory.read_text() == entry
