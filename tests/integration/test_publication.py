"""The published index, as a user meets it: pip, in an environment of its own."""

from __future__ import annotations

import re
import venv
from pathlib import Path

import numpy as np
import pytest

from deploy.inventory import reading
from tests.support.made_wheels import a_wheel, install
from tests.support.product import TARGET as DEVICE
from tests.support.product import Product
from tests.support.sshd import Sshd
from tests.support.static_server import served
from toolchain import targets
from toolchain.core import process, signing
from toolchain.core.errors import UsageError
from toolchain.core.store import Store, digest_tree
from toolchain.publication import index
from toolchain.publication.folder import Folder
from toolchain.publication.remote_folder import RemoteFolder

TARGET = "x86_64"
# the environment is without a pip of its own: under emulation its set-up takes a minute
INSTALL_ON_DEVICE = """
set -e
folder=$(mktemp -d)
trap 'rm -r "$folder"' EXIT
python3 -m venv --system-site-packages --without-pip "$folder/env"
python3 -m pip --isolated --disable-pip-version-check --python "$folder/env" install \
  --no-cache-dir --no-compile --index-url {address}/simple/ tflite-runtime
"$folder/env/bin/python" - << END
from tflite_runtime import interpreter
print(interpreter.Interpreter and interpreter.__file__)
END
"""


@pytest.mark.skipif(not targets.target(TARGET).native(), reason="this machine is no x86-64")
def test_pip_installs_the_interpreter_from_a_published_index(
    product: Product, tmp_path: Path
) -> None:
    keys = {"EDGEWRIGHT_KEYS": str(tmp_path / "keys")}
    index, environment = tmp_path / "index", tmp_path / "venv"
    product.invoke("build-wheels", "--target", TARGET, "--only", "tflite_runtime")
    product.invoke("keys", env=keys)
    publish = ["publish", "--to", str(index), "--target", TARGET, "--only", "tflite_runtime"]
    (wheel,) = product.json(*publish, env=keys)
    assert (wheel["project"], wheel["state"], wheel["signed"]) == ("tflite-runtime", "added", True)
    assert (index / f"{wheel['path']}.provenance.json.sig").is_file()

    venv.create(environment, with_pip=True)
    python = str(environment / "bin" / "python")
    # numpy is the device's own: here the one that these tests have
    (packages,) = environment.glob("lib/python*/site-packages")
    (packages / "numpy.pth").write_text(f"{Path(np.__file__).parents[1]}\n")
    pip = [python, "-m", "pip", "--isolated", "--disable-pip-version-check", "install"]
    with served(index) as (address, asked):
        where = ["--no-cache-dir", "--index-url", f"{address}/simple/"]
        process.run([*pip, *where, "tflite-runtime"])
    assert asked[0] == "/simple/tflite-runtime/"
    script = "from tflite_runtime import interpreter as i; print(i.Interpreter and i.__file__)"
    assert process.run([python, "-c", script]).strip().startswith(str(packages))

    (again,) = product.json(*publish, env=keys)
    assert again == wheel | {"state": "unchanged"}


@pytest.mark.usefixtures("deployed")  # a device that runs, and wheels for it
def test_pip_installs_the_interpreter_on_a_device(
    product: Product, device: str, tmp_path: Path
) -> None:
    keys, index = {"EDGEWRIGHT_KEYS": str(tmp_path / "keys")}, tmp_path / "index"
    product.invoke("keys", env=keys)
    product.invoke(
        "publish", "--to", str(index), "--target", DEVICE, "--only", "tflite_runtime",
        env=keys,
    )  # fmt: skip
    board = reading.load(product.inventory).host(device)
    known = f"UserKnownHostsFile={board.known_hosts}"
    ssh = ["ssh", "-F", "none", "-i", str(board.key_file), "-p", str(board.port), "-o", known]
    where = f"{board.user}@{board.host}"
    with served(index) as (address, asked):
        port = address.rpartition(":")[2]
        tunnel = ["-o", "ExitOnForwardFailure=yes", "-R", f"127.0.0.1:{port}:127.0.0.1:{port}"]
        script = INSTALL_ON_DEVICE.format(address=address)
        said = process.run([*ssh, *tunnel, where, script])
    assert re.fullmatch(r".*/env/lib/python.*/tflite_runtime/interpreter.py", said.split()[-1])
    assert asked[0] == "/simple/tflite-runtime/"
    assert [path for path in asked if path.endswith(".whl")], "it came from elsewhere"


def test_pip_installs_what_was_published_over_sftp(
    sshd: Sshd, ssh_config: Path, tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEWRIGHT_KEYS", str(tmp_path / "keys"))
    signing.make_key()
    there = tmp_path / "served there"
    address = f"sftp://127.0.0.1:{sshd.port}{there}"
    for version, state in (("1.0", "added"), ("1.0", "unchanged"), ("2.0", "added")):
        wheel = a_wheel(tmp_path, "a-thing", version)
        with store.scratch() as scratch:
            into = RemoteFolder(address, scratch)
            (one,) = index.publish([wheel], into, store, replace=False, say=lambda _: None)
        assert (one.state, one.signed) == (state, True)
        assert (there / one.path).read_bytes() == wheel.read_bytes()
    # the same, file by file, as a folder that is published to
    here = Folder(tmp_path / "here")
    for version in ("1.0", "2.0"):
        wheel = a_wheel(tmp_path, "a-thing", version)
        index.publish([wheel], here, store, replace=False, say=lambda _: None)
    assert digest_tree(there) == digest_tree(here.root)
    with served(there) as (web, _):
        install(web, "a-thing", tmp_path / "site", "a-thing==1.0")
    assert (tmp_path / "site" / "a_thing-1.0.dist-info").is_dir()
    sshd.trust("other_host_key")
    with store.scratch() as scratch, pytest.raises(UsageError, match="can't be published to") as no:
        index.publish([wheel], RemoteFolder(address, scratch), store, replace=False, say=print)
    assert no.value.detail == "Host key verification failed."


def test_what_is_published_to_a_bucket_has_its_types(s3: str, tmp_path: Path, store: Store) -> None:
    import s3fs

    with store.scratch() as scratch:
        into = RemoteFolder(s3, scratch)
        wheel = a_wheel(tmp_path, "a-thing")
        index.publish([wheel], into, store, replace=False, say=lambda _: None)
    files = s3fs.S3FileSystem(skip_instance_cache=True)
    page = files.info(f"{s3.removeprefix('s3://')}/simple/a-thing/index.html")
    assert page["ContentType"] == "text/html"


def test_nothing_is_published_to_a_web_server(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="can't be published to"):
        RemoteFolder("https://wheels.example/", tmp_path)
