"""Hostile and broken input: an error of the project's own, shortly, and nothing evaluated."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import fuzz
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from run_by_hand import artefacts, write_run

from discover.checked import MAX_DEPTH, parse_json
from discover.errors import ArtefactError, ConfigError, RuleError
from discover.fit import FitResult
from discover.journal import Journal
from discover.pareto import ParetoFront
from pipelines.artefacts import checksum, read_stored
from pipelines.events import EventLog
from pipelines.manifest import Manifest
from pipelines.runs import find_run

JSON_TARGETS = [name for name, target in fuzz.TARGETS.items() if target.is_json]
KEPT = sorted(path for path in fuzz.CORPUS.glob("*/*") if path.is_file())
needs_timer = pytest.mark.skipif(not hasattr(__import__("signal"), "SIGPROF"), reason="needs a Unix timer")
pytestmark = needs_timer
few = settings(max_examples=20)  # `make fuzz` tries millions


@pytest.mark.parametrize("name", fuzz.TARGETS)
def test_valid_input_is_taken(name: str) -> None:
    assert fuzz.check(name, fuzz.TARGETS[name].valid()) is None


def test_every_target_has_a_corpus() -> None:
    assert {path.parent.name for path in KEPT} == set(fuzz.TARGETS)


@pytest.mark.parametrize("path", KEPT, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_corpus(path: Path) -> None:
    fuzz.check(path.parent.name, path.read_bytes())


@pytest.mark.parametrize("name", JSON_TARGETS)
@few
@given(data=st.data())
def test_changed_fields(name: str, data: st.DataObject) -> None:
    valid = json.loads(fuzz.TARGETS[name].valid())
    content = fuzz.mutated(valid, lambda n: data.draw(st.integers(0, n - 1)))
    fuzz.check(name, json.dumps(content).encode())


@pytest.mark.parametrize("name", fuzz.TARGETS)
@few
@given(data=st.data())
def test_changed_bytes(name: str, data: st.DataObject) -> None:
    valid = fuzz.TARGETS[name].valid()
    fuzz.check(name, fuzz.cut_or_changed(valid, lambda n: data.draw(st.integers(0, n - 1))))


@pytest.mark.parametrize("name", ["rule", "factors", "config"])
@given(text=st.text(max_size=200))
def test_any_text(name: str, text: str) -> None:
    fuzz.check(name, text.encode("utf-8", errors="surrogatepass"))


def test_the_guard_sees_code_that_is_run(monkeypatch: pytest.MonkeyPatch) -> None:
    bad = fuzz.Target(lambda data, _: eval(data.decode()), lambda: b"1")
    monkeypatch.setattr(fuzz, "TARGETS", {"bad": bad})
    with pytest.raises(fuzz.FuzzFailure, match="exec"):
        fuzz.check("bad", b"1 + 1")


def test_the_guard_sees_work_without_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    def forever(*_: object) -> None:
        while True:
            pass

    monkeypatch.setattr(fuzz, "SECONDS_AN_INPUT", 0.1)
    monkeypatch.setattr(fuzz, "TARGETS", {"bad": fuzz.Target(forever, lambda: b"")})
    with pytest.raises(fuzz.FuzzFailure, match="not done"):
        fuzz.check("bad", b"")


# ------------------------------------------------------------------------------------------- what it must say


def test_a_candidate_without_provenance_is_named() -> None:
    content = artefacts()["front"]
    del content["candidates"][1]["provenance"]
    with pytest.raises(ArtefactError, match=r"candidates\.1\.provenance: field required"):
        ParetoFront.from_json(content)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"chosen": 99}, "there is no point 99, which it calls chosen"),
        ({"points": {}}, "points: input should be a valid array"),
        ({"points": []}, "none of its points is a point of the path"),
        ({"term_stability": {"feedforward": 1}}, "term_stability.feedforward: input should be an object"),
        ({"teacher": []}, "teacher: input should be an object"),
    ],
)
def test_what_is_wrong_with_a_path_is_said(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ArtefactError) as caught:
        FitResult.from_json({**artefacts()["path"], **change})
    assert message in str(caught.value)


def test_a_rule_that_is_none_is_told_with_its_file(tmp_path: Path) -> None:
    content = artefacts()
    content["front"]["candidates"][0]["slots"] = {"feedforward": "x*q"}
    folder = write_run(tmp_path, content)
    with pytest.raises(
        ArtefactError, match=r"front\.json was edited or .* candidates\.0\.slots: unknown variable 'q'"
    ):
        read_stored(folder / "front.json", ParetoFront)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1e400]", "not finite"),
        ("[NaN]", "NaN is not a JSON number"),
        ('["\\ud800"]', "half a character"),
        ('{"\\udfff": 1}', "half a character"),
        (f"[{2**63}]", "63 must hold it"),
        ("9" * 5000, "limit"),
        ("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1), "too deeply"),
        ("[" * 100_000, "too deeply"),
    ],
)
def test_json_that_no_program_could_show_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_json(text)


# ------------------------------------------------------------------------------------ files that are no files


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    folder = write_run(tmp_path, artefacts())
    (folder / "front.json").unlink()
    os.mkfifo(folder / "front.json")
    with pytest.raises(ArtefactError, match="plain file"):
        read_stored(folder / "front.json", ParetoFront)
    with pytest.raises(ArtefactError, match="plain file"):
        checksum(folder / "front.json")


@pytest.mark.parametrize("name", ["/dev/zero", "../front.json", "figures/../../x", "C:\\x", "..\\x", "a\0b"])
def test_a_manifest_that_names_files_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    content = artefacts()
    content["manifest"]["stages"]["search"]["outputs"] = {name: "0"}
    with pytest.raises(ArtefactError, match="outside of the run's folder"):
        Manifest(write_run(tmp_path, content))


@pytest.mark.parametrize("kind", ["journal", "events"])
def test_a_link_out_of_the_folder_is_not_written_through(tmp_path: Path, kind: str) -> None:
    victim, link = tmp_path / "victim", tmp_path / "link"
    victim.write_bytes(b"precious")
    link.symlink_to(victim)
    if kind == "events":
        with pytest.raises(ArtefactError, match="cannot be written"):
            EventLog(link)
    else:
        with Journal(link, "test") as journal:
            journal.recall("x", b"", dict)
    assert victim.read_bytes() == b"precious"


def test_figures_are_not_written_through_a_link(tmp_path: Path) -> None:
    from matplotlib.figure import Figure

    from discover.report.style import save

    (tmp_path / "outside").mkdir()
    (tmp_path / "figures").symlink_to(tmp_path / "outside")
    with pytest.raises(OSError, match="symbolic link"):
        save(Figure(), tmp_path / "figures", "front")
    assert not list((tmp_path / "outside").iterdir())


@pytest.mark.parametrize(
    "name", ["../x", "..", "/tmp/x", "a/b", ".hidden", "a\0", "é", "x" * 65, "-x", "a\n"]
)
def test_a_name_that_leads_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    text = f'schema = 1\ntask = "oja"\nname = {json.dumps(name)}\n'
    (tmp_path / "ok.toml").write_text(text)
    with pytest.raises(ConfigError, match=r"cannot name a run|not valid TOML"):
        find_run(str(tmp_path / "ok.toml"), tmp_path / "results")


def test_a_run_that_is_a_link_is_refused(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "real", artefacts())
    (folder / "config.json").write_text('{"schema": 1, "task": "oja", "name": "real"}')
    results = tmp_path / "results"
    results.mkdir()
    (results / "linked").symlink_to(folder)
    for name in ("linked", str(results / "linked")):
        with pytest.raises(ArtefactError, match="symbolic link"):
            find_run(name, results)


def test_a_rule_text_that_grows_is_refused_early() -> None:
    with pytest.raises(RuleError):
        fuzz.TARGETS["rule"].run(b"(x+y)**(9**9**9)", Path())
    assert sys.getrecursionlimit() >= 1000
