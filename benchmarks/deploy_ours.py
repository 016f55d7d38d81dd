"""What `invoke deploy --group` does once its bundle is made, as a process that can be timed.

    python -m benchmarks.deploy_ours INVENTORY BUNDLE [--parallel 10]

Prints a line of JSON: each device's result, and this process's peak of memory in bytes and seconds
of processor.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
from pathlib import Path

from deploy.inventory import reading
from deploy.release import fleet, rollout
from toolchain.bundle import assemble


def main() -> None:
    """Deploy to every device of the inventory."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("inventory", type=Path)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--parallel", type=int, default=fleet.Limits.parallel)
    asked = parser.parse_args()
    devices = reading.load(asked.inventory).select([], ["all"])
    folder = asked.bundle
    work = rollout.deployed({assemble.load(folder).target: folder})
    limits = fleet.Limits(parallel=asked.parallel)
    results = [one.plain() for one in fleet.run(devices, work, limits=limits, show=_nothing)]
    used = resource.getrusage(resource.RUSAGE_SELF)
    seconds = used.ru_utime + used.ru_stime
    told = {"results": results, "peak": used.ru_maxrss << 10, "processor": seconds}
    sys.stdout.write(json.dumps(told) + "\n")


def _nothing(_name: str, _state: str, _line: str) -> None:
    pass


if __name__ == "__main__":
    main()
