"""A history as files: a page for people, JUnit's XML and a table in Markdown for a CI."""

from __future__ import annotations

import html
import itertools
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree as ET

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from toolchain.commandline.terminal import visible
from toolchain.core.store import write_atomically
from toolchain.report import formatting
from toolchain.report.charts import runtime_style
from toolchain.report.html_page import TEMPLATES
from toolchain.report.over_time import chart
from toolchain.report.over_time.series import COLUMNS, History, Regression, rows

# what XML 1.0 has no characters for beside control ones (https://www.w3.org/TR/xml/#charsets)
NOT_XML = re.compile("[\ufffe\uffff]")
# Markdown's within a cell, and what GitHub makes links and mentions of
MARKS = re.compile(r"([\\`*_\[\]|~@]|:(?=//)|(?<=www)\.)")


def page(found: Sequence[History], worse: Sequence[Regression], path: Path) -> None:
    """Write the page: a plot and a row for each configuration, one file that needs no network."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    by_host = itertools.groupby(found, key=lambda one: one.host)
    text = environment.get_template("history.html.j2").render(
        colours=runtime_style.colours({one.runtime for one in found}),
        formatting=formatting,
        hosts=[(host, list(ones)) for host, ones in by_host],
        plot=chart.plot,
        regressions=worse,
        written=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
    )
    write_atomically(path, text.encode())


def junit(found: Sequence[History], worse: Sequence[Regression], path: Path) -> None:
    """Write JUnit's XML: a suite a device, a case a configuration, a failure where it got worse."""
    why = {(one.history.host, one.history.what, one.history.unit): one.why for one in worse}
    root = ET.Element("testsuites", name="edgewright")
    for host, of_host in itertools.groupby(found, key=lambda one: one.host):
        ones = list(of_host)
        failed = [one for one in ones if (host, one.what, one.unit) in why]
        named = _xml(host)
        suite = ET.SubElement(
            root, "testsuite", name=named, tests=str(len(ones)), failures=str(len(failed))
        )
        for one in ones:
            name = _xml(f"{one.what}, {one.unit}")
            case = ET.SubElement(suite, "testcase", classname=named, name=name)
            if said := why.get((host, one.what, one.unit)):
                ET.SubElement(case, "failure", message=_xml(said)).text = _xml(one.last.result)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, ET.tostring(root, encoding="utf-8", xml_declaration=True))


def markdown(found: Sequence[History], worse: Sequence[Regression]) -> str:
    """A table of all configurations, those that got worse first."""
    bad = {id(one.history): one.why for one in worse}
    lines = ["| " + " | ".join([*COLUMNS, ""]) + " |", "|---" * (len(COLUMNS) + 1) + "|"]
    for one in sorted(found, key=lambda one: id(one) not in bad):
        (row,) = rows([one])
        cells = [*row, bad.get(id(one), "")]
        lines.append("| " + " | ".join(map(_cell, cells)) + " |")
    return "\n".join(lines) + "\n"


def _xml(text: str) -> str:
    """A text in characters that XML has."""
    return NOT_XML.sub("\N{REPLACEMENT CHARACTER}", visible(text))


def _cell(text: str) -> str:
    """A text that Markdown shows as it is, on one line: names come from files and devices."""
    line = _xml(" ".join(text.split()))
    return MARKS.sub(r"\\\1", html.escape(line, quote=False))
