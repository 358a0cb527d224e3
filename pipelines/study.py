"""Runs as Python objects: a pipeline is run by one call, and what came of it are attributes.

Reading is lazy: each artefact is read, and checked, when it is asked for.
"""

from __future__ import annotations

import html
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from discover.errors import ConfigError, did_you_mean
from discover.user_tasks import is_file_task
from pipelines import artefacts
from pipelines.backend import Where
from pipelines.config import SCHEMA, PipelineConfig, from_table, load_json, read_toml
from pipelines.runs import RESULTS, Run, find_folder, find_run, locked, run_folder, toml_of
from pipelines.threads import use_threads

if TYPE_CHECKING:
    from discover.fit.result import FitResult
    from discover.forms import Comparison, Validation
    from discover.pareto import ParetoFront
    from discover.rule import Rule

__all__ = ["Study", "carry_out", "open_study", "run"]


@dataclass(frozen=True)
class Study:
    """A run, finished or not.

    Parameters
    ----------
    folder : Path
        Its folder, such as ``results/oja``.
    """

    folder: Path

    @cached_property
    def config(self) -> PipelineConfig:
        """What was run."""
        return load_json(self.folder / "config.json")

    @cached_property
    def path(self) -> FitResult:
        """The coefficient fit: rules along the L1 penalty, and the teacher where there is one."""
        from discover.fit.result import FitResult

        return artefacts.read_stored(self.folder / "path.json", FitResult, self._remedy("fit"))

    @cached_property
    def front(self) -> ParetoFront:
        """Candidates of the symbolic search, and the choice among them."""
        from discover.pareto import ParetoFront

        return artefacts.read_stored(self.folder / "front.json", ParetoFront, self._remedy("search"))

    @cached_property
    def validation(self) -> Validation:
        """Folds of candidates and known rules."""
        from discover.forms import Validation

        return artefacts.read_stored(self.folder / "validation.json", Validation, self._remedy("validate"))

    @cached_property
    def comparison(self) -> Comparison:
        """Candidates beside known rules."""
        from discover.forms import Comparison

        return artefacts.read_stored(self.folder / "comparison.json", Comparison, self._remedy("compare"))

    @property
    def rule(self) -> Rule:
        """The chosen rule."""
        return self.front.chosen.rule

    @property
    def report(self) -> Path:
        """Path of the report, one page that opens offline."""
        return self.folder / "report.html"

    def __repr__(self) -> str:
        return f"Study({str(self.folder)!r})"

    def __str__(self) -> str:
        """What a finished run found; of another one, which stages it has."""
        from pipelines.show import summary_text
        from pipelines.stages import STAGES

        if self._is_finished:
            return summary_text(self.folder)
        return f"{self.folder}: {', '.join(self._done) or 'no stage'} done, of {', '.join(STAGES)}"

    @property
    def _done(self) -> list[str]:
        """The stages whose files are all there."""
        from pipelines.stages import STAGES

        return [
            name for name, stage in STAGES.items()
            if all((self.folder / file).is_file() for file in stage.outputs)
        ]  # fmt: skip

    @property
    def _is_finished(self) -> bool:
        from pipelines.stages import STAGES

        return len(self._done) == len(STAGES)

    def _repr_html_(self) -> str:
        """Return the front of a finished run as a table, and what else is known; else which stages it has."""
        if not self._is_finished:
            return f"<p>{html.escape(str(self))}</p>"
        from pipelines.show import folds_passed, verdict_text

        chosen = self.front.chosen_id
        validated, compared = self.validation.candidates.get(chosen), self.comparison.candidates.get(chosen)
        said = [
            "" if validated is None else folds_passed(validated),
            "" if compared is None else verdict_text(f"the chosen rule {chosen}", compared),
            f"report: {self.report}",
        ]
        paragraphs = "".join(f"<p>{html.escape(one)}</p>" for one in said if one)
        return f"{self.front._repr_html_()}{paragraphs}"

    def _remedy(self, stage: str) -> str:
        return f"`discover {stage} {self.folder}` makes it."


def run(
    pipeline: str | Path,
    *,
    results: str | Path = RESULTS,
    stages: Iterable[str] | None = None,
    fresh: bool = False,
    update: bool = False,
    threads: int | None = None,
    quiet: bool = False,
    **settings: Any,
) -> Study:
    """Run a pipeline; stages that are up to date are left alone.

    Parameters
    ----------
    pipeline : str or Path
        A TOML file (``pipelines/oja.toml``), the name of one (``oja``), or a task of your own,
        ``path/to/file.py:Class``, which then runs with default settings.
    results : str or Path
        Folder in which runs land.
    stages : iterable of str, optional
        Which ones, in their order; all by default.
    fresh : bool
        Whether to run also what is up to date.
    update : bool
        Whether to replace what changed settings concern, also where a run is finished.
    threads : int, optional
        Threads of the kernels; all cores by default.
    quiet : bool
        Whether to say nothing on the way.
    **settings
        What is to be other than in the file: its keys (``seed=3``), and its sections as mappings
        (``problems={"n_inputs": 5}``). Such a run needs a ``name`` of its own where the file's has finished.

    Returns
    -------
    Study

    Raises
    ------
    DiscoverError
        If there is no such pipeline, a setting is impossible, or a stage fails.

    Examples
    --------
    >>> study = run("oja", fit={"restarts": 1}, name="oja-quick")  # doctest: +SKIP
    >>> print(study.rule)  # doctest: +SKIP
    feedforward: 0.42*x*y - 0.42*w*y**2
    """
    used = use_threads(threads)
    from pipelines.stages import KEEP_BOTH_IN_PYTHON, STAGES

    wanted = tuple(STAGES if stages is None else stages)
    for name in wanted:
        if name not in STAGES:
            raise ConfigError(
                f"There is no stage {name[:40]!r}.{did_you_mean(name, STAGES)} Stages: {', '.join(STAGES)}."
            )
    found = _asked_for(str(pipeline), Path(results), settings)
    stream = io.StringIO() if quiet else None
    carry_out(found, wanted, used, fresh, update, stream=stream, remedy=KEEP_BOTH_IN_PYTHON)
    return Study(found.folder)


def open_study(name: str | Path, results: str | Path = RESULTS) -> Study:
    """Return a run that was made before.

    Parameters
    ----------
    name : str or Path
        Its folder, or its name.
    results : str or Path
        Folder of the runs.

    Raises
    ------
    ArtefactError
        If there is no such run.
    """
    return Study(find_folder(str(name), Path(results)))


def carry_out(
    found: Run,
    stages: Iterable[str],
    threads: int,
    fresh: bool = False,
    update: bool = False,
    where: Where | None = None,
    stream: TextIO | None = None,
    remedy: str = "",
) -> None:
    """Run stages with the folder locked.

    Parameters
    ----------
    found : Run
    stages : iterable of str
    threads : int
        Threads that the kernels use.
    fresh, update : bool
        As for :func:`run`.
    where : Where, optional
        Where pieces of work are done; here by default.
    stream : text stream, optional
        Where a person reads; standard error by default.
    remedy : str
        What to do where a finished run would be replaced; options of the command line by default.

    Raises
    ------
    DiscoverError
        If a stage fails.
    """
    names = tuple(stages)
    if "search" in names and "auto" not in found.config.engines:
        from discover.search.engine import resolve

        resolve(found.config.engines)  # an engine that cannot run here is said now, not after the fit
    from discover.tasks import get_task
    from pipelines.events import open_reporter
    from pipelines.stages import KEEP_BOTH, run_stages

    with locked(found.folder):
        reporter = open_reporter(found.folder, stream)
        try:
            prepare = (get_task(found.config.task), found.config.problems)
            with (where or Where()).at_work(reporter, prepare):
                run_stages(
                    found.folder, found.config, names, reporter, threads, fresh, update, remedy or KEEP_BOTH
                )
        finally:
            reporter.close()


def _asked_for(pipeline: str, results: Path, settings: Mapping[str, Any]) -> Run:
    """Find a pipeline, with settings changed."""
    if is_file_task(pipeline):
        table: dict[str, Any] = {"schema": SCHEMA, "task": pipeline}
        name, folder = pipeline.rpartition(":")[2].lower(), Path()
    elif settings:
        path = toml_of(pipeline)
        table, name, folder = read_toml(path), path.stem, path.parent
    else:
        return find_run(pipeline, results, toml_first=True)
    for key, value in settings.items():
        is_section = isinstance(value, Mapping) and isinstance(table.get(key, {}), dict)
        table[key] = {**table.get(key, {}), **value} if is_section else value
    config = from_table(table, source=pipeline, default_name=name, folder=folder)
    return Run(run_folder(results, config.name), config)
