"""The notebooks of docs/notebooks: run again in a folder of their own, and written as pages.

    python docs/_site/notebooks.py

runs all of them and keeps the new outputs (`make notebooks`). Pages are made from the JSON alone.
"""

from __future__ import annotations

import base64
import json
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"
TIMEOUT_S = 1200

_CONTROL = re.compile(r"\x1b\[[0-9;]*m")


def executed(path: Path, folder: Path) -> Any:
    """Return a notebook as it is after all its cells have run in a folder; an error in a cell is raised."""
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        cell.pop("outputs", None)
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    resources = {"metadata": {"path": str(folder)}}
    # With a backend of Matplotlib's that was set for programs, figures would not be shown.
    environment = {name: value for name, value in os.environ.items() if name != "MPLBACKEND"}
    client = NotebookClient(notebook, timeout=TIMEOUT_S, kernel_name="python3", resources=resources)
    client.execute(env=environment)
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # times of day
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    return notebook


def page(path: Path) -> tuple[str, dict[str, bytes]]:
    """Return a notebook as Markdown, and its pictures by the names that the text has for them."""
    pictures: dict[str, bytes] = {}
    parts = []
    for number, cell in enumerate(json.loads(path.read_text(encoding="utf-8"))["cells"]):
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
        elif cell["cell_type"] == "code":
            parts.append(_fenced(source, "python"))
            for output in cell["outputs"]:
                parts += _shown(output, f"{path.stem}-{number}", pictures)
    head, _, rest = "\n\n".join(parts).partition("\n")
    return f"{head}\n\n[This page as a notebook]({path.name})\n{rest}\n", pictures


def _shown(output: dict[str, Any], name: str, pictures: dict[str, bytes]) -> Iterator[str]:
    if output["output_type"] == "stream":
        yield _fenced("".join(output["text"]), "text")
        return
    data = {kind: "".join(text) for kind, text in output["data"].items() if isinstance(text, str | list)}
    if "image/png" in data:
        picture = f"{name}-{len(pictures)}.png"
        pictures[picture] = base64.b64decode(data["image/png"])
        yield f"![Output of the cell above]({picture})"
    elif "text/html" in data:
        # Markdown ends a block of HTML at an empty line.
        yield '<div class="output">\n' + re.sub(r"\n\s*\n", "\n", data["text/html"]) + "\n</div>"
    elif "text/latex" in data:
        yield "$$\n" + data["text/latex"].strip().strip("$") + "\n$$"
    elif data.get("text/plain"):
        yield _fenced(data["text/plain"], "text")


def _fenced(text: str, language: str) -> str:
    return f"```{language}\n{_CONTROL.sub('', text).rstrip()}\n```"


def main() -> None:
    """Run all notebooks and write them again with their outputs."""
    import nbformat

    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        print(f"running {path.name}")
        with tempfile.TemporaryDirectory() as folder:
            notebook = executed(path, Path(folder))
        path.write_text(nbformat.writes(notebook) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
