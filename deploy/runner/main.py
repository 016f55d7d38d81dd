"""The runner's entry on the device: `python main.py --release FOLDER --spec -`.

Python's own library and numpy are all it needs; the runtimes it measures are imported by the
process of each job. Written for Python 3.9 and later.
"""

from __future__ import annotations

import sys

sys.dont_write_bytecode = True  # a release folder is immutable

from edgewright_runner import command  # noqa: E402 (after the line above, by intent)

if __name__ == "__main__":
    sys.exit(command.main(sys.argv[1:]))
