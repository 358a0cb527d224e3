"""Progress for people and for programs."""

from __future__ import annotations

import errno
import io
import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from discover.errors import ArtefactError
from pipelines import events
from pipelines.events import EventLog, PlainDisplay, Reporter, open_reporter, spoken, time_left


class Clock:
    """Time that passes only when told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(events.time, "monotonic", lambda: self.now)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize(
    ("fraction", "elapsed", "left"),
    [(0.5, 10.0, 10.0), (0.1, 9.0, 81.0), (1.0, 10.0, 0.0), (0.001, 10.0, None), (0.5, 0.1, None)],
)
def test_the_time_left_is_told_once_it_can_be(fraction: float, elapsed: float, left: float | None) -> None:
    assert time_left(fraction, elapsed) == (left if left is None else pytest.approx(left))


def test_long_times_are_told_in_minutes() -> None:
    assert [spoken(119.0), spoken(121.0)] == ["about 119 s left", "about 2 min left"]


def test_piped_lines_are_plain_and_few(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, stream = Clock(monkeypatch), io.StringIO()
    reporter = Reporter(PlainDisplay(stream))
    with reporter.stage("fit") as progress:
        for step in range(100):
            clock.now += 0.2
            progress(step / 100, "penalty 0.1")
    text = stream.getvalue()
    assert text.splitlines()[0] == "fit: started"
    assert text.splitlines()[-1] == "fit: done in 20.0 s"
    assert len(text.splitlines()) == 6
    assert "fit:  24% penalty 0.1 (about 16 s left)" in text
    assert "\x1b" not in text
    assert "\r" not in text


def test_events_are_json_lines_with_the_time_left(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    clock, path = Clock(monkeypatch), tmp_path / "events.jsonl"
    reporter = Reporter(PlainDisplay(io.StringIO()), EventLog(path))
    with reporter.stage("fit") as progress:
        for step in (1, 2, 3):
            clock.now += 1.0
            progress(step / 4, "walking the path")
        progress(0.8, "refitting")
    reporter.up_to_date("search")
    reporter.note("compiling kernels (once)")
    reporter.close()
    found = lines_of(path)
    assert [one["event"] for one in found] == ["start", *["progress"] * 4, "end", "up to date", "note"]
    assert found[1]["fraction"] == 0.25
    assert found[1]["seconds_left"] == 3.0
    assert found[4]["message"] == "refitting"
    assert found[5]["seconds"] == 3.0
    assert all("time" in one and "stage" in one for one in found)


def test_events_are_appended_and_fast_steps_are_not_all_written(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    for _ in range(2):
        reporter = Reporter(PlainDisplay(io.StringIO()), EventLog(path))
        with reporter.stage("fit") as progress:
            for step in range(10_000):
                progress(step / 10_000, "same message")
        reporter.close()
    found = lines_of(path)
    assert [one["event"] for one in found].count("end") == 2
    assert len(found) < 40


def test_progress_never_goes_back_and_stays_within_bounds(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    clock, path = Clock(monkeypatch), tmp_path / "events.jsonl"
    reporter = Reporter(PlainDisplay(io.StringIO()), EventLog(path))
    with reporter.stage("fit") as progress:
        for fraction in (0.5, 0.2, float("nan"), -1.0, 7.0):
            clock.now += 1.0
            progress(fraction, "message")
    fractions = [one["fraction"] for one in lines_of(path) if one["event"] == "progress"]
    assert fractions == [0.5, 0.5, 0.5, 0.5, 1.0]


def test_a_stage_that_fails_is_said_to_have_stopped(tmp_path: Path) -> None:
    path, stream = tmp_path / "events.jsonl", io.StringIO()
    reporter = Reporter(PlainDisplay(stream), EventLog(path))
    with pytest.raises(ValueError, match="oh"), reporter.stage("fit"):
        raise ValueError("oh")
    assert "fit: stopped" in stream.getvalue()
    assert lines_of(path)[-1] == {**lines_of(path)[-1], "event": "stopped", "message": "ValueError: oh"}


def test_a_terminal_gets_a_live_line_that_is_taken_away() -> None:
    stream = Terminal()
    reporter = open_reporter(None, stream)
    with reporter.stage("fit") as progress:
        progress(0.5, "penalty [0.1]")
    reporter.close()
    text = stream.getvalue()
    assert "fit       done in" in text
    assert "\x1b[2K" in text


def test_anything_but_a_terminal_gets_plain_lines() -> None:
    stream = io.StringIO()
    reporter = open_reporter(None, stream)
    reporter.note("a [bold]remark[/bold]")
    reporter.close()
    assert stream.getvalue() == "a [bold]remark[/bold]\n"


def test_progress_may_come_from_several_threads(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    reporter = Reporter(PlainDisplay(io.StringIO()), EventLog(path))
    with reporter.stage("fit") as progress:
        threads = [
            threading.Thread(target=lambda k=k: [progress(i / 100, f"{k} {i}") for i in range(100)])
            for k in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len([one for one in lines_of(path) if one["event"] == "progress"]) == 400


def test_compilation_is_said_once_and_a_cached_kernel_is_not(tmp_path: Path) -> None:
    from numba import njit

    stream = io.StringIO()
    reporter = Reporter(PlainDisplay(stream))
    double = njit(lambda value: 2 * value)
    with reporter.stage("fit"):
        assert double(2) == 4
        assert double(2.5) == 5.0
    with reporter.stage("search"):
        assert double(3) == 6
    assert stream.getvalue().count("compiling kernels (once)") == 1


def test_an_event_file_that_cannot_be_written_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ArtefactError, match="cannot be written"):
        EventLog(tmp_path / "none" / "events.jsonl")
    log = EventLog(tmp_path / "events.jsonl")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(events.os, "write", full)
        with pytest.raises(ArtefactError, match="No space left"):
            log.write("start")
    log.write("nothing happens after a failure")
    log.close()
