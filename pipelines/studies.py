"""Studies beside the stages of a run: the manifold of rules that balance a neuron."""

from __future__ import annotations

from discover.errors import ArtefactError
from discover.progress import Progress
from pipelines import artefacts
from pipelines.runs import Run

__all__ = ["study_manifold"]


def study_manifold(found: Run, restarts: int, progress: Progress) -> dict[str, str]:
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
    from pipelines.stages import code_of, stage_seed

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
        content = result.to_json()
        artefacts.write_json(found.folder / "manifold.json", artefacts.Manifold, content)
        journal.remove()
    try:
        with styled():
            save(manifold_figure(content), found.folder / "figures", MANIFOLD)
    except OSError as error:
        raise ArtefactError(
            f"The figure of {found.folder / 'manifold.json'} was not written: {error}."
        ) from error
    return result.answers()
