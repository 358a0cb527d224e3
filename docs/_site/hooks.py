"""What the documentation needs beside MkDocs: formulas as MathML, figures and tables of committed results."""

from __future__ import annotations

import html
import posixpath
import re
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert
from mkdocs.structure.files import File

FIGURES = Path(__file__).resolve().parents[2] / "results" / "reference"

_FIGURE = re.compile(r"(?:\.\./)+results/reference/([\w./-]+\.png)")
_STUDIES = "<!-- studies -->"
_FORMULA = re.compile(r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', re.DOTALL)
_ROLE = re.compile(r":(?:class|func|meth|mod|attr|data|exc):(?=<code>)")


def on_files(files: Any, config: Any, **_: Any) -> Any:
    """Copy the figures of results/reference/ into the site."""
    for path in sorted(FIGURES.rglob("*.png")):
        target = f"figures/{path.relative_to(FIGURES).as_posix()}"
        files.append(File.generated(config, target, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Put in the tables of studies; turn links to figures, right in the repository, into ones to copies."""
    folder = posixpath.dirname(page.file.src_uri)
    markdown = markdown.replace(_STUDIES, _studies())
    return _FIGURE.sub(lambda found: posixpath.relpath(f"figures/{found[1]}", folder or "."), markdown)


def _studies() -> str:
    tables = [
        f"### {path.parent.name}\n\n{path.read_text(encoding='utf-8')}\n"
        f"![Losses of {path.parent.name} by seed](../results/reference/{path.parent.name}/losses.png)\n"
        for path in sorted(FIGURES.glob("*/study.md"))
    ]
    return "\n".join(tables) or "No study is among the committed results yet."


def on_page_content(content: str, **_: Any) -> str:
    """Write formulas as MathML, which needs no script, and drop the roles of docstrings."""
    return _FORMULA.sub(_mathml, _ROLE.sub("", content))


def _mathml(found: re.Match[str]) -> str:
    display = "block" if found[2] == "[" else "inline"
    return str(convert(html.unescape(found[3]).strip(), display=display))
