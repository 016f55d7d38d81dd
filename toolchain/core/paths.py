"""Where things live on this machine. Nothing here creates a folder.

`EDGEWRIGHT_CACHE` moves the cache, `EDGEWRIGHT_DIST` the folder that holds dist/, results/ and
reports/; both for tests and for machines with a small home. `EDGEWRIGHT_KEYS` moves the
signing key, `EDGEWRIGHT_RECORDS` what tuning has measured.
"""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

ROOT = Path(__file__).resolve().parents[2]
SCRATCH = "tmp"  # in the cache: what belongs to processes that run


def cache() -> Path:
    """The folder of everything that can be made again."""
    override = os.environ.get("EDGEWRIGHT_CACHE")
    return Path(override) if override else Path(platformdirs.user_cache_dir("edgewright"))


def keys() -> Path:
    """The folder of the key that signs releases. Kept by the user: it can't be made again."""
    override = os.environ.get("EDGEWRIGHT_KEYS")
    return Path(override) if override else Path(platformdirs.user_config_dir("edgewright")) / "keys"


def records() -> Path:
    """The folder of what searches have measured on devices: kept, since it takes hours of them."""
    override = os.environ.get("EDGEWRIGHT_RECORDS")
    return Path(override) if override else Path(platformdirs.user_data_dir("edgewright")) / "tuning"


def output() -> Path:
    """The folder that holds dist/, results/ and reports/: the current project."""
    return Path(os.environ.get("EDGEWRIGHT_DIST", ROOT))


def dist() -> Path:
    """Finished outputs: wheels, models, bundles."""
    return output() / "dist"


def results() -> Path:
    """One JSON file a measurement."""
    return output() / "results"


def reports() -> Path:
    """Reports made from results."""
    return output() / "reports"
