"""A public form of network for browsers, made by the real converter and run in a real browser."""

from __future__ import annotations

from pathlib import Path

import pytest

from toolchain.browser import check, chromium, conversion
from toolchain.convert.tfjs import job
from toolchain.models.resolve import resolve_model
from toolchain.workstation import extras

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(
        not extras.present(extras.EXTRAS[job.EXTRA]),
        reason="needs the extra: invoke setup --extra tfjs",
    ),
    pytest.mark.skipif(
        chromium.program() is None, reason="needs Chromium: invoke setup --tests installs it"
    ),
]


@pytest.mark.parametrize(
    ("form", "weights"), [("graph", "float32"), ("layers", "float32"), ("layers", "uint8")]
)
def test_a_network_gives_in_a_browser_what_its_source_gives(
    form: str, weights: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEWRIGHT_DIST", str(tmp_path))
    made, converted = conversion.make(resolve_model("digits-cnn"), 1, form, weights)
    found = check.check(made, converted, form, weights, budget=0.1)
    assert [one.backend for one in found] == ["wasm", "cpu"]
    for one in found:
        assert one.error == ""
        assert one.check is not None
        assert one.check.count == check.SAMPLES
        assert one.check.top1_agreement == 1
        assert one.check.max_abs < (1e-5 if weights == "float32" else 0.1)
