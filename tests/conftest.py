"""Guards for all tests: no display, fresh kernels, nobody touches the global random state."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

KERNELS = Path(__file__).resolve().parent.parent / ".pytest_cache" / "kernels"
KERNELS.mkdir(parents=True, exist_ok=True)

# Before NumPy, Numba and Matplotlib are imported.
os.environ["NUMBA_CACHE_DIR"] = str(KERNELS)
os.environ["MPLBACKEND"] = "Agg"
os.environ["COLUMNS"] = "120"
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("NUMBA_NUM_THREADS", str(max(2, os.cpu_count() or 1)))

import hypothesis  # noqa: E402
import numpy as np  # noqa: E402
import pytest  # noqa: E402
import smoke_runs as smoke  # noqa: E402
import stand_in_pysr  # noqa: E402
import toy_pipeline  # noqa: E402

hypothesis.settings.register_profile("project", deadline=None, max_examples=40, derandomize=True)
hypothesis.settings.load_profile("project")


@pytest.fixture(autouse=True)
def _global_random_state_is_left_alone() -> Iterator[None]:
    """Fail a test whose code draws from, or seeds, NumPy's global random generator."""
    before = np.random.get_state()  # noqa: NPY002
    yield
    after = np.random.get_state()  # noqa: NPY002
    same = all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))
    np.random.set_state(before)  # noqa: NPY002
    assert same, "NumPy's global random state was touched; pass a numpy.random.Generator instead"


@pytest.fixture(scope="session")
def brian2() -> None:
    """Skip a test where Brian2 cannot be imported, and say why.

    Once it is imported it changes how pytest collects, so that only processes of their own import it.
    """
    probe = subprocess.run(
        [sys.executable, "-c", "import brian2"], capture_output=True, text=True, check=False
    )
    if probe.returncode:
        last = (probe.stderr.strip().splitlines() or ["no message"])[-1]
        pytest.skip(f"Brian2 cannot be imported (pip install brian2): {last}")


@pytest.fixture(scope="session")
def smoke_runs(tmp_path_factory: pytest.TempPathFactory) -> smoke.SmokeRuns:
    """Finished runs of the smoke pipelines, each made when a test first asks for it, in any process."""
    own = tmp_path_factory.getbasetemp()
    return smoke.SmokeRuns((own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "smoke")


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> toy_pipeline.Toy:
    """A whole pipeline that does next to nothing, in an empty working folder."""
    monkeypatch.chdir(tmp_path)
    for name in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
        monkeypatch.setenv(name, os.environ.get(name, "1"))
    return toy_pipeline.install(monkeypatch, tmp_path)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> stand_in_pysr.Fake:
    """A module in the place of PySR, which Julia would have to be there for."""
    return stand_in_pysr.Fake(monkeypatch, tmp_path_factory.mktemp("fake") / "home")
