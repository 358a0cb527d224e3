"""The README's Python lines give the output that it shows."""

import doctest
from pathlib import Path

README = Path(__file__).resolve().parent.parent / "README.md"


def test_python_lines_of_the_readme():
    result = doctest.testfile(str(README), module_relative=False)
    assert result.attempted >= 8
    assert result.failed == 0


def test_pictures_of_the_readme_are_there():
    assert "results/reference/oja/front.png" in README.read_text()
    assert (README.parent / "results/reference/oja/front.png").is_file()
