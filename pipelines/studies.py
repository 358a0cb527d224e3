"""Studies beside the stages of a run: the manifold of rules that balance a neuron."""

from __future__ import annotations

from discover.errors import ArtefactError
from discover.progress import Progress
from pipelines import artefacts
from pipelines.runs import Run

__all__ = ["study_manifold"]


def study_manifold(found: Run, restarts: int, progress: Progress) -> dict[str, str]:
    """Write ``manifold.json`` and its figure into a run's folder; return the answers in words.

    Raises
    ------
    TaskError
        If the task has no such manifold.
    ArtefactError
        If a file cannot be written.
    """
    from discover.manifold import manifold
    from discover.report.spiking_figures import MANIFOLD, manifold_figure
    from discover.report.style import save, styled
    from discover.tasks import get_task
    from pipelines.stages import stage_seed

    config = found.config
    result = manifold(
        get_task(config.task), config.problems, config.fit, restarts, stage_seed(config.seed, "fit"), progress
    )
    content = result.to_json()
    artefacts.write_json(found.folder / "manifold.json", artefacts.Manifold, content)
    try:
        with styled():
            save(manifold_figure(content), found.folder / "figures", MANIFOLD)
    except OSError as error:
        raise ArtefactError(
            f"The figure of {found.folder / 'manifold.json'} was not written: {error}."
        ) from error
    return result.answers()
