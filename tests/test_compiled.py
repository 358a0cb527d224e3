"""Compiled kernels: their optimisations, the same bits whatever was compiled before, where code is kept."""

from __future__ import annotations

import ast
import json
import os
import random
import shutil
import subprocess
import sys
import textwrap
import time
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

import kernel_bits
import kill_study
import pytest
from smoke_runs import SMOKE_PIPELINES, SmokeRuns

from sims import _compiled

ROOT = Path(__file__).resolve().parent.parent
SIMS = sorted((ROOT / "sims").glob("*.py"))


# ------------------------------------------------------------------------------------------- what is compiled


def decorators(path: Path) -> dict[str, list[ast.expr]]:
    module = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name: node.decorator_list for node in module.body if isinstance(node, ast.FunctionDef)}


def test_optimisations_keep_nan_visible() -> None:
    assert _compiled.OPTIONS["fastmath"] == {"nsz", "arcp", "contract", "afn", "reassoc"}


@pytest.mark.parametrize("path", SIMS, ids=lambda path: path.name)
def test_there_is_one_way_to_compile(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert path.name == "_compiled.py" or not any(word in text for word in ("njit", "numba.jit", "fastmath="))
    for decorator in chain(*decorators(path).values()):
        if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "overload":
            (options,) = (keyword.value for keyword in decorator.keywords if keyword.arg == "jit_options")
            assert ast.unparse(options).endswith(("OPTIONS", "**OPTIONS}"))


def test_no_kernel_is_called_by_compiled_code() -> None:
    kinds = {
        path: {
            name: {ast.unparse(getattr(one, "func", one)) for one in found} & {"kernel", "helper", "overload"}
            for name, found in decorators(path).items()
        }
        for path in SIMS
    }
    kernels = {
        (path.stem, name) for path, found in kinds.items() for name in found if "kernel" in found[name]
    }
    assert len(kernels) > 10
    for path, found in kinds.items():
        module = ast.parse(path.read_text(encoding="utf-8"))
        imported = {
            alias.asname or alias.name: ((node.module or "").split(".")[-1], alias.name)
            for node in ast.walk(module)
            if isinstance(node, ast.ImportFrom)
            for alias in node.names
        }
        for function in module.body:
            if isinstance(function, ast.FunctionDef) and found[function.name]:
                names = {ast.unparse(node.func) for node in ast.walk(function) if isinstance(node, ast.Call)}
                called = {imported.get(name, (path.stem, name)) for name in names} & kernels
                assert not called, f"{path.name}: {function.name}"


# ---------------------------------------------------------------------------------------------- the same bits


def bits(families: Sequence[str], cache: Path) -> dict[str, str]:
    """Checksums of results, from a process of its own."""
    process = subprocess.run(
        [sys.executable, kernel_bits.__file__, *families],
        env=os.environ | {"PYTHONPATH": str(ROOT), "NUMBA_CACHE_DIR": str(cache)},
        capture_output=True,
        text=True,
        check=True,
    )
    return dict(json.loads(process.stdout))


@pytest.mark.slow
def test_bits_do_not_depend_on_what_was_compiled_before(tmp_path: Path) -> None:
    families, cache = list(kernel_bits.FAMILIES), tmp_path / "kernels"
    found = bits(families, Path(os.environ["NUMBA_CACHE_DIR"]))
    shutil.copytree(os.environ["NUMBA_CACHE_DIR"], cache)
    assert kill_study.remove_kernels(cache, random.Random(0)), "half of them"
    assert bits(families[::-1], cache) == found, "compiled in part, in another order"
    assert bits(families, cache) == found, "loaded"


@pytest.mark.slow
def test_runs_give_the_same_bytes_whatever_is_in_the_cache(smoke_runs: SmokeRuns, tmp_path: Path) -> None:
    """An empty cache, and then what other pipelines left, of which half is taken away each time."""
    kernels, rng, compiled = tmp_path / "kernels", random.Random(0), 0
    for pipeline in SMOKE_PIPELINES:
        wanted = kill_study.contents(smoke_runs.folder(pipeline))
        process = kill_study.start(pipeline, tmp_path / "results", kernels)
        _, errors = process.communicate()
        assert process.returncode == 0, errors
        folder = tmp_path / "results" / pipeline
        compiled += "compiling" in (folder / "events.jsonl").read_text()
        assert kill_study.differing(kill_study.contents(folder), wanted) == [], pipeline
        kill_study.remove_kernels(kernels, rng)
    assert compiled == len(SMOKE_PIPELINES)


# ----------------------------------------------------------------------------------------- where code is kept

HELPER = """
from sims._compiled import helper

@helper
def part(x):
    return 2 * x
"""
KERNEL = """
from sims._compiled import kernel
from sims._part import part

@kernel
def whole(x):
    return part(x) + 1
"""


LOOK = "print(whole(3), sum(whole.stats.cache_hits.values()))"
"""Prints a result, and how often machine code was loaded."""


class Package:
    """A package of simulators with one kernel and its helper in another file."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.cache = root / "cache"
        self.sims = root / "sims"
        self.sims.mkdir(parents=True)
        shutil.copy(str(_compiled.__file__), self.sims)
        (self.sims / "__init__.py").touch()
        (self.sims / "_part.py").write_text(HELPER)
        (self.sims / "_whole.py").write_text(KERNEL)

    def start(self, code: str, **environment: str) -> subprocess.Popen[str]:
        """Start a process with the kernel."""
        return subprocess.Popen(
            [sys.executable, "-B", "-c", "from sims._whole import whole\n" + textwrap.dedent(code)],
            cwd=self.root,
            env=os.environ | {"PYTHONPATH": str(self.root), "NUMBA_CACHE_DIR": str(self.cache)} | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, code: str = LOOK, **environment: str) -> str:
        """Run code and return what it prints."""
        output, errors = (process := self.start(code, **environment)).communicate()
        assert process.returncode == 0, errors
        return output.strip()

    def kept(self, folder: Path) -> list[str]:
        """Return the folders of code in a folder."""
        return sorted(path.name for path in folder.glob("plasticity-discovery-*"))


@pytest.fixture
def package(tmp_path: Path) -> Package:
    return Package(tmp_path)


def test_code_is_kept_where_the_user_says(package: Package) -> None:
    assert package.run() == "7 0"
    assert package.run() == "7 1"
    assert len(package.kept(package.cache)) == 1
    assert not (package.sims / "__pycache__").exists()


def test_an_edit_in_another_file_is_seen(package: Package) -> None:
    assert package.run() == "7 0"
    (package.sims / "_part.py").write_text(HELPER.replace("2 * x", "5 * x"))
    assert package.run() == "16 0"
    (package.sims / "_part.py").write_text(HELPER)
    assert package.run() == "7 1", "code of a state of the sources that came back"


def test_checked_indices_have_code_of_their_own(package: Package) -> None:
    assert package.run() == "7 0"
    assert package.run(NUMBA_BOUNDSCHECK="1") == "7 0"
    assert package.run() == "7 1"


def test_code_of_sources_that_are_no_more_is_swept(package: Package) -> None:
    package.run()
    (old,) = package.cache.iterdir()
    other, fresh = package.cache / "of-another-program", package.cache / "plasticity-discovery-fresh"
    for folder in (other, fresh):
        folder.mkdir()
    long_ago = time.time() - 10 * 86_400
    for folder in (old, other):
        os.utime(folder, (long_ago, long_ago))
    assert package.run() == "7 1", "what is in use stays, however old"
    os.utime(old, (long_ago, long_ago))
    (package.sims / "_part.py").write_text(HELPER.replace("2", "3"))
    assert package.run() == "10 0"
    assert not old.exists()
    assert other.exists()
    assert fresh.exists()


def test_where_nothing_can_be_written_beside_the_sources_code_is_kept_elsewhere(
    package: Package, tmp_path: Path
) -> None:
    (package.sims / "__pycache__").touch()  # a file, so that it cannot be a folder, not even for root
    home = str(tmp_path / "home")
    of_user = {"NUMBA_CACHE_DIR": "", "XDG_CACHE_HOME": home, "HOME": home}
    assert package.run(**of_user) == "7 0"
    assert package.run(**of_user) == "7 1"
    nowhere = dict.fromkeys(("NUMBA_CACHE_DIR", "XDG_CACHE_HOME", "HOME"), os.devnull)
    for _ in range(2):
        assert package.run(**nowhere) == "7 0"


def test_a_function_is_inlined_where_it_says_so_itself(package: Package) -> None:
    """And not where the first that calls it is, so that code would depend on what was compiled before."""
    (package.sims / "_whole.py").write_text(
        KERNEL.replace("import kernel", "import helper, kernel")
        .replace("part(x)", "middle(x)")
        .replace("@kernel", "@helper(forceinline=True)\ndef middle(x):\n    return part(x)\n\n@kernel")
    )
    look = """
        from sims._whole import middle, part
        whole(3)
        for one in (part, middle):
            (code,) = one.inspect_llvm().values()
            print("alwaysinline" in code)
    """
    assert package.run(look).split() == ["False", "True"]


def test_a_cache_that_is_lost_on_the_way_stops_nobody(package: Package) -> None:
    lost = """
        import os, pathlib, shutil
        cache = pathlib.Path(os.environ["NUMBA_CACHE_DIR"])
        shutil.rmtree(cache)
        cache.touch()
        print(whole(3))
    """
    assert package.run(lost) == "7"


def test_two_processes_that_compile_at_once_do_not_mix_up_their_code(package: Package) -> None:
    slowly = """
        import time
        from numba.core import caching
        write = caching.IndexDataCacheFile._save_index
        def pausing(file, overloads):
            time.sleep(2)
            write(file, overloads)
        caching.IndexDataCacheFile._save_index = pausing
        print(whole({argument}))
    """
    package.run("")
    processes = [package.start(slowly.format(argument=argument)) for argument in ("3", "0.5")]
    outputs = [process.communicate()[0].split()[-1] for process in processes]
    assert outputs == ["7", "2.0"]
    assert package.run("print(whole(3), whole(.5), sum(whole.stats.cache_hits.values()))") == "7 2.0 2"


def test_the_compiler_can_be_left_out(package: Package) -> None:
    assert package.run("print(whole(3), type(whole).__name__)", NUMBA_DISABLE_JIT="1") == "7 function"
