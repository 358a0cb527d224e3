"""What the documentation needs beside MkDocs: formulas as MathML, notebooks, figures, tables, keys."""

from __future__ import annotations

import html
import posixpath
import re
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert
from mkdocs.structure.files import File
from notebooks import NOTEBOOKS, page
from toml_keys import PAGE, page_of_keys

FIGURES = Path(__file__).resolve().parents[2] / "results" / "reference"

_FIGURE = re.compile(r"(?:\.\./)+results/reference/([\w./-]+\.png)")
_NOTEBOOK = re.compile(r"\]\(((?:\.\./)*notebooks/\w+)\.ipynb\)")
_STUDIES = "<!-- studies -->"
_FORMULA = re.compile(r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', re.DOTALL)
_ROLE = re.compile(r":(?:class|func|meth|mod|attr|data|exc):(?=<code>)")


def on_files(files: Any, config: Any, **_: Any) -> Any:
    """Copy the figures of results/reference/ into the site, and make pages of the notebooks."""
    for path in sorted(FIGURES.rglob("*.png")):
        target = f"figures/{path.relative_to(FIGURES).as_posix()}"
        files.append(File.generated(config, target, abs_src_path=str(path)))
    files.append(File.generated(config, PAGE, content=page_of_keys()))
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        text, pictures = page(path)
        files.append(File.generated(config, f"notebooks/{path.stem}.md", content=text))
        for name, picture in pictures.items():
            files.append(File.generated(config, f"notebooks/{name}", content=picture))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Put in the tables of studies; turn links that are right in the repository into ones of the site."""
    folder = posixpath.dirname(page.file.src_uri)
    markdown = _NOTEBOOK.sub(r"](\1.md)", markdown.replace(_STUDIES, _studies()))
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
