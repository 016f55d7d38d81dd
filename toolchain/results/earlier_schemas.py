"""Results that earlier versions wrote, as this version reads them.

Until schema 2 the variant and the optimisation level of a compiled library were one text, the
variant: `O3` for the network as it was trained, `int8-O3` for another variant of it.
"""

from __future__ import annotations

import re
from typing import Any

from toolchain.models.variants import PLAIN

_LIBRARY = re.compile(r"(?:(?P<variant>.+)-)?O(?P<level>[0-3])")


def upgraded_result(content: Any) -> Any:
    """The JSON of a result of schema 1 as one of schema 2; any other JSON is returned as it is."""
    if not isinstance(content, dict) or content.get("schema") != 1:
        return content
    return {**content, "schema": 2, "measurements": _upgraded(content.get("measurements"))}


def upgraded_accuracy(content: Any) -> Any:
    """The JSON of counts on a user's images of before they said their schema, as one of schema 2.

    Any other JSON is returned as it is.
    """
    if not isinstance(content, dict) or "schema" in content:
        return content
    return {**content, "schema": 2, "subjects": _upgraded(content.get("subjects"))}


def _upgraded(entries: Any) -> Any:
    return [_split(entry) for entry in entries] if isinstance(entries, list) else entries


def _split(entry: Any) -> Any:
    """A measurement or a subject with its variant and its optimisation level apart.

    No variant is named like a library, so the text alone says which it is.
    """
    if not isinstance(entry, dict):
        return entry
    library = _LIBRARY.fullmatch(str(entry.get("variant")))
    if library is None:
        return {**entry, "opt_level": None}
    return {**entry, "variant": library["variant"] or PLAIN, "opt_level": int(library["level"])}
