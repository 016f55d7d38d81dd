"""What tests share: small networks, bundles, results, programs of this machine."""

from __future__ import annotations

import sys

from toolchain.core import paths

# what runs on devices names its packages so; of tests pytest's settings say it
sys.path.append(str(paths.ROOT / "deploy" / "runner"))
