"""Python lines of pages give the output that they show."""

import doctest
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"


@pytest.mark.parametrize(("page", "n_lines"), [("README.md", 8), ("docs/pairing.md", 5)])
def test_python_lines_give_what_is_shown(page, n_lines):
    result = doctest.testfile(str(ROOT / page), module_relative=False)
    assert result.attempted >= n_lines
    assert result.failed == 0


def test_pictures_of_the_readme_are_there():
    assert "results/reference/oja/front.png" in README.read_text()
    assert (README.parent / "results/reference/oja/front.png").is_file()
