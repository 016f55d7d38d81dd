"""Runs on the device: what a release is laid out and installed with.

Python's standard library only, 3.8 or newer.
"""

from __future__ import annotations

import errno
import os

from deploy.agent.files import Failure


def place(blob: str, target: str) -> None:
    """Hard-link a verified file into a release; copy it where that can't be done."""
    try:
        os.link(blob, target)
        return
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EXDEV, errno.EMLINK, errno.EOPNOTSUPP):
            raise
    import shutil

    shutil.copyfile(blob, target)
    os.chmod(target, 0o444)


def pip(release: str) -> list[str]:
    """How to call pip: the release's own, else the device's, else the one kept for venv.

    Args:
        release: the release's folder.

    Raises:
        Failure: there is none.
    """
    import glob
    import importlib.util
    import sysconfig

    folders = [os.path.join(release, "wheels")]
    if not glob.glob(os.path.join(folders[0], "pip-*.whl")):
        if importlib.util.find_spec("pip") is not None:
            return ["-m", "pip"]
        spec = importlib.util.find_spec("ensurepip")
        folders = [sysconfig.get_config_var("WHEEL_PKG_DIR") or "/usr/share/python-wheels"]
        if spec is not None and spec.origin:
            folders.append(os.path.join(os.path.dirname(spec.origin), "_bundled"))
    for folder in folders:
        for wheel in sorted(glob.glob(os.path.join(folder, "pip-*.whl"))):
            return [os.path.join(wheel, "pip")]
    raise Failure("install", "the device has no pip", "", "there: apt-get install python3-pip")


def make_importable(release: str, runner: str) -> None:
    """Let programs that the release's own Python runs import the library beside the runner.

    Args:
        release: the release's folder.
        runner: the runner's folder below it.

    Raises:
        OSError: its venv can't be written.
    """
    import glob

    for packages in glob.glob(os.path.join(release, "venv", "lib", "python*", "site-packages")):
        # site joins each line of a .pth file to the folder that it stands in
        line = os.path.relpath(os.path.join(release, runner), packages)
        with open(os.path.join(packages, "edgewright.pth"), "w", encoding="utf-8") as stream:
            stream.write(line + "\n")
