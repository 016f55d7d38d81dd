"""What `invoke deploy --group` does once its bundle is made, as a process that can be timed.

    python -m benchmarks.deploy_ours INVENTORY BUNDLE

Prints a line of JSON: each device's result.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from deploy.inventory import reading
from deploy.release import fleet, rollout
from toolchain.bundle import assemble


def main() -> None:
    """Deploy to every device of the inventory."""
    devices = reading.load(Path(sys.argv[1])).select([], ["all"])
    folder = Path(sys.argv[2])
    work = rollout.deployed({assemble.load(folder).target: folder})
    results = fleet.run(devices, work, limits=fleet.Limits(), show=lambda *_: None)
    sys.stdout.write(json.dumps([result.plain() for result in results]) + "\n")


if __name__ == "__main__":
    main()
