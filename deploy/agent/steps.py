"""Runs on the device: the steps that change something below our root there.

Each may be cut off at any system call: a release counts from the moment its marker is on disk, one
rename of a symlink switches to it, and what a cut-off step left is cleared by the next one.

Modules that only an installation needs are imported by it: they take a small board as long as all
else that an unchanged deployment does. Python's standard library only, 3.8 or newer.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import time
from contextlib import suppress

from deploy.agent.commit_confirmed import Watch, confirm_switch, go_back, note_return
from deploy.agent.files import (
    HEX64,
    MANIFEST,
    MARKER,
    Failure,
    digest,
    ending,
    fsync_path,
    fsync_tree,
    point,
    remove,
    safe,
    tree_digests,
    write_durably,
)
from deploy.agent.installation import make_importable, pip, place
from deploy.agent.ownership import claim, refuse_strangers
from deploy.agent.state import State
from deploy.agent.trust import accept, add, check

# typing's own is one of those modules; this name means the same to a type checker
TYPE_CHECKING = False
if TYPE_CHECKING:
    import subprocess
    from typing import Any

TAIL = 30


class Steps(State):
    """The steps, in the order in which a deployment takes them. Each public method is a request."""

    def __init__(self, root: str) -> None:
        super().__init__(root)
        self.child: subprocess.Popen[bytes] | None = None
        self.watch: Watch | None = None
        self.allowed = ("", 0)

    def lock(self, who: str) -> None:
        """Keep every other deployment and measurement out, for as long as this process lives."""
        refuse_strangers(self.root)
        os.makedirs(self.root, exist_ok=True)
        lock_file = os.open(self.path("lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock_file)
            raise Failure(
                "locked",
                "another deployment or a measurement is under way",
                f"by {self.holder() or 'someone who left no name'}",
                "wait for it to end, then run the same command again",
            ) from None
        self.lock_file = lock_file
        os.ftruncate(self.lock_file, 0)
        os.pwrite(self.lock_file, who.encode(), 0)
        claim(self.root)
        go_back(self)

    def authorize(self, release: str, seal: dict[str, Any] | None) -> None:
        """Let a release in, on a device with keys only when its seal is good."""
        self.locked()
        self.allowed = release, check(self.root, release, seal)

    def trust(self, key: str) -> bool:
        """Take signed releases only from now on; False when that key was trusted already."""
        self.locked()
        return add(self.root, key)

    def prepare(self, files: list[dict[str, Any]]) -> dict[str, Any]:
        """Clear what a cut-off deployment left; say which files are missing, and from where on."""
        self.locked()
        for name in ("blobs", "incoming", "releases"):
            os.makedirs(self.path(name), exist_ok=True)
        fsync_path(self.root)
        self.abandon()
        wanted = {self.sha256(file["sha256"]): file["size"] for file in files}
        for name in os.listdir(self.path("incoming")):
            path = self.path("incoming", name)
            if name.endswith(".part") and name[:-5] in wanted:
                if os.path.getsize(path) > wanted[name[:-5]]:
                    os.unlink(path)
            else:
                remove(path)
        missing = []
        for name, size in wanted.items():
            blob = self.path("blobs", name)
            if os.path.isfile(blob):
                if os.path.getsize(blob) == size and digest(blob) == name:
                    continue
                os.unlink(blob)
            part = self.path("incoming", name + ".part")
            offset = os.path.getsize(part) if os.path.isfile(part) else 0
            missing.append({"sha256": name, "size": size, "offset": offset})
        return {"missing": missing, "incoming": self.path("incoming")}

    def take(self, sha256: str) -> bool:
        """Verify a received file and keep it; False, and it is gone, when its bytes are wrong."""
        self.locked()
        received = self.path("incoming", self.sha256(sha256))
        if not os.path.isfile(received):
            return False
        if digest(received) != sha256:
            os.unlink(received)
            return False
        os.chmod(received, 0o444)
        fsync_path(received)
        os.replace(received, self.path("blobs", sha256))
        fsync_path(self.path("blobs"))
        return True

    def assemble(self, manifest: str) -> str:
        """Lay a release out beside the running one; return its folder's name."""
        self.locked()
        content = json.loads(manifest)
        release = str(content["release"])
        if self.identity(content) != release or not HEX64.fullmatch(release):
            raise Failure("refused", "the manifest's id is not the hash of its content")
        self.permitted(release)
        folder, number = release[:16], 1
        while os.path.lexists(self.path("releases", folder)):
            number += 1
            folder = f"{release[:16]}-{number}"
        base = self.path("releases", folder)
        os.mkdir(base, 0o755)
        for file in content["files"]:
            target = os.path.join(base, safe(file["path"]))
            os.makedirs(os.path.dirname(target), exist_ok=True)
            place(self.path("blobs", file["sha256"]), target)
        write_durably(os.path.join(base, MANIFEST), manifest)
        return folder

    def install(self, folder: str, seconds: float) -> None:
        """Make the release's venv and install its wheels there, from its own files only."""
        import venv

        self.locked()
        base = self.release(folder)
        manifest = self.manifest(folder)
        builder = venv.EnvBuilder(system_site_packages=True, symlinks=True, with_pip=False)
        builder.create(os.path.join(base, "venv"))
        python = os.path.join(base, "venv", "bin", "python")
        code, output = self.run(
            [
                python, *pip(base), "--isolated", "--disable-pip-version-check",
                "--no-input", "--no-cache-dir", "install", "--quiet", "--no-index",
                "--require-hashes", "--no-deps", "--no-compile", "--find-links",
                os.path.join(base, "wheels"), "-r", os.path.join(base, manifest["requirements"]),
            ],
            limit=seconds,
        )  # fmt: skip
        if code != 0:
            raise Failure("install", "pip could not install the wheels on the device", output)
        make_importable(base, safe(manifest["runner"]))

    def check(
        self, folder: str, program: str, arguments: list[str], seconds: float
    ) -> dict[str, Any]:
        """Run the self-check in the release's own Python; its first argument is the release."""
        self.locked()
        base = self.release(folder)
        python = os.path.join(base, "venv", "bin", "python")
        code, output = self.run([python, "-", base, *arguments], limit=seconds, source=program)
        if code != 0:
            raise Failure("check", "what was installed does not work on the device", output)
        found = json.loads(output.strip().splitlines()[-1])
        assert isinstance(found, dict)
        return found

    def finish(self, folder: str) -> None:
        """Bring the release to the disk, then mark it complete."""
        self.locked()
        base = self.release(folder)
        manifest = self.manifest(folder)
        fsync_tree(base)
        fsync_path(self.path("releases"))
        shape, content = tree_digests(os.path.join(base, "venv"))
        marker = {
            "release": manifest["release"],
            "serial": 1 + max((e["serial"] for e in self.releases()), default=0),
            "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "models": [m["model"] for m in manifest["models"]],
            "venv": shape,
            "content": content,
        }
        write_durably(os.path.join(base, MARKER), json.dumps(marker))

    def switch(self, folder: str, seconds: float) -> bool:
        """Make a complete release the running one, in one rename; False when it is already.

        The switch is undone unless `confirm` comes within so many seconds.
        """
        self.locked()
        if self.marker(folder) is None:
            raise Failure("refused", f"{folder} is not a complete release")
        running = self.linked("current")
        if running == folder:
            return False
        release = self.id_of(folder)
        self.permitted(release)
        if self.allowed[1]:
            accept(self.root, self.allowed[1], release)
        note_return(self)
        self.watch = self.guard(seconds)
        # what ran may be the same release, damaged: that is no place to go back to
        if running is not None and self.id_of(running) != release:
            point(self.root, "previous", running)
        point(self.root, "current", folder)
        return True

    def guard(self, seconds: float) -> Watch | None:
        """Have someone wait for the confirmation."""
        return Watch(self, seconds)

    def confirm(self) -> None:
        """Let the switch hold."""
        self.locked()
        held = confirm_switch(self)
        if self.watch is not None:
            self.watch.end()
            self.watch = None
        if not held:
            raise Failure(
                "refused",
                "the confirmation came too late",
                f"the device went back to {self.linked('current') or 'no release'}",
                "deploy again",
            )

    def rollback(self, seconds: float, to: str = "") -> dict[str, Any]:
        """Switch to a complete release, or else the one that ran before; say from which to which.

        One that is damaged is laid out again first; its installation may take so many seconds.
        """
        self.locked()
        running, back = self.linked("current"), to or self.linked("previous")
        if to and (to == running or self.marker(to) is None):
            why = "runs already" if to == running else "is not a complete release here"
            raise Failure("refused", f"{to} {why}", "", "invoke releases lists those that are here")
        if back is None or back == running or self.marker(back) is None:
            older = [str(e["folder"]) for e in self.releases() if e["folder"] != running]
            back = older[-1] if older else None
        if running is None or back is None:
            how = "invoke deploy sends another one; then there is"
            raise Failure("refused", "there is no earlier release to go back to", resolution=how)
        damaged = ""
        if not self.whole(back):
            damaged, back = back, self.lay_out_again(back, seconds)
        point(self.root, "current", back)
        point(self.root, "previous", running)
        if damaged:
            self.discard(self.path("releases", damaged))
        return {"from": running, "to": back, "release": self.id_of(back)}

    def lay_out_again(self, folder: str, seconds: float) -> str:
        """A complete release with the id of a damaged one, from what was received; its folder."""
        try:
            manifest = self.manifest(folder)
            known = manifest["release"] == self.id_of(folder) == self.identity(manifest)
            lacking = not known or self.prepare(manifest["files"])["missing"]
        except (OSError, ValueError, KeyError, TypeError):
            lacking = True
        if lacking:
            raise Failure(
                "refused",
                f"the earlier release {folder} is damaged",
                "so are the files that it was made of",
                "deploy a release anew: invoke deploy",
            )
        # it was let in when it came, and is the same by its id
        self.allowed = str(manifest["release"]), 0
        laid_out = self.assemble(json.dumps(manifest))
        try:
            self.install(laid_out, seconds)
            self.finish(laid_out)
        except BaseException:
            self.abandon()
            raise
        return laid_out

    def clean(self, keep: int) -> list[str]:
        """Remove the oldest releases beyond `keep`, never the running or the previous one."""
        self.locked()
        self.abandon()
        needed = {self.linked("current"), self.linked("previous")}
        complete = [str(entry["folder"]) for entry in self.releases()]
        # another folder of the release that runs is a damaged one, which was laid out again
        runs = self.linked("current")
        kept = [f for f in complete if f == runs or self.id_of(f) != self.id_of(runs)]
        needed.update(kept[-keep:] if keep > 0 else [])
        gone = [folder for folder in complete if folder not in needed]
        for folder in gone:
            self.discard(self.path("releases", folder))
        used = self.needed_files()
        for name in os.listdir(self.path("blobs")):
            if name not in used:
                os.unlink(self.path("blobs", name))
        for name in os.listdir(self.path("incoming")):
            remove(self.path("incoming", name))
        return gone

    def needed_files(self) -> set[str]:
        """The sha256 of the files of all releases that are there."""
        used: set[str] = set()
        for folder in self.folders():
            # A release whose manifest went bad keeps no file: what it lacks is sent again.
            with suppress(OSError, ValueError, KeyError, TypeError):
                used.update(file["sha256"] for file in self.manifest(folder)["files"])
        return used

    def abandon(self) -> None:
        """Remove what was laid out and is not complete; what was received stays."""
        self.locked()
        running = self.linked("current"), self.linked("previous")
        for folder in self.folders():
            if self.marker(folder) is None and folder not in running:
                self.discard(self.path("releases", folder))

    def ping(self) -> None:
        """Nothing; it shows that the other end is still there."""

    def discard(self, release: str) -> None:
        """Remove a release: gone in one rename, so that no half of it ever counts."""
        trash = self.path("incoming", f"trash-{os.getpid()}-{os.path.basename(release)}")
        if os.path.lexists(trash):
            # A process of this number was cut off here before: numbers begin anew at each boot.
            remove(trash)
        os.replace(release, trash)
        fsync_path(self.path("releases"))
        remove(trash)

    def locked(self) -> None:
        """Refuse a step that is not under the lock."""
        if self.lock_file < 0:
            raise Failure("refused", "this step needs the lock")

    def permitted(self, release: str) -> None:
        """Refuse a release that was not let in."""
        if self.allowed[0] != release:
            raise Failure("refused", f"{release[:16]} was not authorized")

    def run(self, args: list[str], *, limit: float, source: str = "") -> tuple[int, str]:
        """Run a program that inherits the lock, so that it can't outlive it unseen."""
        import shutil
        import subprocess

        timeout = shutil.which("timeout")
        prefix = [timeout, "-k", "2", str(int(limit) + 2)] if timeout else []
        # PYTHONPATH may lead to a home whose json.py is not the library's
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        self.child = subprocess.Popen(
            prefix + args,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**kept, "PIP_CONFIG_FILE": os.devnull},
            # a Python that reads its program looks for modules here first
            cwd=self.root,
            start_new_session=True,
            pass_fds=(self.lock_file,),
        )
        try:
            output, _ = self.child.communicate(source.encode(), timeout=limit)
        except subprocess.TimeoutExpired:
            self.end_child()
            raise Failure("install", f"{args[0]} took longer than {limit:.0f} s") from None
        code = self.child.returncode
        self.child = None
        lines = output.decode("utf-8", "replace").splitlines()[-TAIL:]
        return code, "\n".join([*lines, *filter(None, [ending(code)])])

    def end_child(self) -> None:
        """End what `run` started, with all of its group."""
        child = self.child
        if child is not None and child.poll() is None:
            try:
                os.killpg(child.pid, signal.SIGKILL)
            except ProcessLookupError:
                return
