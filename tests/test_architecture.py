"""The house rules that can be read off the source text."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.sources import imported_modules, sources_of

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("sims", "discover", "pipelines")
FILES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
IDS = [path.relative_to(ROOT).as_posix() for path in FILES]

SAFE_FASTMATH = {"nsz", "arcp", "contract", "afn", "reassoc"}
"""Without nnan and ninf: with them np.isnan returns False and blow-ups pass unseen."""

FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__", "sympify", "parse_expr", "lambdify"}
FORBIDDEN_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve"}
MAY_IMPORT = {
    "sims": {"sims"},
    "discover": {"sims", "discover"},
    "pipelines": {"sims", "discover", "pipelines"},
}


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def top_level_imports(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.split(".")[0])
    return names


def calls(path: Path) -> Iterator[tuple[str, bool, ast.Call]]:
    """Yield every call with the called name and whether it is an attribute of something."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            yield node.func.id, False, node
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            yield node.func.attr, True, node


def test_there_is_source_text_to_check() -> None:
    assert len(FILES) > 10


@pytest.mark.parametrize("path", FILES, ids=IDS)
def test_imports_point_one_way(path: Path) -> None:
    own = {name.split(".")[0] for name in imported_modules(path)} | (top_level_imports(path) & set(PACKAGES))
    package = path.relative_to(ROOT).parts[0]
    assert own <= MAY_IMPORT[package]


@pytest.mark.parametrize("path", sorted((ROOT / "sims").rglob("*.py")), ids=lambda path: path.name)
def test_simulators_need_numpy_and_numba_only(path: Path) -> None:
    assert top_level_imports(path) - set(sys.stdlib_module_names) <= {"numpy", "numba", "sims"}


@pytest.mark.parametrize("path", FILES, ids=IDS)
def test_text_is_never_run_and_pickles_are_never_loaded(path: Path) -> None:
    assert not top_level_imports(path) & FORBIDDEN_MODULES
    for name, is_attribute, call in calls(path):
        if name == "compile" and is_attribute:
            continue  # re.compile
        assert name not in FORBIDDEN_CALLS, f"line {call.lineno}: {name}"
        for keyword in call.keywords:
            loads = keyword.arg == "allow_pickle" and not is_constant(keyword.value, False)
            assert not loads, f"line {call.lineno}: allow_pickle"


@pytest.mark.parametrize("path", FILES, ids=IDS)
def test_random_numbers_come_from_numpy_generators(path: Path) -> None:
    assert "random" not in top_level_imports(path)


@pytest.mark.parametrize("path", FILES, ids=IDS)
def test_fast_mathematics_keeps_nan_visible(path: Path) -> None:
    constants = {
        target.id: node.value
        for node in tree(path).body
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if isinstance(target, ast.Name)
    }
    for value in fastmath_values(path):
        assert flags(value, constants) <= SAFE_FASTMATH, f"line {value.lineno}"


@pytest.mark.parametrize("path", FILES, ids=IDS)
def test_files_stay_readable(path: Path) -> None:
    most = 700 if path.name.endswith("_kernels.py") else 600
    assert len(path.read_text(encoding="utf-8").splitlines()) <= most


def test_the_sources_of_a_module_are_followed_through_its_imports() -> None:
    names = {path.relative_to(ROOT).as_posix() for path in sources_of(["discover.rule"])}
    assert {"discover/rule.py", "discover/errors.py", "sims/rules.py"} <= names
    assert not any(name.startswith("pipelines/") for name in names)


def fastmath_values(path: Path) -> Iterator[ast.expr]:
    """Yield what is given for fastmath, as an argument or in a dictionary of options."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.keyword) and node.arg == "fastmath":
            yield node.value
        elif isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if key is not None and is_constant(key, "fastmath"):
                    yield value


def is_constant(node: ast.expr, value: object) -> bool:
    return isinstance(node, ast.Constant) and node.value == value and type(node.value) is type(value)


def flags(node: ast.expr, constants: dict[str, ast.expr]) -> set[str]:
    """Return the fast-math flags that an expression names; what is not a plain set counts as unsafe."""
    if is_constant(node, False):
        return set()
    if isinstance(node, ast.Name) and node.id in constants:
        return flags(constants[node.id], constants)
    if (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in {"set", "frozenset"}
    ):
        return flags(node.args[0], constants)
    if isinstance(node, ast.Set | ast.List | ast.Tuple):
        return {str(element.value) if isinstance(element, ast.Constant) else "?" for element in node.elts}
    return {"?"}


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("njit(fastmath=True)", False),
        ("njit(fastmath={'nnan', 'nsz'})", False),
        ("njit(fastmath={'nsz'})", True),
        ("OPTIONS = {'fastmath': True}", False),
        ("FLAGS = {'nsz', 'arcp'}\nnjit(fastmath=FLAGS)", True),
        ("njit(fastmath=unknown)", False),
        ("njit(fastmath=False)", True),
    ],
)
def test_the_check_of_fast_mathematics_finds_what_it_should(tmp_path: Path, text: str, safe: bool) -> None:
    path = tmp_path / "file.py"
    path.write_text(text)
    if safe:
        test_fast_mathematics_keeps_nan_visible(path)
    else:
        with pytest.raises(AssertionError):
            test_fast_mathematics_keeps_nan_visible(path)
