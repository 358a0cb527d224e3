"""Work on a Dask cluster: the same bytes as in this process, whoever does it and whoever dies over it."""

from __future__ import annotations

import json
import os
import pickle
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import discover.spread as spread_module
from discover.errors import ClusterError, ClusterLost, ConfigError, TaskError
from discover.fit import FitSettings, fit
from discover.journal import Journal, JournaledTask, Memo
from discover.parallel import active, dask_backend, ordered_map
from discover.progress import silent
from discover.rule import Rule
from discover.search.trial import CountedTask
from discover.spread import losses_of_population, spread
from discover.tasks import get_task
from discover.user_tasks import NamedFile, load_named, load_task
from pipelines.backend import Where
from pipelines.cli import app

ROOT = Path(__file__).resolve().parent.parent
SIZES = {"n_inputs": 3, "n_samples": 20, "n_steps": 40, "batch": 10}
QUICK = FitSettings(
    restarts=4,
    n_train=8,
    n_heldout=8,
    n_tuning=8,
    penalties=(0.0, 0.02),
    steps=6,
    path_steps=4,
    refit_steps=3,
    batch=4,
)


# ------------------------------------------------------------------------------------------- in this process


def test_results_are_in_the_order_of_the_items_and_arrivals_are_told() -> None:
    arrivals: list[tuple[int, int]] = []
    found = ordered_map(lambda n: n * n, [3, 1, 2], lambda number, result: arrivals.append((number, result)))
    assert found == [9, 1, 4]
    assert arrivals == [(0, 9), (1, 1), (2, 4)]
    assert active().is_local
    assert active().n_workers == 1


def test_an_error_of_the_work_is_raised_as_it_is() -> None:
    with pytest.raises(ZeroDivisionError):
        ordered_map(lambda n: 1 // n, [1, 0])


def test_each_piece_is_told_apart_in_progress() -> None:
    told: list[tuple[float, str]] = []

    def work(task: Any, item: int, progress: Any) -> int:
        progress(0.5, f"at {item}")
        return item + 1

    assert spread(work, None, [5, 7], lambda *one: told.append(one), ["first", "second"]) == [6, 8]
    assert told == [(0.25, "first: at 5"), (0.75, "second: at 7")]


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (("dsk", ""), "Did you mean 'dask'"),
        (("dask", ""), "--scheduler tcp://"),
        (("local", "tcp://127.0.0.1:1"), "with --backend dask only"),
    ],
)
def test_options_that_cannot_be_meant(options: tuple[str, str], word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        Where(*options)


def test_a_cluster_without_dask_is_one_paragraph(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    found = CliRunner().invoke(
        app, ["recover", "oja", "--backend", "dask", "--scheduler", "tcp://127.0.0.1:1"]
    )
    assert found.exit_code == 2
    assert "pip install dask distributed" in found.stderr
    assert "Traceback" not in found.output


@pytest.mark.parametrize(
    "command",
    [
        ["recover", "oja", "--results", "{}"],
        ["fit", "pipelines/oja-smoke.toml", "--results", "{}"],
    ],
)
def test_a_lost_cluster_is_one_paragraph_with_a_command(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: list[str]
) -> None:
    @contextmanager
    def lost(*_: Any) -> Iterator[None]:
        raise ClusterLost("The Dask scheduler at tcp://far was lost.")
        yield

    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(Where, "at_work", lost)
    options = ["--backend", "dask", "--scheduler", "tcp://far"]
    found = CliRunner().invoke(app, [word.format(tmp_path) for word in command] + options)
    assert found.exit_code == 1
    assert found.stderr.startswith("discover: The Dask scheduler at tcp://far was lost.")
    assert "are kept; go on with: discover" in found.stderr
    assert "Traceback" not in found.output


@pytest.mark.parametrize("content", [None, "", "[]", '{"id": 1}'])
def test_a_file_that_no_scheduler_wrote(tmp_path: Path, content: str | None) -> None:
    pytest.importorskip("distributed", reason="distributed is not installed: pip install '.[cluster]'")
    path = tmp_path / "scheduler.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ClusterError, match="not the file of a Dask"), dask_backend(str(path), print):
        pytest.fail("nobody is there")


def test_a_worker_runs_only_the_very_file_that_was_named(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    with pytest.raises(TaskError, match="is not there on a worker"):
        load_named(NamedFile("mine.py:Mine", str(path), "0" * 64))
    path.write_text("raise SystemExit('was run')")
    with pytest.raises(TaskError, match="is another file on a worker"):
        load_named(NamedFile("mine.py:Mine", str(path), "0" * 64))


# ------------------------------------------------------------------------------------- the journal of a piece


def asked(journal: Any, names: str, start: float) -> list[float]:
    """Ask for one result a letter; those that are not kept are numbered from `start`."""
    return [
        float(journal.recall(name, b"?", lambda n=n: {"value": np.array([start + n])})["value"][0])
        for n, name in enumerate(names)
    ]


def test_a_piece_on_a_worker_takes_along_what_it_asked_and_brings_back_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    with Journal(path, "p") as journal:
        for piece, names in (("one", "ab"), ('two "2"', "cd")):
            for number, name in enumerate(names):
                journal.recall(name, b"?", lambda n=number: {"value": np.array([float(n)])}, piece)
    with Journal(path, "p") as journal:
        memo = Memo(journal.lines('two "2"'))
        assert asked(memo, "cdab", 10) == [0, 1, 12, 13]
        assert len(memo.added) == 2
        journal.take(memo.added)
    with Journal(path, "p") as journal:
        assert journal.n_kept == 4, "what another piece has asked meanwhile stays"
        assert asked(journal, "abcd", 20) == [0, 1, 0, 1]


# ----------------------------------------------------------------------------------------------- on a cluster


@dataclass
class Cluster:
    """A real scheduler and its workers, each a process."""

    address: str
    scheduler: subprocess.Popen[bytes]
    folder: Path
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def add_worker(self, n_threads: int = 1) -> None:
        options = ["--nthreads", str(n_threads), "--no-nanny", "--no-dashboard", "--death-timeout", "60"]
        self.workers.append(
            started("dask_worker", self.address, *options, "--local-directory", str(self.folder))
        )

    def living(self) -> list[subprocess.Popen[bytes]]:
        return [worker for worker in self.workers if worker.poll() is None]


def started(program: str, *arguments: str) -> subprocess.Popen[bytes]:
    environment = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", "NUMBA_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", f"distributed.cli.{program}", *arguments],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
    return port


@contextmanager
def running(folder: Path, n_workers: int = 2) -> Iterator[Cluster]:
    pytest.importorskip("distributed", reason="distributed is not installed: pip install '.[cluster]'")
    port = free_port()
    scheduler = started("dask_scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard")
    cluster = Cluster(f"tcp://127.0.0.1:{port}", scheduler, folder)
    try:
        for _ in range(n_workers):
            cluster.add_worker()
        wait_for(lambda: answers(port), "the scheduler")
        yield cluster
    finally:
        for process in [*cluster.workers, scheduler]:
            process.kill()
            process.wait()


def answers(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


def wait_for(condition: Callable[[], bool], what: str) -> None:
    """Wait for something that comes; the limit only ends a test that hangs."""
    for _ in range(2400):
        if condition():
            return
        time.sleep(0.05)
    pytest.fail(f"{what} did not come")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with running(tmp_path_factory.mktemp("workers")) as one:
        yield one


def told(notes: list[str]) -> Callable[[str], None]:
    return notes.append


def oja() -> tuple[Any, Any]:
    task = get_task("oja")
    return task, task.settings_type(**SIZES)


def marked(folder: str, n: int) -> tuple[int, int]:
    """Leave a mark of this worker, take a moment, and answer from the item alone."""
    Path(folder, f"{n}.{os.getpid()}").touch()
    time.sleep(0.05)
    return n, int(np.random.default_rng(n).integers(2**40))


def fails(n: int) -> int:
    if n == 2:
        raise TaskError("The second one is wrong.")
    return n


@pytest.mark.slow
def test_a_fit_on_a_cluster_is_the_fit_here(cluster: Cluster, tmp_path: Path) -> None:
    task, problems = oja()
    here = fit(task, problems, QUICK, seed=5).to_json()
    notes: list[str] = []
    with (
        Journal(tmp_path / "dask", "p") as journal,
        dask_backend(cluster.address, told(notes), (task, problems), 60),
    ):
        assert fit(JournaledTask(task, journal), problems, QUICK, seed=5).to_json() == here
    assert any("compiling kernels on" in note and "(once)" in note for note in notes)
    with Journal(tmp_path / "local", "p") as journal:
        fit(JournaledTask(task, journal), problems, QUICK, seed=5)
    assert sorted((tmp_path / "dask").read_bytes().splitlines()) == sorted(
        (tmp_path / "local").read_bytes().splitlines()
    )


@pytest.mark.slow
def test_what_was_begun_in_one_place_goes_on_in_the_other(cluster: Cluster, tmp_path: Path) -> None:
    task, problems = oja()
    here = fit(task, problems, QUICK, seed=5).to_json()
    path = tmp_path / "journal"
    with Journal(path, "p") as journal:
        fit(JournaledTask(task, journal), problems, QUICK, seed=5)
    whole = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(whole[: len(whole) // 3]))
    with Journal(path, "p") as journal, dask_backend(cluster.address, silent_note, None, 60):
        assert journal.n_kept > 10
        assert fit(JournaledTask(task, journal), problems, QUICK, seed=5).to_json() == here
    path.write_bytes(path.read_bytes()[:-7])
    with Journal(path, "p") as journal:
        assert journal.n_kept >= len(whole) - 3
        assert fit(JournaledTask(task, journal), problems, QUICK, seed=5).to_json() == here


def silent_note(_: str) -> None:
    """Somebody else reads it."""


@pytest.mark.slow
def test_a_generation_is_shared_out_without_a_trace(cluster: Cluster) -> None:
    task = get_task("ei-balance")
    problems = task.draw(task.settings_type(duration_s=0.5, measured_s=0.2), 3, np.random.SeedSequence(1))
    table = np.random.default_rng(2).normal(0, 0.1, (5, 4))
    rules = [rule_with(task, row) for row in table]
    alone = task.losses_of_rules(rules, problems)
    with dask_backend(cluster.address, silent_note, None, 60) as backend:
        wait_for(lambda: backend.n_workers >= 2, "a second worker")
        shared = losses_of_population(task, rules, problems)
    assert shared.tobytes() == alone.tobytes()


def rule_with(task: Any, values: np.ndarray) -> Any:
    from discover.rule import Rule

    a, b, c, d = (float(value) for value in values)
    return Rule.from_coefficients({"on_pre": {"1": a, "x_post": b}, "on_post": {"1": c, "x_pre": d}})


@pytest.mark.slow
def test_errors_of_the_work_come_back_as_they_are(cluster: Cluster) -> None:
    with (
        dask_backend(cluster.address, silent_note, None, 60),
        pytest.raises(TaskError, match="The second one is wrong"),
    ):
        ordered_map(fails, range(6))


@pytest.mark.slow
def test_a_task_in_a_file_goes_along(cluster: Cluster, tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(
        "from dataclasses import dataclass\n"
        "from discover.tasks.oja import OjaSettings, OjaTask\n"
        "@dataclass(frozen=True)\n"
        "class MySettings(OjaSettings):\n"
        "    mine: int = 3\n"
        "class Mine(OjaTask):\n"
        "    name = 'mine'\n"
        "    settings_type = MySettings\n"
    )
    task = load_task(f"{path}:Mine")
    problems = task.settings_type(**SIZES)
    with dask_backend(cluster.address, silent_note, (task, problems), 60):
        away = fit(task, problems, QUICK, seed=5).to_json()
    assert away == fit(task, problems, QUICK, seed=5).to_json()


@pytest.mark.slow
def test_a_killed_worker_costs_nothing_but_time(cluster: Cluster, tmp_path: Path) -> None:
    cluster.add_worker(n_threads=2)
    victim = cluster.living()[0]
    items, arrivals = range(60), []

    def arrived(number: int, _: Any) -> None:
        arrivals.append(number)
        by_victim = list(tmp_path.glob(f"*.{victim.pid}"))
        if by_victim and victim.poll() is None:
            victim.send_signal(signal.SIGKILL)

    with dask_backend(cluster.address, silent_note, None, 60) as backend:
        wait_for(lambda: backend.n_workers >= 4, "a third worker")
        found = ordered_map(partial(marked, str(tmp_path)), items, arrived)
    assert victim.wait() == -signal.SIGKILL
    assert found == ordered_map(partial(marked, str(tmp_path)), items)
    assert sorted(arrivals) == list(items)


@pytest.mark.slow
def test_a_smoke_run_on_a_cluster_has_the_bytes_of_a_local_one(cluster: Cluster, tmp_path: Path) -> None:
    command = [sys.executable, "-c", "from pipelines.cli import main; main()", "run", "--threads", "1"]
    options = {"local": [], "dask": ["--backend", "dask", "--scheduler", cluster.address]}
    for name, more in options.items():
        done = subprocess.run(
            [*command, "pipelines/oja-smoke.toml", "--results", str(tmp_path / name), *more],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    assert "on the cluster" in (tmp_path / "dask" / "oja-smoke" / "events.jsonl").read_text()
    for name in ("path.json", "front.json", "validation.json", "comparison.json"):
        local, dask = (tmp_path / side / "oja-smoke" / name for side in options)
        assert dask.read_bytes() == local.read_bytes(), name


@pytest.mark.slow
def test_a_lost_scheduler_ends_with_what_to_do(tmp_path: Path) -> None:
    with running(tmp_path / "workers", n_workers=1) as own:

        def arrived(*_: Any) -> None:
            own.scheduler.kill()

        with (
            pytest.raises(ClusterLost, match="was lost"),
            dask_backend(own.address, silent_note, None, 60),
        ):
            ordered_map(partial(marked, str(tmp_path)), range(200), arrived)
        pids = {int(path.suffix[1:]) for path in tmp_path.glob("*.*")}
        assert pids == {own.workers[0].pid}
    assert active().is_local


@pytest.mark.slow
def test_an_address_where_nobody_is() -> None:
    pytest.importorskip("distributed", reason="distributed is not installed: pip install '.[cluster]'")
    address = f"tcp://127.0.0.1:{free_port()}"
    with pytest.raises(ClusterError, match="No Dask scheduler answers at tcp"), dask_backend(address, print):
        pytest.fail("nobody is there")
    found = CliRunner().invoke(app, ["recover", "oja", "--backend", "dask", "--scheduler", "nonsense://x"])
    assert found.exit_code == 2
    assert "No Dask scheduler answers at nonsense" in found.stderr


@pytest.mark.slow
def test_studies_give_the_same_rows(cluster: Cluster) -> None:
    from discover.manifold import manifold
    from discover.recover import recover
    from discover.recover_known import recover_known
    from discover.search.settings import SearchSettings

    task, _ = oja()
    once, few = replace(QUICK, restarts=1), SearchSettings(max_nodes=9)
    balance = get_task("ei-balance")
    short = balance.settings_type(duration_s=0.5, measured_s=0.2)
    tiny = FitSettings(optimiser="cmaes", population=4, steps=2, n_train=2, n_heldout=4)
    with dask_backend(cluster.address, silent_note, None, 60):
        rows = recover(task, [2], 2, once)
        known = recover_known(["terms"], [0.0], 2, few, silent, ["bcm"])
        surface = manifold(balance, short, tiny, 6, 3, n_rate_only=2, n_surface=2).to_json()
    assert json.dumps(surface) == json.dumps(
        manifold(balance, short, tiny, 6, 3, n_rate_only=2, n_surface=2).to_json()
    )
    for row in (*rows, *(here := recover(task, [2], 2, once))):
        del row["seconds"], row["slowest (s)"]
    assert json.dumps(rows) == json.dumps(here)
    assert known == recover_known(["terms"], [0.0], 2, few, silent, ["bcm"])


@pytest.mark.slow
def test_rules_of_a_posterior_are_simulated_on_a_cluster_as_here(cluster: Cluster) -> None:
    from discover.posterior import Budget, family_of_terms
    from discover.posterior.rounds import simulated
    from discover.posterior.simulations import condition_of

    task, _ = oja()
    family = family_of_terms(task, {"feedforward": ["x*y", "w*y**2"]})
    condition = condition_of(task, task.settings_type(), 2)
    budget = Budget(n_prior=128, n_round=64, most_rules=192)
    asked = (task, condition, family, budget, np.random.SeedSequence(6))
    came: list[int] = []
    with dask_backend(cluster.address, silent_note, None, 60):
        there = simulated(*asked, {}, lambda batch: came.append(batch.number))
    here = simulated(*asked, {}, lambda batch: None)
    assert sorted(came) == [0, 1, 2]
    for name in ("values", "passed", "loss", "stage"):
        assert getattr(there, name).tobytes() == getattr(here, name).tobytes(), name


def test_workers_get_the_task_itself_whatever_counts_or_keeps_its_simulations(tmp_path, monkeypatch):
    task = get_task("oja")
    problems = task.draw(task.settings_type(**SIZES), 3, np.random.SeedSequence(0))
    rules = [Rule.parse("x*y"), Rule.parse("x*y - w")]
    sent = []

    def mapped(work, items, arrived=None):
        sent.extend(pickle.loads(pickle.dumps(item)) for item in items)
        return [work(item) for item in items]

    monkeypatch.setattr(spread_module, "active", lambda: SimpleNamespace(is_local=False, n_workers=2))
    monkeypatch.setattr(spread_module, "ordered_map", mapped)
    with Journal(tmp_path / "journal", "p") as journal:
        counted = CountedTask(JournaledTask(task, journal))
        losses = losses_of_population(counted, rules, problems)
    assert [type(item[0]) for item in sent] == [type(task)] * 2
    assert counted.n_simulated == 6
    np.testing.assert_array_equal(losses, [task.losses(rule, problems) for rule in rules])
