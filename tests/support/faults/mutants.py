"""Faults that are put into the agent's source: module, what stands there once, what instead."""

from __future__ import annotations

MUTANTS = {
    "a file's fsync dropped": ("files", "        os.fsync(stream.fileno())\n", ""),
    "a release not brought to the disk": ("steps", "        fsync_tree(base)\n", ""),
    "the switch not brought to the disk": (
        "files", "    os.replace(temporary, link)\n    fsync_path(root)\n",
        "    os.replace(temporary, link)\n",
    ),
    "the switch in two calls": (
        "files", "    os.replace(temporary, link)\n",
        ("    os.unlink(link) if os.path.lexists(link) else None\n"
        "    os.replace(temporary, link)\n"),
    ),
    "a switch that nothing can undo": ("steps", "        note_return(self)\n", ""),
    "a switch that is not undone": ("steps", "        go_back(self)\n", ""),
    "the confirmation not brought to the disk": (
        "commit_confirmed",
        "        return False\n    fsync_path(state.root)\n", "        return False\n",
    ),
    "a switch undone without what came before": (
        "commit_confirmed", ', ("previous", noted["previous"])', ",",
    ),
    "the lock not taken": (
        "steps", "            fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)\n",
        "            pass\n",
    ),
    "a received hash unchecked": ("steps", "        if digest(received) != sha256:\n",
                                  "        if False:\n"),
    "a kept hash unchecked": ("steps", " and digest(blob) == name:", ":"),
    "a rollback to what is damaged": ("steps", "        if not self.whole(back):\n",
                                      "        if False:\n"),
    "a release removed piece by piece": (
        "steps",
        '        for folder in gone:\n            self.discard(self.path("releases", folder))\n',
        ('        for folder in gone:\n'
         '            for name in sorted(os.listdir(self.release(folder)), reverse=True):\n'
         '                remove(self.path("releases", folder, name))\n'
         '            remove(self.release(folder))\n'),
    ),
    "what was cut off not cleared": (
        "steps", "        if self.marker(folder) is None and folder not in running:\n",
        "        if False:\n",
    ),
    "a disk's error kept quiet": ("files", "        os.fsync(descriptor)\n",
                                  ("        try:\n            os.fsync(descriptor)\n"
                                  "        except OSError:\n            pass\n")),
    "the previous release removed": (
        "steps", '        needed = {self.linked("current"), self.linked("previous")}\n',
        '        needed = {self.linked("current")}\n',
    ),
    "a going back forgotten before it is done": (
        "commit_confirmed", '    pairs = (("current"',
        ("    for name in (PENDING, RETURNING):\n"
        "        if os.path.lexists(state.path(name)):\n"
        "            os.unlink(state.path(name))\n"
        '    pairs = (("current"'),
    ),
    "what a cut-off switch left in the way of the next": (
        "files", "    if os.path.lexists(temporary):\n        os.unlink(temporary)\n", "",
    ),
    "a damaged release taken for a whole one": (
        "state", ' and self.whole(entry["folder"]):', ":",
    ),
}  # fmt: skip
