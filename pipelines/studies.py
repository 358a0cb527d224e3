"""Studies beside the stages of a run: how often rules are found again, and all rules that balance a neuron.

What a study has found is kept in a journal until its end: one that was cut off goes on there when the same
command is given again, with the same result.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from discover.errors import ArtefactError
from discover.progress import Progress
from pipelines import artefacts
from pipelines.runs import Run, locked

if TYPE_CHECKING:
    from discover.journal import Journal

__all__ = ["study_manifold", "study_recovery", "study_recovery_of_known"]

Rows = list[dict[str, Any]]


def study_recovery(
    results: Path,
    task_name: str,
    sizes: Sequence[int],
    outputs: Sequence[int],
    n_seeds: int,
    presets: Sequence[str],
    progress: Progress,
) -> tuple[Path, Rows]:
    """Find a task's known rule again, at several sizes or under published settings; write the table.

    Returns
    -------
    path : Path
        ``recover-TASK/table.csv`` in `results`.
    rows : list of dict
        See :func:`discover.recover.recover` and :func:`discover.recover.recover_presets`.

    Raises
    ------
    TaskError
        If the task has no such rule, or no such size is possible.
    ArtefactError
        If a file cannot be written, or another process is at work there.
    """
    from discover.recover import recover, recover_presets
    from discover.user_tasks import load_task
    from pipelines.records import code_of

    task = load_task(task_name)
    if task.name == "pairing":
        return _recovery_of_pairing(results, n_seeds, progress)
    code = code_of(("discover.tasks", "discover.recover"), task_name)
    with _kept(results, f"recover-{task.name}", {"task": task_name, "code": code}, progress) as study:
        if presets:
            return study.end(recover_presets(task, presets, progress=progress, journal=study.journal))
        return study.end(
            recover(task, sizes, n_seeds, progress=progress, outputs=outputs, journal=study.journal)
        )


def _recovery_of_pairing(results: Path, n_seeds: int, progress: Progress) -> tuple[Path, Rows]:
    """Make changes of pairing experiments by several laws, and count which are told apart."""
    from discover.pairing.recovery import recover_laws
    from pipelines.sources import code_hash

    purpose = {"task": "pairing", "code": code_hash(("discover.pairing.recovery",))}
    with _kept(results, "recover-pairing", purpose, progress) as study:
        return study.end(recover_laws(n_seeds, progress=progress))


def study_recovery_of_known(
    results: Path,
    engines: Sequence[str],
    noises: Sequence[float],
    n_seeds: int,
    names: Sequence[str],
    progress: Progress,
) -> tuple[Path, Rows]:
    """Let engines find known updates from samples; write the table.

    Returns
    -------
    path : Path
        ``recover-known/table.csv`` in `results`.
    rows : list of dict
        See :func:`discover.recover_known.recover_known`.

    Raises
    ------
    EngineError
        If an engine is unknown, is not usable here, or fails, or there is no such rule.
    ArtefactError
        If a file cannot be written, or another process is at work there.
    """
    from discover.recover_known import recover_known
    from pipelines.sources import code_hash

    purpose = {"code": code_hash(("discover.recover_known",))}
    with _kept(results, "recover-known", purpose, progress) as study:
        rows = recover_known(engines, noises, n_seeds, progress=progress, names=names, journal=study.journal)
        return study.end(rows)


@dataclass(frozen=True)
class _Study:
    path: Path
    journal: Journal

    def end(self, rows: Rows) -> tuple[Path, Rows]:
        """Write the table and forget what led to it."""
        artefacts.write_csv(self.path, rows)
        self.journal.remove()
        return self.path, rows


@contextmanager
def _kept(results: Path, name: str, purpose: dict[str, Any], progress: Progress) -> Iterator[_Study]:
    """Hold the folder of a study, and open its journal."""
    from discover.journal import Journal
    from pipelines.manifest import digest, versions

    folder = results / name
    with locked(folder), Journal(folder / ".journal", digest({**purpose, "versions": versions()})) as journal:
        if journal.n_kept:
            progress(0.0, f"going on after {journal.n_kept} results that an earlier study had")
        yield _Study(folder / "table.csv", journal)


def study_manifold(found: Run, restarts: int, progress: Progress) -> Mapping[str, str]:
    """Write ``manifold.json`` and its figure into a run's folder; return the answers in words.

    What each restart found is kept until then: a study that was cut off goes on behind the last one that was
    done, with the same result.

    Raises
    ------
    TaskError
        If the task has no such manifold.
    ArtefactError
        If a file cannot be written.
    """
    from discover.journal import Journal
    from discover.manifold import manifold
    from discover.report.spiking_figures import MANIFOLD, manifold_figure
    from discover.report.style import save, styled
    from discover.tasks import get_task
    from pipelines.manifest import digest
    from pipelines.records import code_of
    from pipelines.stages import stage_seed

    config = found.config
    purpose = digest(
        {
            "task": config.task,
            "seed": config.seed,
            "problems": config.section("problems"),
            "fit": config.section("fit"),
            "code": code_of(("discover.tasks", "discover.manifold"), config.task),
        }
    )
    with Journal(found.folder / ".manifold.journal", purpose) as journal:
        if journal.n_kept:
            progress(0.0, f"going on after {journal.n_kept} results that an earlier study had")
        result = manifold(
            get_task(config.task),
            config.problems,
            config.fit,
            restarts,
            stage_seed(config.seed, "fit"),
            progress,
            journal=journal,
        )
        artefacts.write_json(found.folder / "manifold.json", result)
        journal.remove()
    try:
        with styled():
            save(manifold_figure(result), found.folder / "figures", MANIFOLD)
    except OSError as error:
        raise ArtefactError(
            f"The figure of {found.folder / 'manifold.json'} was not written: {error}."
        ) from error
    return result.answers
