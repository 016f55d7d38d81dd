"""What inventory.yml may say: its keys, their types, and what is said of one that is wrong.

Ansible's own form and variables, as far as they concern how a device is reached, and our
`edgewright` block. How variables of groups reach hosts is not decided here.
"""

from __future__ import annotations

import difflib
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails, PydanticCustomError

from deploy.inventory.program import Health, Service
from deploy.inventory.strict_yaml import Document
from toolchain import targets
from toolchain.core.errors import InventoryError
from toolchain.targets import boards

# what `python` is of a device that has none
NO_PYTHON = "none"
# the one key at the top of the file
TOP = "all"
# Variables of Ansible that change nothing of what we do; the user's own playbooks may need them.
ANSIBLE_ELSEWHERE = frozenset(
    f"ansible_{name}"
    for name in (
        "become", "become_exe", "become_flags", "become_method", "become_user", "connection",
        "pipelining", "python_interpreter", "shell_executable", "shell_type", "ssh_pipelining",
    )
)  # fmt: skip
SECRETS = frozenset(
    f"ansible_{name}" for name in ("password", "ssh_pass", "ssh_password", "become_pass",
                                   "become_password", "ssh_private_key_passphrase")
)  # fmt: skip


def _printable(value: str) -> str:
    if not value.isprintable():
        raise PydanticCustomError("printable", "a character that can't be printed")
    return value


def _not_an_option(value: str) -> str:
    if value.startswith("-"):
        raise PydanticCustomError("option", "must not begin with '-'")
    return value


def _rooted(value: str) -> str:
    parts = value.split("/")
    if not value.startswith(("/", "~/")) or ".." in parts or value.strip("/") in ("", "~"):
        raise PydanticCustomError("root", "must be a folder below / or ~/, without '..'")
    return value


Text = Annotated[str, StringConstraints(min_length=1, max_length=1024), AfterValidator(_printable)]
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}$")]
# an IPv6 address may stand in the brackets that it has where a port follows
Address = Annotated[
    str,
    StringConstraints(
        pattern=r"^([A-Za-z0-9_:][A-Za-z0-9_.:%-]{0,252}|\[[0-9A-Fa-f:.%A-Za-z_-]+\])$"
    ),
]
User = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.@-]{0,62}\$?$")]
Python = Annotated[str, StringConstraints(pattern=rf"^(3(\.\d{{1,2}})?|{NO_PYTHON})$")]
Root = Annotated[Text, AfterValidator(_rooted)]
LocalPath = Annotated[Text, AfterValidator(_not_an_option)]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Block(_Strict):
    """Our own block. Every key may stand at a group, and a host may override it."""

    target: str | None = Field(None, description="a target of targets.toml")
    board: str | None = Field(
        None, description="a board of boards.toml, whose target it has when none is given"
    )
    python: Python = Field(
        "3", description="which of the device's Pythons to use, in quotes: 3, 3.12; or none"
    )
    root: Root = Field("~/edgewright", description="the folder of ours on the device")
    emulated: bool = Field(False, description="its times are not a real device's")
    known_hosts: LocalPath | None = Field(
        None, description="file of host keys, instead of ssh's own"
    )
    container: Name | None = Field(None, description="set by emulator.up")
    strict_kex: bool = Field(
        True, description="false lets an old ssh server in that lacks strict key exchange"
    )
    host_keys: Literal["strict", "accept-new"] = Field(
        "strict", description="accept-new takes the key of a host that none is known for"
    )

    service: Service | None = Field(
        None, description="the program that is restarted with each release"
    )
    health: Health | None = Field(
        None, description="what must succeed there before a release counts"
    )

    @model_validator(mode="after")
    def _known_names(self) -> Block:
        every = {"target": targets.all_targets().keys(), "board": boards.all_boards().keys()}
        for key, names in every.items():
            given = getattr(self, key)
            if given is not None and given not in names:
                known = ", ".join(sorted(names))
                hint = f"; write it as a board: `board: {given}`" if given in every["board"] else ""
                raise PydanticCustomError(
                    key,
                    "unknown {key}; known: {known}{hint}",
                    {"known": known, "key": key, "hint": hint},
                )
        return self


class Vars(BaseModel):
    """The variables of a host or a group.

    Those that are neither ours nor Ansible's may be there: the user's own playbooks read them.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    ansible_host: Address | None = None
    ansible_port: Annotated[int, Field(ge=1, le=65535)] | None = None
    ansible_user: User | None = None
    ansible_ssh_private_key_file: LocalPath | None = None
    edgewright: Block = Block()

    @model_validator(mode="before")
    @classmethod
    def _spelled_right(cls, given: Any) -> Any:
        for key in given if isinstance(given, dict) else ():
            if key in cls.model_fields or key in ANSIBLE_ELSEWHERE:
                if given[key] is None:
                    raise PydanticCustomError("empty", "has no value", {"key": key})
                continue
            if key in SECRETS:
                raise PydanticCustomError(
                    "secret",
                    "a secret does not belong in a file; use a key and ssh-agent",
                    {"key": key},
                )
            close = difflib.get_close_matches(key, cls.model_fields, n=1, cutoff=0.8)
            if close or key.startswith("ansible_"):
                raise PydanticCustomError(
                    "typo",
                    "unknown key{hint}",
                    {"key": key, "hint": f"; did you mean {close[0]}?" if close else ""},
                )
        return given


class Group(_Strict):
    """A group, as under `all` and under any `children`."""

    hosts: dict[Name, Vars | None] | None = None
    vars: Vars | None = None
    children: dict[Name, Group | None] | None = None


class InventoryFile(_Strict):
    """The whole file."""

    all: Group | None


def validate(document: Document) -> InventoryFile:
    """The content of a document, when every key and type is right.

    Raises:
        InventoryError: one is not; the message has file, line and key.
    """
    try:
        return InventoryFile.model_validate(document.value)
    except ValidationError as error:
        raise _first_error(document, error) from error


def _first_error(document: Document, error: ValidationError) -> InventoryError:
    """The complaint that stands first in the file, in our words."""
    found = []
    for details in error.errors(include_url=False):
        place = tuple(part for part in details["loc"] if part != "[key]")
        if "key" in details.get("ctx", {}):
            place = (*place, details["ctx"]["key"])
        found.append((document.line(place), place, _in_words(details)))
    _, place, message = min(found, key=lambda item: item[0])
    return document.error(
        place, message, resolution="docs/reference/inventory.md explains every key"
    )


WORDS = {
    "model_type": "must be a mapping",
    "dict_type": "must be a mapping",
    "model_attributes_type": "must be a mapping",
    "string_type": "must be a string",
    "int_type": "must be a whole number",
    "bool_type": "must be true or false",
}


# what a value looks like, by the key; the patterns themselves tell few people anything
LIKE = {
    "ansible_host": "192.0.2.10, or a name",
    "ansible_user": "debian",
    "python": '"3.13", or none',
    "unit": "detector.service",
    "url": "http://127.0.0.1:8080/health",
}


def _in_words(details: ErrorDetails) -> str:
    given, kind = details["input"], details["type"]
    if kind == "extra_forbidden":
        return _unknown_key(details["loc"])
    if kind in WORDS:
        quoted = kind == "string_type" and isinstance(given, int | float)
        hint = f', write it in quotes: "{given}"' if quoted else ""
        return f"{WORDS[kind]}, not {_kind_of(given)}{hint}"
    like = LIKE.get(str(details["loc"][-1])) if kind == "string_pattern_mismatch" else None
    if like is not None:
        return f"can't be {str(given)[:60]!r}; for example: {like}"
    if isinstance(given, str):
        return f"{details['msg']}; found {given[:60]!r}"
    return details["msg"]


def _unknown_key(place: tuple[int | str, ...]) -> str:
    model: type[BaseModel] = Group
    if "edgewright" in place:
        model = Block
    elif len(place) == 1:
        model = InventoryFile
    known = list(model.model_fields)
    close = difflib.get_close_matches(str(place[-1]), known, n=1)
    return "unknown key; " + (
        f"did you mean {close[0]}?" if close else f"known here: {', '.join(known)}"
    )


def _kind_of(value: object) -> str:
    names = {dict: "a mapping", list: "a list", str: "a string", bool: "true or false",
             int: "a number", float: "a number", type(None): "nothing"}  # fmt: skip
    return names.get(type(value), type(value).__name__)
