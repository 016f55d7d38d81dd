"""What a device's keys are called."""

from __future__ import annotations

import base64

import pytest

from deploy.release import removal


def test_a_key_is_called_by_its_fingerprint() -> None:
    line = f"ssh-ed25519 {base64.b64encode(b'key').decode()} of somebody"
    assert removal.print_of(line).startswith("SHA256:")


@pytest.mark.parametrize("line", ["", "ssh-ed25519", "ssh-ed25519 not=base64", "ssh-ed25519 ключ"])
def test_a_line_that_is_no_key_is_called_as_it_stands(line: str) -> None:
    assert removal.print_of(line) == line
