"""Wheels as an index: pip installs from it, what is in it stays, its signatures can be checked."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pypi_simple import PyPISimple

from tests.support.made_wheels import a_wheel, install
from tests.support.static_server import served
from toolchain.core import process, signing
from toolchain.core.errors import BuildError, CommandError, UsageError
from toolchain.core.store import Store
from toolchain.publication import index, signature, simple_repository
from toolchain.publication.folder import Folder
from toolchain.publication.index import Published

KEYS = st.sampled_from(["meta", "api-version", "name", "versions", "files", "projects"])
JSON = st.recursive(
    st.none() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=8,
)


@pytest.fixture(autouse=True)
def keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of keys of the test's own, without a key."""
    folder = tmp_path / "keys"
    monkeypatch.setenv("EDGEWRIGHT_KEYS", str(folder))
    return folder


def published(
    store: Store, into: Path, *wheels: Path, replace: bool = False
) -> dict[str, Published]:
    said = index.publish(wheels, Folder(into), store, replace=replace, say=lambda _: None)
    return {one.project: one for one in said}


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_pip_installs_a_project_and_what_it_needs_from_a_server_of_files(
    tmp_path: Path, store: Store
) -> None:
    into = tmp_path / "index"
    thing = a_wheel(tmp_path, "a-thing", needs="its-part>=2", says="thing")
    published(store, into, thing, a_wheel(tmp_path, "its-part", "2.1", says="part"))
    with served(into) as (address, asked):
        install(address, "A_Thing", tmp_path / "site")
    for module, says in (("a_thing", "thing"), ("its_part", "part")):
        assert (tmp_path / "site" / f"{module}.py").read_text() == f"SAYS = {says!r}\n"
    # it resolved by the metadata, and then fetched each wheel once
    assert sum(path.endswith(".whl.metadata") for path in asked) == 2
    assert sum(path.endswith(".whl") for path in asked) == 2


def test_pip_refuses_a_wheel_that_was_changed_where_it_is_served(
    tmp_path: Path, store: Store
) -> None:
    into = tmp_path / "index"
    one = published(store, into, a_wheel(tmp_path, "a-thing"))["a-thing"]
    (into / one.path).write_bytes((into / one.path).read_bytes() + b"\0")
    with served(into) as (address, _), pytest.raises(CommandError) as caught:
        install(address, "a-thing", tmp_path / "site")
    assert "DO NOT MATCH THE HASHES" in caught.value.output
    # published again it is mended
    again = published(store, into, tmp_path / Path(one.path).name)["a-thing"]
    assert again.state == "unchanged"
    with served(into) as (address, _):
        install(address, "a-thing", tmp_path / "site")


def test_both_forms_of_a_page_say_the_same(tmp_path: Path, store: Store) -> None:
    into = tmp_path / "index"
    one = published(store, into, a_wheel(tmp_path, "a-thing"))["a-thing"]
    with served(into) as (address, _), PyPISimple(f"{address}/simple/") as client:
        (package,) = client.get_project_page("a-thing").packages
        assert client.get_index_page().projects == ["a-thing"]
    (said,) = json.loads((into / "simple/a-thing/index.v1_json").read_text())["files"]
    assert package.filename == said["filename"] == "a_thing-1.0-py3-none-any.whl"
    assert dict(package.digests) == said["hashes"] == {"sha256": one.sha256}
    assert package.requires_python == said["requires-python"] == ">=3.11,<4"
    assert package.metadata_digests == said["core-metadata"]
    assert package.url == f"{address}/{one.path}"
    assert said["size"] == (into / one.path).stat().st_size


def test_an_index_keeps_what_it_has_and_the_same_again_changes_no_byte(
    tmp_path: Path, store: Store
) -> None:
    into = tmp_path / "index"
    old = a_wheel(tmp_path, "a-thing", "1.9", says="old")
    assert published(store, into, old)["a-thing"].state == "added"
    new, other = a_wheel(tmp_path, "a-thing", "1.10"), a_wheel(tmp_path, "b-thing")
    published(store, into, new)
    published(store, into, other)
    before = content(into)
    assert {one.state for one in published(store, into, old, new, other).values()} == {"unchanged"}
    assert content(into) == before
    page = json.loads(before["simple/a-thing/index.v1_json"])
    assert page["versions"] == ["1.9", "1.10"]
    projects = json.loads(before["simple/index.v1_json"])["projects"]
    assert [project["name"] for project in projects] == ["a-thing", "b-thing"]
    with served(into) as (address, _):
        install(address, "a-thing==1.9", tmp_path / "site")
        install(address, "b-thing", tmp_path / "site")
    assert "old" in (tmp_path / "site" / "a_thing.py").read_text()


def test_another_wheel_of_a_name_is_refused_until_it_is_asked_for(
    tmp_path: Path, store: Store
) -> None:
    into, (first, second) = tmp_path / "index", (tmp_path / "1", tmp_path / "2")
    published(store, into, a_wheel(first, "a-thing", says="first"))
    before = content(into)
    other = a_wheel(second, "a-thing", says="second")
    with pytest.raises(UsageError, match="has another a_thing-1"):
        published(store, into, a_wheel(second, "b-thing"), other)
    assert content(into) == before
    assert published(store, into, other, replace=True)["a-thing"].state == "replaced"
    with served(into) as (address, _):
        install(address, "a-thing", tmp_path / "site")
    assert "second" in (tmp_path / "site" / "a_thing.py").read_text()
    # what was at the old address is still there
    assert {name: content(into)[name] for name in before if name.startswith("packages")} == {
        name: said for name, said in before.items() if name.startswith("packages")
    }


def test_targets_share_a_wheel_and_may_not_have_two_of_one_name(
    tmp_path: Path, store: Store
) -> None:
    one, same, other = (tmp_path / name for name in ("one", "same", "other"))
    wheel, twin = a_wheel(one, "a-thing"), a_wheel(same, "a-thing")
    assert len(published(store, tmp_path / "index", wheel, twin)) == 1
    with pytest.raises(UsageError, match="two wheels are called a_thing") as caught:
        published(store, tmp_path / "index", wheel, a_wheel(other, "a-thing", says="other"))
    assert str(other) in caught.value.detail


def test_a_wheel_and_its_provenance_are_signed_so_that_openssh_says_so(
    tmp_path: Path, store: Store
) -> None:
    into, wheel = tmp_path / "index", a_wheel(tmp_path, "a-thing")
    assert not published(store, into, wheel)["a-thing"].signed
    assert list(into.rglob("*.sig")) == []
    signing.make_key()
    one = published(store, into, wheel)["a-thing"]
    assert one.signed
    trusted = tmp_path / "allowed_signers"
    trusted.write_text(f'edgewright namespaces="{signature.NAMESPACE}" {signing.public_key()}\n')
    verify = ["ssh-keygen", "-Y", "verify", "-f", str(trusted), "-I", "edgewright"]
    verify += ["-n", signature.NAMESPACE]
    read = ["sh", "-c", 'file=$1; shift; exec "$@" < "$file"', "sh"]
    altered = tmp_path / "altered"
    for name in (one.path, f"{one.path}.provenance.json"):
        check = [*verify, "-s", str(into / f"{name}.sig")]
        assert "Good" in process.run([*read, str(into / name), *check])
        altered.write_bytes((into / name).read_bytes() + b"\n")
        with pytest.raises(CommandError):
            process.run([*read, str(altered), *check])


def test_a_key_that_others_can_read_signs_nothing(tmp_path: Path, store: Store, keys: Path) -> None:
    signing.make_key()
    (keys / "release").chmod(0o644)
    with pytest.raises(UsageError, match="can't sign"):
        published(store, tmp_path / "index", a_wheel(tmp_path, "a-thing"))
    # no page names what was left half done
    assert not (tmp_path / "index" / "simple").exists()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        "[" * 100_000,
        '{"meta": {"api-version": "1.0"}, "name": "a-thing", "versions": [], "files": []}',
        '{"meta": {"api-version": "1.1"}, "name": "other", "versions": [], "files": []}',
        '{"meta": {"api-version": "1.1"}, "name": "a-thing", "versions": [], "files": [{}]}',
    ],
)
def test_a_page_of_others_is_left_as_it_is(tmp_path: Path, store: Store, text: str) -> None:
    page = tmp_path / "index/simple/a-thing/index.v1_json"
    page.parent.mkdir(parents=True)
    page.write_text(text)
    with pytest.raises(UsageError, match="is no page that this command wrote"):
        published(store, tmp_path / "index", a_wheel(tmp_path, "a-thing"))
    assert content(tmp_path / "index") == {"simple/a-thing/index.v1_json": text.encode()}


def test_an_index_of_others_is_left_as_it_is(tmp_path: Path, store: Store) -> None:
    page = tmp_path / "index/simple/index.html"
    page.parent.mkdir(parents=True)
    page.write_text("theirs")
    with pytest.raises(UsageError, match="did not write"):
        published(store, tmp_path / "index", a_wheel(tmp_path, "a-thing"))
    assert content(tmp_path / "index") == {"simple/index.html": b"theirs"}


@pytest.mark.parametrize("link", ["simple", "simple/thing", "packages"])
def test_a_link_in_an_index_leads_nothing_out_of_it(
    tmp_path: Path, store: Store, link: str
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    place = tmp_path / "index" / link
    place.parent.mkdir(parents=True)
    place.symlink_to(elsewhere)
    with pytest.raises(UsageError, match="can't be published to") as caught:
        published(store, tmp_path / "index", a_wheel(tmp_path, "thing"))
    assert "is a link" in caught.value.detail
    assert not list(elsewhere.iterdir())


@pytest.mark.parametrize("kind", ["pipe", "endless", "file of others"])
def test_what_is_no_page_is_not_waited_for(tmp_path: Path, store: Store, kind: str) -> None:
    page = tmp_path / "index" / "simple" / "thing" / "index.v1_json"
    page.parent.mkdir(parents=True)
    secret = tmp_path / "secret"
    secret.write_text('{"meta": "secret"}')
    if kind == "pipe":
        os.mkfifo(page)
    else:
        page.symlink_to("/dev/zero" if kind == "endless" else secret)
    with pytest.raises(UsageError, match="can't be published to") as caught:
        published(store, tmp_path / "index", a_wheel(tmp_path, "thing"))
    assert '{"meta"' not in caught.value.detail


def test_an_entry_that_leads_elsewhere_is_refused() -> None:
    wheel = simple_repository.Wheel(
        filename="a_thing-1.0-py3-none-any.whl",
        sha256="ab" * 32,
        size=1,
        python='>=3 "><script>',
        metadata="cd" * 32,
    )
    page = simple_repository.project_page("a-thing", [wheel])
    assert b"<script" not in page["index.html"]
    text = page["index.v1_json"]
    assert simple_repository.read_project(text, "a-thing") == [wheel]
    for before, after in ((b"../../packages", b"https://elsewhere"), (b"a_thing-1.0", b"b-1.0")):
        with pytest.raises(UsageError):
            simple_repository.read_project(text.replace(before, after), "a-thing")


@given(JSON)
def test_whatever_a_page_says_it_is_read_or_refused(value: object) -> None:
    text = json.dumps(value).encode()
    project = partial(simple_repository.read_project, project="a-thing")
    for read in (project, simple_repository.read_root):
        # anything but a refusal ends the test
        with suppress(UsageError):
            read(text)


def test_what_is_no_wheel_is_refused(tmp_path: Path, store: Store) -> None:
    file = tmp_path / "a_thing-1.0-py3-none-any.whl"
    file.write_text("no archive")
    with pytest.raises(BuildError, match="is no wheel"):
        published(store, tmp_path / "index", file)


def test_a_file_in_the_place_of_the_folder_is_named(tmp_path: Path, store: Store) -> None:
    (tmp_path / "index").write_text("a file")
    with pytest.raises(UsageError, match="can't be published to"):
        published(store, tmp_path / "index", a_wheel(tmp_path, "a-thing"))
