"""How the command line shows things: digits, lines, tables, colour."""

from __future__ import annotations

import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discover.intervals import Metric
from pipelines.look import ARROW, Look

NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
WORDS = st.text(alphabet="abcxyz*+()", min_size=1, max_size=12)
TEXTS = st.lists(WORDS, min_size=1, max_size=12).map(" ".join)
ESCAPES = re.compile(r"\x1b\[[0-9;]*m")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_pipe_gets_whole_lines_without_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    assert Look.of(io.StringIO(), 3) == Look(3)


@pytest.mark.parametrize(
    ("name", "value", "colour"),
    [("TERM", "xterm", True), ("TERM", "dumb", False), ("NO_COLOR", "1", False), ("NO_COLOR", "", True)],
)
def test_a_terminal_gets_its_width_and_colour_unless_it_says_no(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, colour: bool
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("COLUMNS", "70")
    monkeypatch.setenv(name, value)
    assert Look.of(Terminal()) == Look(width=70, colour=colour)


@given(st.lists(NUMBERS, min_size=3, max_size=3), st.integers(1, 17))
def test_a_mean_that_is_shown_lies_in_the_range_that_is_shown(numbers: list[float], digits: int) -> None:
    low, mean, high = sorted(numbers)
    text = Look(digits).interval(Metric(mean, low, high))
    shown = [float(part) for part in re.findall(r"-?[\d.]+(?:e[-+]\d+)?", text)]
    assert shown[1] <= shown[0] <= shown[2]


@given(st.lists(st.tuples(TEXTS, NUMBERS, NUMBERS, TEXTS), min_size=1, max_size=5), st.integers(60, 120))
def test_a_table_fits_the_line_and_keeps_every_word(
    rows: list[tuple[str, float, float, str]], width: int
) -> None:
    columns = ["name", "loss", "cosine", "rule"]
    text = Look(width=width).table(columns, rows, 1)
    assert all(len(line) <= width for line in text.splitlines())
    for name, first, second, rule in rows:
        for word in (*name.split(), *rule.split(), Look().number(first), Look().number(second)):
            assert word in text.replace("\n", " ").split()


@given(TEXTS, st.integers(20, 80))
def test_prose_is_broken_between_words(text: str, width: int) -> None:
    shown = Look(width=width).prose(text)
    assert shown.split() == text.split()
    assert all(len(line) <= width for line in shown.splitlines())


def test_columns_that_do_not_fit_go_below_with_the_name_of_their_row() -> None:
    columns = ["fold", *(f"measure{number}" for number in range(6))]
    rows = [["half", *([0.123456] * 6)], ["double", *([0.5] * 6)]]
    parts = Look(width=40).table(columns, rows, 1).split("\n\n")
    assert [part.split("\n")[1].split()[0] for part in parts] == ["half"] * len(parts)
    assert " ".join(parts).count("0.1235") == 6


def test_colour_changes_no_letter_and_no_column() -> None:
    rows = [[ARROW, "passed", 0.5, "x*y - w*y**2"], ["", "failed", 0.25, "x*y"]]
    columns = ["", "outcome", "loss", "rule"]
    coloured = Look(colour=True).table(columns, rows)
    assert ESCAPES.sub("", coloured) == Look().table(columns, rows)
    assert "\x1b[32m" in coloured
    assert "\x1b[31m" in coloured


def test_what_a_file_says_moves_no_cursor() -> None:
    for text in (
        Look().table(["a\x1b[2J"], [["b\x1b[2J\nc"]]),
        Look().prose("x\x1b[2J"),
        Look().alarmed("discover: \x1b[2J"),
    ):
        assert "\x1b" not in text


def test_versions_and_whole_numbers_are_not_rounded() -> None:
    assert Look(2).rounded("PySR 2.7.2 gave 0.12345*x**2 + 1024 (1.5e-07).") == (
        "PySR 2.7.2 gave 0.12*x**2 + 1024 (1.5e-07)."
    )


def test_the_place_of_a_mistake_stays_under_its_letter() -> None:
    error = f"discover: {'word ' * 30}\n    x*y - z\n          ^"
    assert Look(width=40).alarmed(error).endswith("\n    x*y - z\n          ^")
