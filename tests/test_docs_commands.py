"""Every command that README.md and the pages of docs/ show is right, and is run here or marked as long.

- Every `discover` command is parsed by the command line itself.
- Quick ones are run: on the committed results, or on the toy pipeline in place of the one that they name.
- Others say in the page how long they take, after the command: ``# about an hour`` in a block, or "about an
  hour" in the sentence or the row of a table. The few that can be neither stand in a table below.
- Targets and variables of `make`, modules and scripts of `python`, and extras of `pip install` are there.
"""

from __future__ import annotations

import re
import shlex
import shutil
import tomllib
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pytest
import toy_pipeline
from typer.main import get_command
from typer.testing import CliRunner

from pipelines.cli import app

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
REFERENCE = ROOT / "results" / "reference"
PROGRAMS = ("discover", "make", "python", "pip")

LONG = re.compile(r"\b(minutes?|hours?|takes\s+long)\b")
"""What marks a command as long, in the page, after the command."""

WHOLE = {"runs", "doctor"}
"""Commands that need no argument. A page that says `discover study` only names the command."""

LOOKS = {"front", "show", "diff", "export", "runs", "doctor"}
"""Commands that only look: they are run on the committed results."""

STAGES = {"run", "simulate", "fit", "search", "validate", "report"}
"""Commands that simulate: they are run on the toy pipeline, whatever pipeline they name."""

ELSEWHERE = {
    "collect": ("test_array.py",),
    "work": ("test_array.py",),
    "infer": ("test_infer_pipeline.py", "test_pairing_pipeline.py", "test_child.py"),
}
"""Command -> the tests that run it, with every option that a page shows."""

NOT_RUN = {
    "discover --install-completion": "it writes into the start-up file of the shell",
    "discover --show-completion": "it depends on the shell that it is called from",
    "discover doctor --install-julia": "it downloads Julia",
    "discover search results/oja --engine products --fresh": "the reader writes this engine",
    "discover recover-known --engine products": "the reader writes this engine",
    'discover compare "x*y - w" --task clusters.py:Clusters': "test_user_tasks.py runs it",
}
"""Commands that are parsed only, and why."""

PLACEHOLDERS = {"N": "0", "/scratch/me/ica": "plan", "DIR": "plan", "results/reference": str(REFERENCE)}
"""What stands in a page for something that the reader has -> what a test takes."""


@dataclass(frozen=True)
class Shown:
    """A command as a page shows it, and what the page says after it."""

    text: str
    after: str
    in_block: bool

    @property
    def words(self) -> list[str]:
        return split(self.text)

    @property
    def is_a_name(self) -> bool:
        """Whether it only names a command, as a sentence about `discover study` does."""
        words = self.words
        return not self.in_block and len(words) == 2 and words[1] not in WHOLE and words[1][0] != "-"


def split(text: str) -> list[str]:
    words = shlex.split(text)
    return words[: words.index("|")] if "|" in words else words


def in_blocks(text: str) -> Iterator[Shown]:
    fenced = re.findall(r"^```[^\n]*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    prompts = [line for block in fenced for line in re.findall(r"^\$ (.*)$", block, re.MULTILINE)]
    indented = re.findall(r"^    (\S.*)$", re.sub(r"^```.*?^```", "", text, flags=re.M | re.DOTALL), re.M)
    for line in [*prompts, *indented]:
        command, _, comment = line.partition(" #")
        yield Shown(command.strip().removeprefix(".venv/bin/"), comment, True)


def in_sentences(text: str) -> Iterator[Shown]:
    """Yield what stands in `spans`; the rest of the sentence, or of the table row, comes after it."""
    prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    for part in re.split(r"\n\s*\n|\n(?=\||[-*] )", prose):
        ends = r"$" if part.startswith("|") else r"[.?!](?=\s|$)"
        for span in re.finditer(r"`([^`]+)`", part):
            command = " ".join(span[1].split()).removeprefix(".venv/bin/")
            yield Shown(command, re.split(ends, part[span.end() :])[0], False)


def shown(page: Path) -> list[Shown]:
    text = page.read_text(encoding="utf-8")
    found = [*in_blocks(text), *in_sentences(text)]
    return [one for one in found if one.text.startswith(tuple(f"{program} " for program in PROGRAMS))]


def of_program(program: str) -> Iterator[tuple[str, Shown]]:
    for page in PAGES:
        for one in shown(page):
            if one.words[0] == program:
                yield page.relative_to(ROOT).as_posix(), one


def is_run(one: Shown) -> bool:
    """Whether a test below runs it."""
    command, *arguments = one.words[1:]
    if command == "compare":
        return not LONG.search(one.after)
    return (
        command in LOOKS | STAGES
        or "--plan" in arguments
        or {"--help", "--version"} & {command, *arguments} != set()
    )


def arguments_of(text: str) -> list[str]:
    return [PLACEHOLDERS.get(word, word) for word in split(text)[1:]]


COMMANDS = [(page, one) for page, one in of_program("discover") if not one.is_a_name]
TO_RUN = sorted({one.text for _, one in COMMANDS if is_run(one)} - set(NOT_RUN))


def test_commands_that_pages_name_are_there() -> None:
    known = get_command(app).commands  # type: ignore[attr-defined]
    for page, one in of_program("discover"):
        assert not one.is_a_name or one.words[1] in known, f"{page}: {one.text}: there is no such command"


@pytest.mark.parametrize(("page", "text"), sorted({(page, one.text) for page, one in COMMANDS}))
def test_the_command_line_takes_it(page: str, text: str) -> None:
    words = arguments_of(text)
    group = get_command(app)
    top = {"--help"} | {name for parameter in group.params for name in parameter.opts}
    if words[0].startswith("-"):
        assert words[0] in top, f"{page}: {text}: there is no such option"
        return
    command = group.commands.get(words[0])  # type: ignore[attr-defined]
    assert command is not None, f"{page}: {text}: there is no such command"
    if "--help" in words:
        return  # a test below runs it
    try:
        command.make_context(words[0], words[1:])
    except Exception as error:
        said = error.format_message() if hasattr(error, "format_message") else error
        pytest.fail(f"{page}: {text}: {said}")


def test_every_command_is_run_or_marked_as_long() -> None:
    marked = {(page, one.text) for page, one in COMMANDS if LONG.search(one.after)}
    left = [
        f"{page}: {one.text}"
        for page, one in COMMANDS
        if not (is_run(one) or one.text in NOT_RUN or one.words[1] in ELSEWHERE or (page, one.text) in marked)
    ]
    assert not left, (
        "No test runs these commands, and their pages do not say that they are long:\n  "
        + "\n  ".join(left)
        + "\nIf one is long, say so after it: `# about an hour` in a block, or 'about an hour' in the "
        "sentence or the row of the table. If it is quick, add it to LOOKS, STAGES or ELSEWHERE in this file."
    )


def test_the_tables_of_exceptions_are_needed_and_true() -> None:
    assert set(NOT_RUN) <= {one.text for _, one in COMMANDS}
    for page, one in COMMANDS:
        files = ELSEWHERE.get(one.words[1])
        if files:
            tests = "".join((ROOT / "tests" / name).read_text(encoding="utf-8") for name in files)
            for word in [one.words[1], *(word for word in one.words if word.startswith("--"))]:
                assert f'"{word}"' in tests, f"{page}: {one.text}: {word} is in none of {', '.join(files)}"


@pytest.fixture(scope="module")
def committed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the committed results are runs, under the names that pages use."""
    folder = tmp_path_factory.mktemp("committed")
    shutil.copytree(ROOT / "pipelines", folder / "pipelines", ignore=shutil.ignore_patterns("*.py", "__*"))
    for task in ("oja", "pca-network"):
        shutil.copytree(REFERENCE / task, folder / "results" / task)
    for name in ("results/other", "results/studies/NAME/SEED"):
        shutil.copytree(REFERENCE / "oja", folder / name)
    shutil.copytree(REFERENCE / "ei-balance", folder / "RUN")  # what exports to Brian2 is a rule that spikes
    return folder


def run(text: str) -> None:
    result = CliRunner().invoke(app, arguments_of(text))
    assert result.exit_code == 0, f"{text}\n{result.output}"


def on_the_toy(text: str) -> bool:
    return text.split()[1] in STAGES and "--help" not in text and "--dry-run" not in text


@pytest.mark.parametrize("text", [text for text in TO_RUN if not on_the_toy(text)])
def test_it_runs_on_the_committed_results(
    text: str, committed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from discover.search import engine

    if "doctor" in text:  # Julia takes long to start
        monkeypatch.setattr(engine, "ENGINES", {"terms": engine.ENGINES["terms"]})
    monkeypatch.chdir(committed)
    for name in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS", "NUMBA_NUM_THREADS"):
        monkeypatch.setenv(name, "1")
    (committed / "my.toml").write_text((ROOT / "pipelines" / "oja-smoke.toml").read_text())
    run(text)


@pytest.mark.parametrize("text", [text for text in TO_RUN if on_the_toy(text)])
def test_it_runs_on_the_toy_pipeline(
    text: str, toy: toy_pipeline.Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipelines.backend import Where

    monkeypatch.setattr(Where, "at_work", lambda self, *arguments: nullcontext(SimpleNamespace()))
    (tmp_path / "pipelines").mkdir()
    for name in {"pipelines/oja.toml", *(word for word in shlex.split(text) if word.endswith(".toml"))}:
        shutil.copy(toy.toml, tmp_path / name)
    assert CliRunner().invoke(app, ["run", "pipelines/oja.toml"]).exit_code == 0
    for name in ("results/clusters", "RUN"):
        shutil.copytree(tmp_path / "results" / "oja", tmp_path / name)
    run(text)


def test_targets_and_variables_of_make_are_there() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    targets |= set(" ".join(re.findall(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)).split())
    targets |= {path.stem for path in (ROOT / "pipelines").glob("*.toml") if not path.stem.endswith("-smoke")}
    variables = set(re.findall(r"^(\w+) \?=", makefile, re.MULTILINE))
    for page, one in of_program("make"):
        for word in one.words[1:]:
            name, is_set, _ = word.partition("=")
            assert name in (variables if is_set else targets), (
                f"{page}: {one.text}: the Makefile has no {name}"
            )


def test_modules_scripts_and_extras_are_there() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for page, one in [*of_program("python"), *of_program("pip")]:
        for extra in re.findall(r"^\.\[(.*)\]$", one.words[-1]):
            assert set(extra.split(",")) <= set(extras), f"{page}: {one.text}: there is no such extra"
        if one.words[1:2] == ["-m"]:
            assert find_spec(one.words[2]), f"{page}: {one.text}: there is no such module"
        elif one.words[0] == "python":
            script = ROOT / one.words[1]
            text = script.read_text() if script.is_file() else (ROOT / page).read_text()
            assert script.is_file() or f"# {one.words[1]}\n" in text, (
                f"{page}: {one.text}: there is no such script"
            )
            for option in one.words[2:]:
                known = not option.startswith("--") or option == "--help" or f'"{option}"' in text
                assert known, f"{page}: {one.text}: it has no option {option}"
