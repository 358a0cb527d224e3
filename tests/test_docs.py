"""The documentation: what its pages name is there, what they show is what was found, and it builds."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
REFERENCE = ROOT / "results" / "reference"
RUNS = sorted(path.parent.name for path in REFERENCE.glob("*/validation.json"))
PAGES = sorted(DOCS.rglob("*.md"))
NAMES = [page.relative_to(DOCS).as_posix() for page in PAGES]
NOTEBOOKS = sorted(DOCS.rglob("*.ipynb"))

FOLDERS = ("sims", "discover", "pipelines", "results/reference", "tests", "benchmarks", "docs")
WRITTEN_BY_THE_READER = {"discover/search/products.py"}

every_page = pytest.mark.parametrize("page", PAGES, ids=NAMES)


def code(page: Path) -> str:
    """Return what stands in code: blocks, indented lines and `spans`."""
    text = page.read_text()
    blocks = re.findall(r"^```.*?\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    indented = re.findall(r"^    .*$", prose, re.MULTILINE)
    return "\n".join([*blocks, *indented, *re.findall(r"`([^`\n]+)`", prose)])


def anchors(page: Path) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w]+", "-", re.sub(r"[^\w\s-]", "", title).strip().lower()) for title in titles}


def site_module(name: str) -> Any:
    """Return a module of those that build the site."""
    spec = importlib.util.spec_from_file_location(name, DOCS / "_site" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def nav() -> list[str]:
    text = (ROOT / "mkdocs.yml").read_text()
    return re.findall(r"^ +- [^:\n]+: (\S+\.md)$", text[text.index("\nnav:") :], re.MULTILINE)


def test_the_navigation_lists_every_page_once() -> None:
    made = [path.relative_to(DOCS).with_suffix(".md").as_posix() for path in NOTEBOOKS]
    made.append(site_module("toml_keys").PAGE)
    assert sorted(nav()) == sorted([*NAMES, *made])


def test_every_key_of_a_pipeline_file_is_explained() -> None:
    keys = site_module("toml_keys")
    tables = [line for line in keys.page_of_keys().splitlines() if line.startswith("| `")]
    assert len(tables) > 250
    assert [line for line in tables if line.endswith("|  |")] == []
    for path in sorted((ROOT / "pipelines").glob("*.toml")):
        for section, content in tomllib.loads(path.read_text()).items():
            for key in content if isinstance(content, dict) else [section]:
                assert any(re.match(rf"\| `{key}(`|\.)", line) for line in tables), f"{path.name}: {key}"


@every_page
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if re.match(r"https?://", target):
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.is_file(), f"{page.name}: {target}"
        assert not anchor or anchor in anchors(there), f"{page.name}: {target}"


@every_page
def test_files_that_a_page_names_are_there(page: Path) -> None:
    names = re.findall(
        rf"(?:^|(?<=[\s\"'(]))((?:{'|'.join(FOLDERS)})/[\w./-]*\w/?)", code(page), re.MULTILINE
    )
    for name in set(names) - WRITTEN_BY_THE_READER:
        assert (ROOT / name).exists(), f"{page.name}: {name}"


@every_page
def test_modules_of_the_reference_are_there(page: Path) -> None:
    for module in re.findall(r"^::: (\S+)$", page.read_text(), re.MULTILINE):
        path = ROOT / module.replace(".", "/")
        assert path.with_suffix(".py").is_file() or (path / "__init__.py").is_file(), module


@every_page
def test_toml_files_are_shown_as_they_are(page: Path) -> None:
    for name, text in re.findall(
        r'^```toml title="([^"]+)"\n(.*?)^```', page.read_text(), re.MULTILINE | re.DOTALL
    ):
        assert text == (ROOT / name).read_text(), f"{page.name} shows another {name}"


def test_every_task_has_a_page() -> None:
    from discover.tasks import task_names

    assert {path.stem for path in (DOCS / "tasks").glob("*.md")} == set(task_names())


@pytest.mark.parametrize("task", RUNS)
def test_pages_show_the_committed_results(task: str) -> None:
    found = json.loads((REFERENCE / task / "validation.json").read_text())
    page = (DOCS / "tasks" / f"{found['task']}.md").read_text()
    chosen = json.loads((REFERENCE / task / "front.json").read_text())["chosen"]
    rules = found["candidates"]
    for one, known in zip(rules[chosen]["folds"], rules[found["reference"]]["folds"], strict=True):
        losses = [fold["metrics"]["loss"]["mean"] for fold in (one, known)]
        shown = " | ".join("–" if loss is None else f"{loss:.3g}" for loss in losses)
        outcome = one.get("verdict", "passed" if one["passed"] else "failed")
        row = f"| {one['name']} | {one['title']} | {shown} | {outcome} |"
        assert row in page, f"docs/tasks/{task}.md lacks: {row}"


@pytest.mark.parametrize("task", RUNS)
def test_committed_results_are_read_like_a_run(task: str) -> None:
    from pipelines.differences import diff_text
    from pipelines.inspection import front_as_asked, show_text

    folder = REFERENCE / task
    assert "-->" in front_as_asked(folder, "complexity", "")
    shown = show_text(folder, "")
    assert "folds passed" in shown
    front = json.loads((folder / "front.json").read_text())
    chosen = next(one for one in front["candidates"] if one["id"] == front["chosen"])
    if "test" in chosen:
        assert f"loss {chosen['test']['mean']:.4g} (95 % interval" in shown
    assert not diff_text(folder, folder).differ


def test_shown_fronts_are_the_committed_ones() -> None:
    from pipelines.inspection import front_as_asked

    for task, name in (("oja", "tutorial.md"), ("pca-network", "reading_a_front.md")):
        page = (DOCS / name).read_text()
        for line in front_as_asked(REFERENCE / task, "complexity", "").splitlines():
            if re.match(r"(-->)? +c\d+ ", line) or line.startswith("chosen: "):
                assert line.rstrip() in page, f"{name} lacks: {line}"


def python_block(name: str, start: str) -> str:
    blocks = re.findall(r"^```python\n(.*?)^```", (DOCS / name).read_text(), re.MULTILINE | re.DOTALL)
    return next(block for block in blocks if block.startswith(start))


def run(text: str) -> SimpleNamespace:
    names: dict[str, Any] = {}
    exec(compile(text, "docs", "exec"), names)
    return SimpleNamespace(**{name: value for name, value in names.items() if not name.startswith("_")})


def test_the_engine_of_the_page_works() -> None:
    from discover.search.engine import Engine, Samples
    from discover.search.settings import SearchSettings

    engine = run(python_block("new_engine.md", "# discover/search/products.py")).ProductsEngine()
    assert isinstance(engine, Engine)
    assert engine.availability().usable
    states = np.random.default_rng(0).normal(size=(200, 3))
    x, y, _ = states.T
    best = engine.propose(Samples(("x", "y", "w"), states, 0.5 * x * y**2), SearchSettings(), 0)[-1]
    assert best.nmse < 1e-20
    assert set("xy") <= set(str(best.expression))


def test_the_known_rule_of_the_page_can_be_read() -> None:
    known = run(python_block("new_known_rule.md", "from discover.known_rules")).rule
    assert known.rule is not None
    assert str(known.year) in known.citation


def outputs(notebook: Any, kind: str) -> list[str]:
    """Return the texts of one kind that the cells show, in their order."""
    return [
        text if isinstance(text, str) else "".join(text)
        for cell in notebook["cells"]
        for output in cell.get("outputs", ())
        for text in [output.get("text", "") if kind == "stream" else output.get("data", {}).get(kind, "")]
        if text
    ]


LAWS = {
    "own_task": ("text/plain", "Rule.parse('#*x*y - #*w*y**2')"),
    "recorded_data": ("stream", "#*pre*post - #*w*post - #*w*pre*post"),
}
"""Notebook -> where its rule is shown, and the rule without its numbers."""


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_run_and_show_what_was_kept(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for needed in ("nbclient", "ipykernel"):
        pytest.importorskip(needed, reason=f"{needed} is not installed (`make docs` installs it)")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    kept = json.loads(path.read_text(encoding="utf-8"))
    now = site_module("notebooks").executed(path, tmp_path)
    assert [len(cell.get("outputs", ())) for cell in now["cells"]] == [
        len(cell.get("outputs", ())) for cell in kept["cells"]
    ]
    assert len(outputs(now, "image/png")) == len(outputs(kept, "image/png")) == 1
    kind, law = LAWS[path.stem]
    for notebook in (kept, now):
        assert law in re.sub(r"\d+\.\d+(e-?\d+)?", "#", " ".join(outputs(notebook, kind)))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_are_kept_with_outputs_and_without_rubbish(path: Path) -> None:
    notebook = json.loads(path.read_text(encoding="utf-8"))
    code_cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code_cells] == list(range(1, len(code_cells) + 1))
    kinds = {output["output_type"] for cell in code_cells for output in cell["outputs"]}
    assert "error" not in kinds
    assert outputs(notebook, "text/html")
    for text in (*outputs(notebook, "stream"), *outputs(notebook, "text/plain")):
        assert "\r" not in text
        assert "\x1b" not in text
        assert "/tmp/" not in text
    text, pictures = site_module("notebooks").page(path)
    assert text.startswith("# ")
    assert set(re.findall(r"\]\(([\w-]+\.png)\)", text)) == set(pictures)


@pytest.mark.skipif(
    any(
        importlib.util.find_spec(name) is None
        for name in ("mkdocs", "material", "mkdocstrings", "latex2mathml")
    ),
    reason="MkDocs, its theme, mkdocstrings or latex2mathml are not installed (`make docs` installs them)",
)
def test_it_builds_without_warnings_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    built = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True
    )
    assert built.returncode == 0, built.stderr
    assert "WARNING" not in built.stderr
    pages = sorted(tmp_path.rglob("*.html"))
    assert {page.relative_to(tmp_path).with_suffix(".md").as_posix() for page in pages} >= set(NAMES)
    for page in pages:
        text = page.read_text()
        loaded = re.findall(r"<(?:script|img|iframe|source)\b[^>]*\bsrc=\"?([^\s\">]+)", text)
        for link in re.findall(r"<link\b[^>]*>", text):
            if not re.search(r"rel=\"?(?:canonical|next|prev)\b", link):
                loaded += re.findall(r"href=\"?([^\s\">]+)", link)
        assert not [address for address in loaded if re.match(r"(?:https?:)?//", address)], page.name
        assert 'class="arithmatex"' not in text, f"{page.name}: a formula was left as text"
    assert "<math" in (tmp_path / "tasks" / "oja.html").read_text()
    assert (tmp_path / "figures" / "oja" / "front.png").is_file()
    for path in NOTEBOOKS:
        assert (tmp_path / "notebooks" / path.name).read_bytes() == path.read_bytes()
        shown = (tmp_path / "notebooks" / path.with_suffix(".html").name).read_text()
        assert 'class="plasticity"' in shown
        assert f'src="{path.stem}-' in shown.replace("src=", 'src="').replace('""', '"')
    for sheet in tmp_path.rglob("*.css"):
        assert not re.search(r"url\(['\"]?(?:https?:)?//|@import", sheet.read_text()), sheet.name
