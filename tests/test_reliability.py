"""What a run promises: other settings, full disks, links and kills leave earlier results intact."""

from __future__ import annotations

import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from test_cli import ALL, accident, discover, refused
from toy_pipeline import TOML, Toy

from discover.errors import ArtefactError
from discover.journal import Journal
from pipelines.artefacts import remove_leftovers
from pipelines.events import EventLog

OTHER = TOML.replace("penalties = [0.1, 0.2]", "penalties = [0.3]")


def everything(toy: Toy) -> dict[str, bytes]:
    """Return all files of a run but its log."""
    return {
        path.relative_to(toy.run).as_posix(): path.read_bytes()
        for path in toy.run.rglob("*")
        if path.is_file() and path.name not in ("events.jsonl", ".lock")
    }


# ------------------------------------------------------------------------------------------ other settings


@pytest.mark.parametrize("command", ["run", "fit"])
def test_a_finished_run_is_not_overwritten_by_other_settings(toy: Toy, command: str) -> None:
    discover("run", "toy.toml")
    before = everything(toy)
    toy.taken()
    toy.toml.write_text(OTHER)
    refused(
        discover(command, "toy.toml"), "holds a finished run", "(fit)", "--fresh", "--results", "--update"
    )
    assert everything(toy) == before
    assert toy.taken() == []
    assert discover(command, "toy.toml", "--results", "elsewhere").exit_code == 0
    assert everything(toy) == before
    assert discover(command, "toy.toml", "--fresh").exit_code == 0
    assert b"0.3" in (toy.run / "path.json").read_bytes()


def test_another_engine_does_not_replace_a_finished_search_unasked(toy: Toy) -> None:
    discover("run", "toy.toml")
    before = everything(toy)
    refused(discover("search", "toy", "--engine", "terms", "--engine", "operon"), "finished run", "(search)")
    assert everything(toy) == before


def test_a_run_that_has_not_finished_takes_other_settings(toy: Toy) -> None:
    discover("fit", "toy.toml")
    toy.toml.write_text(OTHER)
    assert discover("run", "toy.toml").exit_code == 0


# -------------------------------------------------------------------------------------------------- --fresh


@pytest.mark.parametrize("again", [("--fresh",), ()], ids=["same command", "without --fresh"])
@pytest.mark.parametrize("settings", [TOML, OTHER], ids=["same settings", "other settings"])
def test_a_fresh_run_that_was_cut_off_goes_on(toy: Toy, again: tuple[str, ...], settings: str) -> None:
    discover("run", "toy.toml")
    toy.toml.write_text(settings)
    toy.taken()
    toy.accident = accident("search", KeyboardInterrupt())
    discover("run", "toy.toml", "--fresh")
    assert toy.taken() == ["simulate", "fit"]
    toy.accident = lambda stage: None
    assert discover("run", "toy.toml", *again).exit_code == 0
    assert toy.taken() == ALL[2:]
    assert not (toy.run / ".fresh").exists()
    assert discover("run", "toy.toml", "--fresh").exit_code == 0
    assert toy.taken() == ALL


def test_a_fresh_run_over_a_damaged_manifest_can_be_cut_off_too(toy: Toy) -> None:
    discover("run", "toy.toml")
    (toy.run / "manifest.json").write_text("{")
    toy.taken()
    toy.accident = accident("simulate", KeyboardInterrupt())
    discover("run", "toy.toml", "--fresh")
    toy.accident = lambda stage: None
    assert discover("run", "toy.toml", "--fresh").exit_code == 0
    assert toy.taken() == ALL


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"schema": "plasticity-discovery/fresh/2"}', "[" * 100_000]
)
def test_a_damaged_request_does_not_count(toy: Toy, content: str) -> None:
    discover("run", "toy.toml")
    toy.taken()
    (toy.run / ".fresh").write_text(content)
    assert discover("run", "toy.toml").exit_code == 0
    assert toy.taken() == []


# ---------------------------------------------------------------------------------------- what a kill leaves


def test_what_a_killed_run_left_is_cleared_away(toy: Toy) -> None:
    discover("run", "toy.toml")
    left = [".manifest.json.4711.tmp", ".fit.journal", "figures/.front.svg.4711.tmp"]
    own = [".notes.tmp", "notes.txt"]
    for name in left + own:
        (toy.run / name).write_text("half")
    assert discover("run", "toy.toml").exit_code == 0
    assert [name for name in left + own if (toy.run / name).exists()] == own


def test_leftovers_of_a_folder_that_is_not_there_are_none(tmp_path: Path) -> None:
    remove_leftovers(tmp_path / "nowhere")
    assert list(tmp_path.iterdir()) == []


def test_a_log_whose_last_line_was_cut_off_gets_a_new_line(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text('{"event": "st')
    log = EventLog(path)
    log.write("start")
    log.close()
    assert len(path.read_text().splitlines()) == 2
    log = EventLog(path)
    log.write("end")
    log.close()
    assert len(path.read_text().splitlines()) == 3


# ----------------------------------------------------------------------------------------------- full disks


@contextmanager
def files_no_longer_than(size: int) -> Iterator[None]:
    """Let writing fail at a size, as on a full disk (EFBIG in the place of ENOSPC)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("size", [0, 300, 1500, 2500])
def test_files_that_cannot_grow_leave_earlier_results_intact(toy: Toy, size: int) -> None:
    discover("run", "toy.toml")
    before = toy.files()
    (toy.run / "events.jsonl").unlink()
    toy.toml.write_text(OTHER)
    with files_no_longer_than(size):
        result = discover("run", "toy.toml", "--fresh")
    refused(result, "cannot be written", "Earlier results are as they were")
    assert toy.files() == before
    assert discover("run", "toy.toml", "--fresh").exit_code == 0
    assert not [path.name for path in toy.run.rglob(".*") if path.name != ".lock"]


def test_a_journal_that_cannot_grow_is_kept_up_to_its_last_line(tmp_path: Path) -> None:
    def answers(size: int, first: float) -> list[float]:
        with files_no_longer_than(size), Journal(tmp_path / "journal", "p") as journal:
            return [
                float(journal.recall(f"{k}", b"", lambda k=k: {"v": np.full(99, first + k)})["v"][0])
                for k in range(9)
            ]

    assert answers(4000, 0.0) == [*range(9)]
    found = answers(10**6, 100.0)
    n_kept = sum(value < 100 for value in found)
    assert 0 < n_kept < 9
    assert found == [*range(n_kept), *range(100 + n_kept, 109)]
    assert answers(10**6, 200.0) == found


@pytest.fixture
def small_disk(toy: Toy) -> Iterator[Path]:
    """The folder of runs on a file system of 128 kB."""
    folder = toy.run.parent
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=128k", "none", str(folder)]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
    except OSError as error:
        pytest.skip(f"no file system can be mounted here: {error}")
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no file system can be mounted here: {error.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True, capture_output=True)


@pytest.mark.parametrize("pages", [0, 1, 2])
def test_a_disk_that_fills_up_in_a_run_leaves_earlier_results_intact(
    toy: Toy, small_disk: Path, pages: int
) -> None:
    discover("run", "toy.toml")
    before = toy.files()
    filler = small_disk / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            file.truncate(max(0, file.tell() - 4096 * pages))
    result = discover("run", "toy.toml", "--fresh")
    refused(result, "No space left on device", "Earlier results are as they were")
    assert toy.files() == before
    filler.unlink()
    assert discover("run", "toy.toml", "--fresh").exit_code == 0
    assert toy.files() == before


def test_a_read_only_disk_leaves_earlier_results_intact(toy: Toy, small_disk: Path) -> None:
    discover("run", "toy.toml")
    before = everything(toy)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True, capture_output=True)
    refused(discover("run", "toy.toml", "--fresh"), "cannot be written: Read-only file system")
    assert everything(toy) == before
    assert discover("front", "toy").exit_code == 0


# ------------------------------------------------------------------------------------------ links and names


@pytest.mark.parametrize("name", [".lock", "events.jsonl"])
def test_files_of_a_run_that_are_links_are_not_written_through(toy: Toy, name: str) -> None:
    discover("run", "toy.toml")
    victim = Path("precious")
    victim.write_text("precious")
    (toy.run / name).unlink(missing_ok=True)
    (toy.run / name).symlink_to(victim.resolve())
    refused(discover("run", "toy.toml", "--fresh"), name, "symbolic link")
    assert victim.read_text() == "precious"


@pytest.mark.parametrize("name", ["path.json", "config.json", "manifest.json", ".fit.journal", ".fresh"])
def test_links_in_the_place_of_results_are_replaced_not_followed(toy: Toy, name: str) -> None:
    victim = Path("precious")
    victim.write_text("precious")
    toy.run.mkdir(parents=True)
    (toy.run / name).symlink_to(victim.resolve())
    discover("run", "toy.toml", "--fresh")
    assert victim.read_text() == "precious"


def test_figures_are_not_drawn_through_a_link(toy: Toy) -> None:
    discover("fit", "toy.toml")
    Path("elsewhere").mkdir()
    (toy.run / "figures").symlink_to(Path("elsewhere").resolve())
    refused(discover("run", "toy.toml"), "figures", "symbolic link")
    assert list(Path("elsewhere").iterdir()) == []


def test_a_log_is_not_written_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "events.jsonl").symlink_to(tmp_path / "victim")
    with pytest.raises(ArtefactError, match="cannot be written"):
        EventLog(tmp_path / "events.jsonl")
    assert not (tmp_path / "victim").exists()


def test_a_run_named_by_a_link_is_not_written(toy: Toy) -> None:
    discover("run", "toy.toml")
    before = everything(toy)
    Path("link").symlink_to(toy.run)
    refused(discover("fit", "link", "--fresh"), "symbolic link")
    assert everything(toy) == before


@pytest.mark.parametrize("name", ["..", "../elsewhere", "toy/../../elsewhere", "/", "", "~", "a\x00b"])
def test_names_that_lead_out_of_the_results_folder_make_nothing(toy: Toy, name: str) -> None:
    Path("elsewhere").mkdir()
    before = sorted(Path().rglob("*"))
    result = discover("fit", name)
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    assert sorted(Path().rglob("*")) == before
