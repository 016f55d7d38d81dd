"""The worked examples of CONTRIBUTING.md, by the file that the first line of each names."""

from __future__ import annotations

import re

from toolchain.core import paths

BLOCK = re.compile(r"(?ms)^```\w+\n# (?P<path>[\w/.]+)\n(?P<code>.*?)^```$")


def worked() -> dict[str, str]:
    """The code of each, by a path such as runtimes/litert.py."""
    text = (paths.ROOT / "CONTRIBUTING.md").read_text()
    return {block["path"]: block["code"] for block in BLOCK.finditer(text)}
