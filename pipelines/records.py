"""What a stage depends on now, as checksums."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from discover.forms import StageRecord
from discover.seed_study import find_study
from pipelines import artefacts
from pipelines.config import PipelineConfig
from pipelines.manifest import digest
from pipelines.sources import code_hash

if TYPE_CHECKING:
    from pipelines.stages import Stage

__all__ = ["OWN_STAGES", "code_of", "finished", "settings_digest", "wanted_record"]

OWN_STAGES: Mapping[str, tuple[str, ...]] = {"pairing": ("discover.pairing", "pipelines.pairing")}
"""Tasks whose stages are not those of networks -> code that they depend on, that of the stages last."""

LATER: Mapping[str, Mapping[str, Any]] = {
    "fit": {"n_starts": 1, "first_share": 1.0, "elimination": "refitted"},
    "search": {"task_degree": 0, "task_problems": 8, "task_first": 0},
}
"""Section -> settings that older runs do not have, with the value that does what these did.

Older runs stay up to date with such a value: a new setting is no other setting.
"""


def wanted_record(
    name: str, stage: Stage, config: PipelineConfig, folder: Path, threads: int = 1
) -> StageRecord:
    """Return the record that a stage would leave now; of what it reads, with the files that are there."""
    there = [file for file in stage.inputs if (folder / file).exists()]
    inputs = {file: artefacts.checksum(folder / file) for file in there}
    study = find_study(folder, config.name) if name == "report" else None
    if study is not None:
        inputs[study.name] = artefacts.checksum(study)
    return StageRecord(
        settings=settings_digest(stage, config),
        code=code_of(stage.modules, config.task),
        inputs=inputs,
        outputs={},
        seconds=0.0,
        threads=threads,
    )


def finished(
    wanted: StageRecord, outputs: Mapping[str, str], started: float, engine: tuple[str, ...] = ()
) -> StageRecord:
    """Return the record of a stage that has just finished.

    Parameters
    ----------
    wanted : StageRecord
        What it was made from.
    outputs : mapping from str to str
        Files that it wrote -> their checksums.
    started : float
        When it began, by :func:`time.perf_counter`.
    engine : tuple of str
    """
    now = datetime.now(UTC).isoformat(timespec="seconds")
    seconds = time.perf_counter() - started
    return replace(wanted, outputs=outputs, seconds=seconds, engine=engine, finished=now)


def code_of(modules: Iterable[str], task: str) -> str:
    """Return the checksum of modules, with the file of a task from outside of this package."""
    from discover.user_tasks import source_of

    code, path = code_hash((*modules, *OWN_STAGES.get(task, ()))), source_of(task)
    return code if path is None else digest({"package": code, "task": artefacts.checksum(path)})


def settings_digest(stage: Stage, config: PipelineConfig) -> str:
    """Return the checksum of the settings that a stage depends on."""
    sections = {section: _without_later(section, config.section(section)) for section in stage.sections}
    return digest({"task": config.task, "seed": config.seed, **sections, **_data_digest(config)})


def _without_later(section: str, settings: Any) -> Any:
    """Return the settings of a section without those that came later and ask for what was always done."""
    later = LATER.get(section, {})
    if not isinstance(settings, Mapping) or not later:
        return settings
    return {key: value for key, value in settings.items() if key not in later or value != later[key]}


def _data_digest(config: PipelineConfig) -> dict[str, str]:
    """Return the checksum of the data from outside that a task is about, where it is about such."""
    from discover.tasks import get_task

    data = get_task(config.task).data_digest(config.problems)
    return {"data": data} if data else {}
