"""The PySR adapter: everything but the search in Julia itself."""

from __future__ import annotations

import importlib.util
import itertools
import json
import os
import ssl
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from stand_in_pysr import installed_parameters

from discover.errors import EngineError, EngineUnavailable
from discover.expression import canonical, parse
from discover.search._julia import find_julia
from discover.search._pysr_files import read_hall_of_fame
from discover.search.engine import Proposal, Samples, SearchSettings, resolve
from discover.search.pysr import PySREngine, constructor_arguments, to_proposals

ROOT = Path(__file__).parents[1]
DATA = ROOT / "tests" / "data" / "pysr"
VARIABLES = ("x", "y", "w")
COMPLETE = 'Complexity,Loss,Equation\n1,3.1,"0.0278"\n3,2.2,"x0 * x1"\n7,1.6e-14,"(x0 - (x1 * x2)) * x1"\n'

SHARED_PARAMETERS = {
    "binary_operators", "unary_operators", "niterations", "populations", "population_size", "maxsize",
    "parsimony", "early_stop_condition", "timeout_in_seconds", "deterministic", "parallelism", "random_state",
    "precision", "batching", "output_directory", "run_id", "temp_equation_file", "input_stream", "progress",
    "verbosity", "nested_constraints",
}  # fmt: skip


@pytest.fixture
def no_julia(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    for name in list(os.environ):
        if name.startswith(("PYTHON_JULIA", "JULIA", "CONDA_PREFIX")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PYTHON_JULIAPKG_PROJECT", str(tmp_path / "julia_env"))
    return tmp_path


def fake_julia(path: Path, version: str = "1.10.8", answer: str = "julia version") -> Path:
    path.write_text(f"#!/bin/sh\necho {answer} {version}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def needed_versions() -> dict[str, str]:
    """Return a version of each of PySR's Julia packages that the installed PySR and juliacall take."""
    found = {}
    for module, package in (("juliacall", "PythonCall"), ("pysr", "SymbolicRegression")):
        spec = importlib.util.find_spec(module)
        assert spec is not None
        assert spec.submodule_search_locations is not None
        note = json.loads((Path(spec.submodule_search_locations[0]) / "juliapkg.json").read_text())
        found[package] = note["packages"][package].get("version", "2.0.0-alpha.9").strip("=~^")
    return found


def with_packages(project: Path, depot: Path, versions: dict[str, str] | None = None) -> Path:
    """Write what Julia's package manager leaves: a manifest, and the code of the packages."""
    project.mkdir(parents=True, exist_ok=True)
    lines = ['manifest_format = "2.0"']
    for name, version in (versions or needed_versions()).items():
        lines += [f"[[deps.{name}]]", f'version = "{version}"']
        code = depot / "packages" / name / "aBcDe"
        code.mkdir(parents=True, exist_ok=True)
        (code / "Project.toml").write_text(f'name = "{name}"\nversion = "{version}"\n')
    (project / "Manifest.toml").write_text("\n".join(lines))
    return project


def samples_of(name: str) -> Samples:
    table = np.loadtxt(DATA / f"{name}-data.csv", delimiter=",", skiprows=1)
    return Samples(VARIABLES, table[:, :3], table[:, 3])


def recorded_front(tmp_path: Path, data: str, version: str) -> list[Proposal]:
    (tmp_path / "hall_of_fame.csv").write_bytes((DATA / f"{data}-pysr{version}.csv").read_bytes())
    trees = read_hall_of_fame(tmp_path, ("x0", "x1", "x2"))
    return to_proposals(trees, samples_of(data), max_nodes=30)


def first_below(proposals: list[Proposal], nmse: float) -> str:
    return next(str(p.expression) for p in proposals if p.nmse < nmse)


@pytest.mark.parametrize(
    ("data", "version", "nmse"),
    [("oja", "1.5.10", 1e-12), ("oja", "2.0.0a2", 1e-12), ("oja-noise5", "1.5.10", 4e-3),
     ("oja-noise5", "2.0.0a2", 4e-3)],
)  # fmt: skip
def test_recorded_fronts_of_oja_hold_exactly_oja(
    tmp_path: Path, data: str, version: str, nmse: float
) -> None:
    assert first_below(recorded_front(tmp_path, data, version), nmse) == "x*y - w*y**2"


def test_recorded_front_of_tanh_oja_holds_exactly_tanh_oja(tmp_path: Path) -> None:
    assert first_below(recorded_front(tmp_path, "tanh-oja", "1.5.10"), 1e-12) == "tanh(y)*(x - w*tanh(y))"


def test_front_is_sorted_and_beats_itself_nowhere(tmp_path: Path) -> None:
    proposals = recorded_front(tmp_path, "tanh-oja", "2.0.0a2")
    complexities = [p.expression.complexity for p in proposals]
    assert complexities == sorted(set(complexities))
    assert all(a.nmse > b.nmse for a, b in itertools.pairwise(proposals))
    assert all(p.expression == canonical(p.expression, VARIABLES) for p in proposals)


def test_julia_literals_are_read(tmp_path: Path) -> None:
    (tmp_path / "hall_of_fame.csv").write_text('Complexity,Loss,Equation\n5,1e-9,"(x1 * 1.5f-5) + 2.0f0"\n')
    assert [str(tree) for tree in read_hall_of_fame(tmp_path, ("x0", "x1"))] == ["x1*1.5e-05 + 2"]


@pytest.mark.parametrize("cut", [1, 5, 12, 20])
def test_half_written_file_gives_its_complete_lines_or_the_backup(tmp_path: Path, cut: int) -> None:
    (tmp_path / "hall_of_fame.csv").write_text(COMPLETE[:-cut])
    assert len(read_hall_of_fame(tmp_path, ("x0", "x1", "x2"))) == 2
    (tmp_path / "hall_of_fame.csv.bak").write_text(COMPLETE)
    assert len(read_hall_of_fame(tmp_path, ("x0", "x1", "x2"))) == 3


def test_backup_alone_is_enough_and_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="before its first iteration"):
        read_hall_of_fame(tmp_path, ("x0",))
    (tmp_path / "hall_of_fame.csv.bak").write_text(COMPLETE)
    assert len(read_hall_of_fame(tmp_path, ("x0", "x1", "x2"))) == 3


@pytest.mark.parametrize(
    "text", ["", "\0\0\0", "Complexity,Loss,Equation\n1,2,__import__('os')\n", "a\n" * 5]
)
def test_hostile_hall_of_fame_is_an_error_and_runs_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "hall_of_fame.csv").write_text(text)
    with pytest.raises(EngineError, match="can be read"):
        read_hall_of_fame(tmp_path, ("x0",))


def test_arguments_fit_the_installed_signature_and_make_a_run_reproducible(tmp_path: Path) -> None:
    everything = constructor_arguments(SearchSettings(), 7, tmp_path, "run", SHARED_PARAMETERS)
    assert set(everything) == SHARED_PARAMETERS
    assert (everything["deterministic"], everything["parallelism"], everything["random_state"]) == (
        True,
        "serial",
        7,
    )
    assert everything["precision"] == 64
    assert everything["batching"] is False
    older = constructor_arguments(SearchSettings(), 7, tmp_path, "run", SHARED_PARAMETERS - {"input_stream"})
    assert set(older) == SHARED_PARAMETERS - {"input_stream"}


def test_operators_follow_the_settings(tmp_path: Path) -> None:
    arguments = constructor_arguments(
        SearchSettings(operators=("tanh", "max")), 0, tmp_path, "r", SHARED_PARAMETERS
    )
    assert arguments["binary_operators"] == ["+", "-", "*", "max"]
    assert arguments["unary_operators"] == ["tanh"]


def test_names_known_to_sympy_come_back(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    inputs = generator.normal(size=(200, 2))
    samples = Samples(("beta", "S"), inputs, inputs[:, 0] * inputs[:, 1] * 2)
    found = to_proposals([parse("x0 * x1 * 1.9999999", ("x0", "x1"))], samples, 30)
    assert str(found[-1].expression) == "2*S*beta"


def test_scaled_data_are_folded_back() -> None:
    generator = np.random.default_rng(0)
    inputs = generator.normal(size=(200, 2)) * [1.0, 0.03]
    samples = Samples(("x", "w"), inputs, 1e-3 * inputs[:, 0] * inputs[:, 1])
    found = to_proposals([parse("x0 * x1 * 1.0", ("x0", "x1"))], samples, 30, ((1.0, 0.01), 1e-5))
    assert str(found[-1].expression) == "0.001*w*x"


def test_without_julia_one_paragraph_says_how_to_get_one(no_julia: Path) -> None:
    state = PySREngine().availability()
    assert not state.usable
    assert "No Julia was found" in state.reason
    assert "discover doctor --install-julia" in state.remedy
    with pytest.raises(EngineUnavailable) as caught:
        resolve(["pysr"])
    assert "\n" not in str(caught.value)
    assert "pysr" not in [engine.name for engine in resolve(["auto"])]


def test_julia_on_the_path_counts_once_its_packages_are_there(no_julia: Path) -> None:
    fake_julia(no_julia / "julia")
    assert "without PySR's packages" in find_julia().problem
    with_packages(no_julia / "julia_env", no_julia / ".julia")
    found = find_julia()
    assert (found.version, found.problem) == ("1.10.8", "")


def test_packages_of_the_shared_environment_count_for_its_version_of_julia_only(no_julia: Path) -> None:
    with_packages(no_julia / ".julia" / "environments" / "v1.10", no_julia / ".julia")
    fake_julia(no_julia / "julia", "1.10.8")
    assert find_julia().problem == ""
    fake_julia(no_julia / "julia", "1.11.2")
    assert "without PySR's packages" in find_julia().problem


@pytest.mark.parametrize(
    ("in_manifest", "in_depot", "said"),
    [
        (None, "", "without PySR's packages"),
        ("0.9.1", "0.9.1", "PythonCall is 0.9.1, where"),
        ("", "0.9.1", "the code of its package PythonCall"),
        ("", "", ""),
    ],
)
def test_a_folder_of_the_packages_in_a_depot_is_not_enough(
    no_julia: Path, in_manifest: str | None, in_depot: str, said: str
) -> None:
    fake_julia(no_julia / "julia")
    good = needed_versions()
    with_packages(
        no_julia / "unused", no_julia / ".julia", good | ({"PythonCall": in_depot} if in_depot else {})
    )
    if in_manifest is not None:
        written = good | ({"PythonCall": in_manifest} if in_manifest else {})
        with_packages(no_julia / "julia_env", no_julia / "elsewhere", written)
    problem = find_julia().problem
    assert said in problem
    assert (problem == "") == (said == "")


@pytest.mark.parametrize("way", ["the PATH", "PYTHON_JULIAPKG_EXE", "PYTHON_JULIACALL_EXE"])
@pytest.mark.parametrize("version", ["1.6.7", "1.9.4", "1.10.2", "1.12.1"])
def test_a_julia_of_a_version_that_would_not_start_is_found_and_refused(
    no_julia: Path, monkeypatch: pytest.MonkeyPatch, way: str, version: str
) -> None:
    if version.startswith("1.12") and ssl.OPENSSL_VERSION_INFO >= (3, 5):
        pytest.skip(f"with {ssl.OPENSSL_VERSION} Julia 1.12 starts")
    julia = fake_julia(no_julia / "julia", version)
    project = with_packages(no_julia / "julia_env", no_julia / ".julia")
    if way == "PYTHON_JULIAPKG_EXE":
        monkeypatch.setenv(way, str(julia))
    elif way == "PYTHON_JULIACALL_EXE":
        monkeypatch.setenv(way, str(julia))
        monkeypatch.setenv("PYTHON_JULIACALL_PROJECT", str(project))
    state = PySREngine().availability()
    assert not state.usable
    assert state.version.endswith(f"Julia {version}")
    assert f"Julia {version} was found" in state.reason
    assert "1.10.3" in state.reason


def test_the_remedy_names_versions_that_work_with_this_openssl(no_julia: Path) -> None:
    remedy = PySREngine().availability().remedy
    major, minor, *_ = ssl.OPENSSL_VERSION_INFO
    assert f"OpenSSL {major}.{minor} that is Julia 1.10.3" in remedy
    assert ("1.10.3 - 1.11" in remedy) == ((major, minor) < (3, 5))


@pytest.mark.parametrize(
    ("exe", "project", "said"),
    [
        ("julia", "", "PYTHON_JULIACALL_PROJECT names no folder"),
        ("julia", "nowhere", "PYTHON_JULIACALL_PROJECT names no folder"),
        ("julia", None, "PYTHON_JULIACALL_PROJECT is not set"),
        (None, "julia_env", "PYTHON_JULIACALL_EXE is not set"),
        ("nothing", "julia_env", "PYTHON_JULIACALL_EXE names no program"),
        ("", "julia_env", "PYTHON_JULIACALL_EXE names no program"),
        ("julia", "julia_env", ""),
    ],
)
def test_executable_and_project_go_together(
    no_julia: Path, monkeypatch: pytest.MonkeyPatch, exe: str | None, project: str | None, said: str
) -> None:
    fake_julia(no_julia / "julia")
    with_packages(no_julia / "julia_env", no_julia / ".julia")
    if exe is not None:
        monkeypatch.setenv("PYTHON_JULIACALL_EXE", exe and str(no_julia / exe))
    if project is not None:
        monkeypatch.setenv("PYTHON_JULIACALL_PROJECT", project and str(no_julia / project))
    problem = find_julia().problem
    assert said in problem
    assert (problem == "") == (said == "")


def resolved_note(julia: Path, version: str = "1.10.8") -> None:
    """Write the note that juliapkg leaves when it has installed Julia's packages."""
    code = (
        "from juliapkg.deps import *; from juliapkg.deps import _get_hash; import os, sys;"
        "save_meta(dict(meta_version=META_VERSION, dev=False, version=sys.argv[2], executable=sys.argv[1],"
        "libjulia='', bindir='', pkgs=[], offline=False, override_executable=None,"
        "deps_files={f: dict(timestamp=os.path.getmtime(f), hash_sha256=_get_hash(f))"
        " for f in deps_files()}))"
    )
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-c", code, str(julia), version]
    subprocess.run(command, check=True, env={**os.environ, "PYTHONPATH": path}, capture_output=True)


def test_resolved_environment_counts_and_a_stale_note_does_not(no_julia: Path) -> None:
    julia = fake_julia(no_julia / "other-julia")
    with_packages(no_julia / "julia_env", no_julia / ".julia")
    note = no_julia / "julia_env" / "pyjuliapkg" / "meta.json"
    resolved_note(julia)
    assert (find_julia().version, find_julia().problem) == ("1.10.8", "")
    julia.unlink()
    assert find_julia().problem == "No Julia was found."
    note.write_text("{broken")
    assert "meta.json that juliapkg left cannot be read; remove it" in find_julia().problem


def test_executable_that_is_no_julia_is_named(no_julia: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    impostor = fake_julia(no_julia / "impostor", answer="hello")
    monkeypatch.setenv("PYTHON_JULIAPKG_EXE", str(impostor))
    assert f"{impostor}, does not answer" in find_julia().problem


def test_asking_for_the_state_imports_neither_pysr_nor_julia() -> None:
    code = (
        "import sys; from discover.search.pysr import PySREngine; PySREngine().availability();"
        "print([m for m in ('pysr', 'juliacall', 'juliapkg') if m in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


STUB = """
import os
from pathlib import Path
from unittest.mock import MagicMock

__version__ = "0.9.0"

class AnyValue: ...
class VectorValue: ...
class JuliaError(Exception): ...

def convert(kind, value):
    return value

def newmodule(name):
    return Main

class _Main(MagicMock):
    def __reduce__(self):
        return (str, ())

Main = _Main()
Main.VERSION.major, Main.VERSION.minor, Main.VERSION.patch = 1, 10, 8
Main.isa = lambda value, kind: True
Main.take_b = lambda buffer: b""
Main.copy = lambda array: array
Main.PythonCall.PyArray = lambda array: array
seen = {}

def options(**arguments):
    seen.update(arguments)
    return MagicMock()

def equation_search(X, y, **arguments):
    folder = Path(seen["output_directory"]) / arguments["run_id"]
    folder.mkdir(parents=True, exist_ok=True)
    assert X.shape == (3, 300) and y.shape == (300,)
    assert seen["deterministic"] is True and seen["batching"] is False
    assert seen["complexity_of_constants"] == 2 and seen["maxdepth"] == 6
    assert ("guesses" in arguments) == bool(os.environ["GUESSES"])
    assert os.environ["PYTHON_JULIAPKG_OFFLINE"] == "yes"
    os.write(1, b"noise that Julia makes\\n")
    text = "Complexity,Loss,Equation\\n1,3.1,\\"0.02\\"\\n7,1e-14,\\"(x0 - (x1 * x2)) * x1\\"\\n"
    for name in ("hall_of_fame.csv", "hall_of_fame.csv.bak"):
        (folder / name).write_text(text)
    return MagicMock()

Main.SymbolicRegression.Options = options
equation_search._jl_call_nogil = equation_search  # how later versions of PySR call it
Main.SymbolicRegression.equation_search = equation_search
"""

RUN = """
import os, numpy as np
from discover.search.engine import *
from discover.search.pysr import PySREngine
states = np.random.default_rng(0).normal(size=(300, 3))
x, y, w = states.T
samples = Samples(("x", "y", "w"), states, x*y - w*y**2)
pysr = PySRSettings(
    output_folder=os.environ["RUNS"], maxdepth=6, constraints={"tanh": 5, "div": (-1, 3)},
    nested_constraints={"tanh": {"tanh": 0}}, guesses=tuple(os.environ["GUESSES"].split()),
)
weights = {"complexity_of_operators": {"div": 2.0}, "complexity_of_constants": 2.0}
best = PySREngine().propose(samples, SearchSettings(pysr=pysr, **weights), seed=3)[-1]
print(best.expression)
"""


def run_with_stub(tmp_path: Path, stub: str) -> subprocess.CompletedProcess[str]:
    (tmp_path / "juliacall.py").write_text(stub)
    root = str(Path(__file__).parents[1])
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(tmp_path), root, os.environ.get("PYTHONPATH", "")]),
        "PYTHON_JULIACALL_EXE": str(fake_julia(tmp_path / "julia")),
        "PYTHON_JULIACALL_PROJECT": str(with_packages(tmp_path / "project", tmp_path / "depot")),
        "JULIA_DEPOT_PATH": str(tmp_path / "depot"),
        "RUNS": str(tmp_path / "runs"),
        "GUESSES": "x*y" if "guesses" in installed_parameters() else "",
    }
    environment.pop("PYTHON_JULIAPKG_OFFLINE", None)
    return subprocess.run(
        [sys.executable, "-c", RUN], env=environment, capture_output=True, text=True, timeout=120
    )


def test_python_contract_only_real_pysr_regressor_over_a_stubbed_julia(tmp_path: Path) -> None:
    """The real PySRRegressor takes the arguments and its files are found; no search takes place."""
    answer = run_with_stub(tmp_path, STUB)
    assert answer.returncode == 0, answer.stderr[-2000:]
    assert answer.stdout == "x*y - w*y**2\n"
    assert len(list((tmp_path / "runs").iterdir())) == 1


def test_python_contract_only_a_julia_that_does_not_start_is_one_paragraph(tmp_path: Path) -> None:
    answer = run_with_stub(tmp_path, "raise Exception('could not find Julia =1.10.3')")
    assert answer.stdout == ""
    last = answer.stderr.strip().splitlines()[-1]
    assert last.startswith("discover.errors.EngineUnavailable: The engine 'pysr' cannot run here")
    assert "could not find Julia" in last
    assert "discover doctor --install-julia" in last
