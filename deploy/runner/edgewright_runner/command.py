"""The runner's command line: list what is deployed, measure, be one job of it, or run inputs."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

from edgewright_runner import conduct, inference, job


def main(argv: list[str]) -> int:
    """Run the command; the exit code is 0, or 2 when the arguments or the spec can't be used."""
    parser = argparse.ArgumentParser(prog="main.py", description=__doc__)
    parser.add_argument("--release", type=Path, help="the release folder; a symlink is followed")
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--list", action="store_true", help="print the deployed models as JSON")
    action.add_argument("--spec", help="what to measure: a JSON file, or - for standard input")
    action.add_argument("--run", action="store_true", help="run what standard input describes")
    action.add_argument("--job", action="store_true", help="internal: be the process of one job")
    options = parser.parse_args(argv)
    if options.job:
        return job.main()
    if options.release is None:
        parser.error("--release is needed")
    release = Path(os.path.realpath(options.release))
    try:
        if options.list:
            sys.stdout.write(json.dumps(deployed(release)) + "\n")
            return 0
        if options.run:
            return inference.main(release)
        spec = _read_spec(options.spec)
    except (OSError, ValueError, KeyError, TypeError) as error:
        sys.stderr.write(f"runner: {type(error).__name__}: {error}" + "\n")
        return 2
    return conduct.conduct(release, spec)


def deployed(release: Path) -> dict[str, Any]:
    """What the release folder holds: its id, its target, and each model's manifest (as `card`)."""
    manifest = json.loads((release / "manifest.json").read_text())
    return {
        "release": manifest["release"],
        "target": manifest["target"],
        "models": [
            {
                "folder": entry["folder"],
                "card": json.loads((release / entry["card"]).read_text()),
            }
            for entry in manifest["models"]
        ],
    }


def _read_spec(source: str | None) -> dict[str, Any]:
    text = sys.stdin.read() if source == "-" else Path(str(source)).read_text()
    spec = json.loads(text)
    if not isinstance(spec, dict) or not isinstance(spec.get("jobs"), list):
        raise TypeError("the spec is an object with a list of jobs")
    return spec
