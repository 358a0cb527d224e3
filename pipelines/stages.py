"""The stages of a pipeline: each reads artefacts, calls `discover`, and writes artefacts.

A stage knows which settings, which code and which files its result depends on. When none of them changed
since it last finished it has nothing to do, and only touches its files so that `make` is content.
"""

from __future__ import annotations

import importlib
import os
import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from discover.errors import ArtefactError
from discover.forms import StageRecord
from discover.progress import Progress
from discover.stored import Artefact
from pipelines import artefacts
from pipelines.config import PipelineConfig
from pipelines.events import Reporter
from pipelines.fresh import FreshRequest
from pipelines.manifest import Manifest, digest, versions
from pipelines.records import OWN_STAGES, finished, settings_digest, wanted_record

if TYPE_CHECKING:
    from discover.journal import Journal
    from discover.rule import Rule

_Artefact = TypeVar("_Artefact", bound=Artefact)

__all__ = [
    "KEEP_BOTH",
    "KEEP_BOTH_IN_PYTHON",
    "STAGES",
    "Context",
    "Outcome",
    "Stage",
    "are_up_to_date",
    "check_inputs",
    "journal_of",
    "producer_of",
    "run_stages",
    "stage_seed",
]


PYSR_FOLDER = "pysr"
"""Folder of a run in which PySR leaves its files."""

KEEP_BOTH_IN_PYTHON = (
    'To keep both, give this one another name, name="...", or another folder, results="...". To replace it, '
    "add fresh=True, or update=True to run again only what changed."
)
KEEP_BOTH = (
    "To keep both, choose another folder with --results DIR or another name in the TOML file. To replace it, "
    "add --fresh, or --update to run again only what changed."
)


@dataclass(frozen=True)
class Context:
    """What a stage works with.

    Parameters
    ----------
    folder : Path
        Folder of the run.
    config : PipelineConfig
        What to run.
    seed : int
        Seed of this stage's random numbers.
    progress : Progress
        Called with the fraction done and a message.
    journal : Journal
        Keeps what the task's simulations give, so that a stage that was cut off goes on where it was.
    """

    folder: Path
    config: PipelineConfig
    seed: int
    progress: Progress
    journal: Journal

    @property
    def task(self) -> Any:
        """The task that the pipeline names."""
        from discover.journal import JournaledTask
        from discover.tasks import get_task

        return JournaledTask(get_task(self.config.task), self.journal)

    def read(self, name: str, form: type[_Artefact]) -> _Artefact:
        """Read an artefact of the run."""
        return artefacts.read_stored(self.folder / name, form, _remedy(name, self.folder))


@dataclass(frozen=True)
class Outcome:
    """What a stage has to write when it is done.

    Parameters
    ----------
    write : callable
        Writes the stage's files.
    engine : tuple of str
        Engines that ran.
    """

    write: Callable[[], object]
    engine: tuple[str, ...] = ()


@dataclass(frozen=True)
class Stage:
    """One stage.

    Parameters
    ----------
    number : int
        Spawn key of the stage's random numbers; never to be changed, or old seeds give new results.
    sections : tuple of str
        Sections of the configuration that the result depends on, besides task and seed.
    modules : tuple of str
        Code that the result depends on, with everything it imports.
    inputs, outputs : tuple of str
        Files of the run's folder, read and written.
    work : callable
        Does it.
    """

    number: int
    sections: tuple[str, ...]
    modules: tuple[str, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    work: Callable[[Context], Outcome]


def simulate(context: Context) -> Outcome:
    """Record what synapses see and do under the baseline rules: ``trajectories.npz``."""
    from discover.tasks import collect

    config = context.config
    context.task.check(config.problems)
    arrays = collect(context.task, config.problems, context.seed, context.progress)
    path = context.folder / "trajectories.npz"
    return Outcome(lambda: artefacts.write_arrays(path, "trajectories", arrays))


def fit(context: Context) -> Outcome:
    """Fit the coefficients of the polynomial basis along the L1 path: ``path.json``."""
    from discover.fit import fit as fit_path

    config = context.config
    result = fit_path(context.task, config.problems, config.fit, context.seed, context.progress)
    path = context.folder / "path.json"
    return Outcome(lambda: artefacts.write_json(path, result))


def search(context: Context) -> Outcome:
    """Search for expressions beyond the basis: ``front.json`` and ``front.csv``."""
    from discover.fit.result import FitResult
    from discover.search import search as search_front

    config, folder = context.config, context.folder
    settings = config.search
    if not settings.pysr.output_folder:
        settings = replace(settings, pysr=replace(settings.pysr, output_folder=str(folder / PYSR_FOLDER)))
    front = search_front(
        context.task,
        config.problems,
        context.read("path.json", FitResult),
        artefacts.read_arrays(folder / "trajectories.npz", "trajectories"),
        settings,
        context.seed,
        context.progress,
        engines=config.engines,
    )

    def write() -> None:
        artefacts.write_json(folder / "front.json", front)
        artefacts.write_csv(folder / "front.csv", front.rows())

    return Outcome(write, engine=front.engines)


def validate(context: Context) -> Outcome:
    """Try the candidates under conditions that they were not fitted on: ``validation.json``."""
    from discover.validate import validate as cross_validate

    config = context.config
    result = cross_validate(
        context.task, config.problems, _candidates(context), config.validate, context.seed, context.progress
    )
    path = context.folder / "validation.json"
    return Outcome(lambda: artefacts.write_json(path, result))


def compare(context: Context) -> Outcome:
    """Compare candidates with published rules, a baseline and their own parts: ``comparison.json``."""
    from discover.ablate import ablate
    from discover.baseline import beside_baseline
    from discover.comparison import compare_candidates
    from discover.contest import contest
    from discover.fit.result import FitResult
    from discover.pareto import ParetoFront
    from discover.progress import part

    config, task, candidates = context.config, context.task, _candidates(context)
    ends = ((0, 0.5), (0.5, 0.6), (0.6, 0.9), (0.9, 1))
    first, second, third, fourth = (part(context.progress, *pair) for pair in ends)
    result = compare_candidates(task, config.problems, candidates, config.compare, context.seed, first)
    name = context.read("front.json", ParetoFront).chosen_id
    path_of_fit = context.read("path.json", FitResult)
    chosen = candidates[name]
    n_judged, n_tuning, refine_steps = config.compare.effort(task)
    ablations = ablate(task, config.problems, chosen, n_judged, context.seed, second)
    contests = contest(
        task,
        config.problems,
        chosen,
        n_judged,
        context.seed,
        third,
        n_tuning=n_tuning,
        refine_steps=refine_steps,
    )
    baseline = beside_baseline(
        task, config.problems, candidates, name, path_of_fit, n_judged, context.seed, fourth
    )
    content = replace(result, ablations=ablations, contests=contests, baseline=baseline)
    return Outcome(lambda: artefacts.write_json(context.folder / "comparison.json", content))


def report(context: Context) -> Outcome:
    """Draw the figures and write the report: ``report.html`` and ``figures/``."""
    from discover.report import write_report

    return Outcome(lambda: write_report(context.folder))


STAGES: Mapping[str, Stage] = {
    "simulate": Stage(1, ("problems",), ("discover.tasks",), (), ("trajectories.npz",), simulate),
    "fit": Stage(2, ("problems", "fit"), ("discover.tasks", "discover.fit"), (), ("path.json",), fit),
    "search": Stage(
        3,
        ("problems", "search"),
        ("discover.tasks", "discover.search"),
        ("trajectories.npz", "path.json"),
        ("front.json", "front.csv"),
        search,
    ),
    "validate": Stage(
        4,
        ("problems", "validate"),
        ("discover.tasks", "discover.validate"),
        ("front.json",),
        ("validation.json",),
        validate,
    ),
    "compare": Stage(
        5,
        ("problems", "compare"),
        ("discover.tasks", "discover.comparison", "discover.ablate", "discover.contest", "discover.baseline"),
        ("path.json", "front.json"),
        ("comparison.json",),
        compare,
    ),
    "report": Stage(
        6,
        (),
        ("discover.report",),
        ("trajectories.npz", "path.json", "front.json", "validation.json", "comparison.json"),
        ("report.html",),
        report,
    ),
}
"""The stages in their order."""


def stage_seed(root: int, stage: str) -> int:
    """Return the seed of a stage's random numbers.

    Parameters
    ----------
    root : int
        Seed of the run.
    stage : str
        Name of the stage.

    Examples
    --------
    >>> stage_seed(0, "fit") == stage_seed(0, "fit") != stage_seed(0, "search")
    True
    """
    import numpy as np

    sequence = np.random.SeedSequence(root, spawn_key=(STAGES[stage].number,))
    return int(sequence.generate_state(1)[0])


def run_stages(
    folder: Path,
    config: PipelineConfig,
    names: Iterable[str],
    reporter: Reporter,
    threads: int = 1,
    fresh: bool = False,
    update: bool = False,
    remedy: str = KEEP_BOTH,
) -> None:
    """Run stages one after the other; those that are up to date are left alone.

    Parameters
    ----------
    folder : Path
        Folder of the run; it must be locked (:func:`pipelines.runs.locked`).
    config : PipelineConfig
        What to run; written into the folder as ``config.json``.
    names : iterable of str
        Stages, in their order.
    reporter : Reporter
        Where to say what is going on.
    threads : int
        Number of threads that the kernels use, for the manifest.
    fresh : bool
        Whether to run stages that are up to date all the same. A run of this kind that was cut off is taken
        up where it was.
    update : bool
        Whether stages of a finished run may be replaced because their settings changed.
    remedy : str
        What to do where a finished run with other settings would be replaced.

    Raises
    ------
    DiscoverError
        When an earlier stage's file is missing or was edited, a stage fails, or a finished run with other
        settings would be overwritten.
    """
    names = tuple(names)
    artefacts.remove_leftovers(folder)
    request = FreshRequest(folder, digest(config.to_dict()))
    is_new = fresh and request.asked != names
    nothing_done = is_new or request.left == request.asked
    manifest = Manifest(folder, empty=fresh and nothing_done and names == tuple(STAGES))
    if not (fresh or update or request.left):
        wanted = {name: settings_digest(STAGES[name], config) for name in names}
        manifest.check_not_overwritten(STAGES, wanted, remedy)
    artefacts.write_text(folder / "config.json", artefacts.to_text(config.to_dict()))
    if is_new:
        check_inputs(names[0], config, manifest)
        for name in names:
            _remove(_journal_path(name, folder))
        if "search" in names:
            _remove(folder / PYSR_FOLDER)
        request.ask(names)
    for name in names:
        check_inputs(name, config, manifest)
        record = wanted_record(name, STAGES[name], config, folder, threads)
        if name not in request.left and manifest.is_up_to_date(name, record):
            _touch(folder, STAGES[name].outputs)
            _remove(_journal_path(name, folder))  # a run may have been killed just before it did that itself
            reporter.up_to_date(name)
        else:
            _run_stage(name, config, record, manifest, reporter)
        request.done(name)


def _run_stage(
    name: str,
    config: PipelineConfig,
    wanted: StageRecord,
    manifest: Manifest,
    reporter: Reporter,
) -> None:
    folder, started = manifest.folder, time.perf_counter()
    with reporter.stage(name) as progress, journal_of(name, folder, wanted) as journal:
        if journal.n_kept:
            progress(0.0, f"going on after {journal.n_kept} simulations that an earlier run had done")
        work = _work_of(name, config.task)
        outcome = work(Context(folder, config, stage_seed(config.seed, name), progress, journal))
        # The old record goes when the old files do, not before: a stage that fails leaves all as it was.
        manifest.write(config, wanted.threads, name, None)
        try:
            outcome.write()
        except OSError as error:
            artefacts.unwritable(Path(error.filename) if error.filename else folder, error)
        written = {
            path.relative_to(folder).as_posix(): artefacts.checksum(path) for path in _files(folder, name)
        }
        manifest.write(config, wanted.threads, name, finished(wanted, written, started, outcome.engine))
        journal.remove()


def _work_of(name: str, task: str) -> Callable[[Context], Outcome]:
    """Return what a stage does; a task of data from outside has a module of its own for it."""
    if task not in OWN_STAGES:
        return STAGES[name].work
    work: Callable[[Context], Outcome] = getattr(importlib.import_module(OWN_STAGES[task][-1]), name)
    return work


def journal_of(name: str, folder: Path, wanted: StageRecord) -> Journal:
    """Return the stage's journal; it goes on where settings, code, inputs and libraries are the same."""
    from discover.journal import Journal

    purpose = {
        "settings": wanted.settings,
        "code": wanted.code,
        "inputs": wanted.inputs,
        "versions": versions(),
    }
    return Journal(_journal_path(name, folder), digest(purpose))


def _journal_path(name: str, folder: Path) -> Path:
    return folder / f".{name}.journal"


def _remove(path: Path) -> None:
    """Remove what an earlier run left; of a link the link alone."""
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        artefacts.unwritable(path, error)


def are_up_to_date(folder: Path, config: PipelineConfig, names: Iterable[str]) -> bool:
    """Say whether stages of a run have nothing to do; nothing is written.

    Raises
    ------
    ArtefactError
        When a file of the run was edited or cannot be read.
    """
    manifest = Manifest(folder)
    return all(
        manifest.is_up_to_date(name, wanted_record(name, STAGES[name], config, folder)) for name in names
    )


def check_inputs(name: str, config: PipelineConfig, manifest: Manifest, remade: Iterable[str] = ()) -> None:
    """Make sure that a stage can read what it reads.

    Parameters
    ----------
    name : str
        The stage.
    config : PipelineConfig
    manifest : Manifest
    remade : iterable of str
        Stages that will run before, so that their files need not be there.

    Raises
    ------
    ArtefactError
        When a file is missing, was edited, or was made with other settings.
    """
    for file in STAGES[name].inputs:
        producer = producer_of(file)
        if producer in remade:
            continue
        record = manifest.record(producer)
        path = manifest.folder / file
        if record is None and not path.exists():
            raise _unfit(name, path, "is not there")
        if record is None:
            raise _unfit(name, path, "was left by a run that did not finish")
        manifest.check_outputs(producer)
        if record.settings != settings_digest(STAGES[producer], config):
            raise _unfit(name, path, "was made with other settings than the run has now")


def _unfit(name: str, path: Path, state: str) -> ArtefactError:
    return ArtefactError(f"The {name} stage needs {path}, which {state}. {_remedy(path.name, path.parent)}")


def _candidates(context: Context) -> dict[str, Rule]:
    """Return the rules on the front, and the chosen one, by their names."""
    from discover.pareto import ParetoFront

    front = context.read("front.json", ParetoFront)
    return {one.id: one.rule for one in front.candidates if one.on_front or one.id == front.chosen_id}


def producer_of(file: str) -> str:
    """Return the stage that makes a file."""
    return next(name for name, stage in STAGES.items() if file in stage.outputs)


def _remedy(file: str, folder: Path) -> str:
    return f"Make it: `discover {producer_of(file)} {folder}`, or all stages: `discover run {folder}`."


def _files(folder: Path, name: str) -> list[Path]:
    files = [folder / file for file in STAGES[name].outputs]
    return [*files, *sorted((folder / "figures").glob("*"))] if name == "report" else files


def _touch(folder: Path, files: Iterable[str]) -> None:
    for file in files:
        try:
            os.utime(folder / file)
        except OSError as error:
            artefacts.unwritable(folder / file, error)
