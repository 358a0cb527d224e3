"""What a run would do, and why: `discover run --dry-run`. Nothing is written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from discover.errors import DiscoverError
from discover.forms import StageRecord
from pipelines.config import PipelineConfig
from pipelines.fresh import FreshRequest
from pipelines.look import PLAIN, Look
from pipelines.manifest import Manifest, digest
from pipelines.records import settings_digest, wanted_record
from pipelines.stages import KEEP_BOTH, STAGES, check_inputs, journal_of, producer_of

__all__ = ["Plan", "Step", "is_made_for", "plan_run", "plan_text"]

Action = Literal["up to date", "will run", "may run"]

NEVER = "it has not run"
ASKED = "--fresh asks for it"
CUT_OFF = "an earlier --fresh, which was cut off, asks for it"


@dataclass(frozen=True)
class Step:
    """What one stage would do.

    Attributes
    ----------
    stage : str
    action : str
        ``may run`` where it depends on what earlier stages give.
    why : tuple of str
        Reasons; none where it is up to date.
    """

    stage: str
    action: Action
    why: tuple[str, ...] = ()


@dataclass(frozen=True)
class Plan:
    """What a run would do.

    Attributes
    ----------
    folder : Path
    steps : tuple of Step
        Stage by stage; they end where the run would be refused.
    refused : str
        Why the run would end with an error, and what to do; empty where it would not.
    """

    folder: Path
    steps: tuple[Step, ...]
    refused: str = ""

    def facts(self) -> dict[str, Any]:
        """Return the plan for programs."""
        steps = [{"stage": one.stage, "action": one.action, "why": list(one.why)} for one in self.steps]
        return {"run": str(self.folder), "stages": steps, "refused": self.refused or None}


def plan_run(
    folder: Path, config: PipelineConfig, names: Iterable[str], fresh: bool = False, update: bool = False
) -> Plan:
    """Say what :func:`pipelines.stages.run_stages` would do; nothing is written.

    Parameters
    ----------
    folder : Path
        Folder of the run, which may not be there.
    config : PipelineConfig
    names : iterable of str
        Stages, in their order.
    fresh, update : bool
        As there.
    """
    from discover.search.engine import resolve

    names, steps = tuple(names), list[Step]()
    try:
        if "search" in names and "auto" not in config.engines:
            resolve(config.engines)
        request = FreshRequest(folder, digest(config.to_dict()))
        is_new = fresh and request.asked != names
        nothing_done = is_new or request.left == request.asked
        manifest = Manifest(folder, empty=fresh and nothing_done and names == tuple(STAGES))
        if not (fresh or update or request.left):
            wanted = {name: settings_digest(STAGES[name], config) for name in names}
            manifest.check_not_overwritten(STAGES, wanted, KEEP_BOTH)
        asked = dict.fromkeys(*((names, ASKED) if is_new else (request.left, CUT_OFF)))
        for name in names:
            steps.append(_step(name, config, manifest, asked, steps))
    except DiscoverError as error:
        return Plan(folder, tuple(steps), str(error))
    return Plan(folder, tuple(steps))


def is_made_for(folder: Path, config: PipelineConfig, name: str) -> bool:
    """Say whether a stage's files are there, whole, and of these settings and inputs, by whatever code.

    Raises
    ------
    ArtefactError
        When a file was edited or cannot be read.
    """
    manifest = Manifest(folder)
    request = FreshRequest(folder, digest(config.to_dict()))
    if name in request.left or manifest.record(name) is None:
        return False
    if set(manifest.changes(name, wanted_record(name, STAGES[name], config, folder))) - {"code"}:
        return False
    manifest.check_outputs(name)
    return True


def _step(
    name: str, config: PipelineConfig, manifest: Manifest, asked: Mapping[str, str], before: list[Step]
) -> Step:
    folder, inputs = manifest.folder, STAGES[name].inputs
    running = {one.stage for one in before if one.action != "up to date"}
    check_inputs(name, config, manifest, {one.stage for one in before if one.action == "will run"})
    if name in asked:
        return Step(name, "will run", (asked[name],))
    wanted = wanted_record(name, STAGES[name], config, folder)
    fed = [file for file in inputs if producer_of(file) in running]
    changes = manifest.changes(name, wanted)
    reasons = (_reason(part, name, config, manifest, wanted, fed) for part in changes)
    why = tuple(filter(None, reasons))
    with journal_of(name, folder, wanted) as journal:
        if why and journal.n_kept and not fed:
            why = (*why, f"it goes on after {journal.n_kept} simulations that were kept")
    if why:
        return Step(name, "will run", why)
    if fed:
        return Step(name, "may run", (f"if {' or '.join(fed)} changes",))
    manifest.check_outputs(name)
    return Step(name, "up to date")


def _reason(
    part: str, name: str, config: PipelineConfig, manifest: Manifest, wanted: StageRecord, fed: list[str]
) -> str:
    """Say what changed; nothing of inputs that an earlier stage makes again."""
    record = manifest.record(name)
    if record is None:
        return NEVER
    if part == "settings":
        return f"settings changed{_changed_settings(name, config, manifest)}"
    if part == "inputs":
        files = dict.fromkeys([*wanted.inputs, *record.inputs])
        changed = [file for file in files if wanted.inputs.get(file) != record.inputs.get(file)]
        changed = [file for file in changed if file not in fed]
        return f"{', '.join(changed)} changed" if changed else ""
    if part == "outputs":
        gone = [file for file in record.outputs if not (manifest.folder / file).exists()]
        return f"{gone[0]} is missing" + (f", and {len(gone) - 1} more" if len(gone) > 1 else "")
    return "the code changed"


def _changed_settings(name: str, config: PipelineConfig, manifest: Manifest) -> str:
    """Name the settings of a stage that are not those of the run's last configuration, where they tell."""
    old, new = manifest.config, config.to_dict()
    parts = ("task", "seed", *STAGES[name].sections)
    changed = [key for part in parts for key in _differing(part, old.get(part), new.get(part))]
    return f": {', '.join(changed)}" if changed else ""


def _differing(key: str, old: Any, new: Any) -> list[str]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        names = dict.fromkeys([*old, *new])
        return [one for name in names for one in _differing(f"{key}.{name}", old.get(name), new.get(name))]
    return [] if old == new else [key]


def plan_text(plan: Plan, look: Look = PLAIN) -> str:
    """Return a plan as a table."""
    rows = [[one.stage, one.action, "; ".join(one.why) or None] for one in plan.steps]
    if plan.refused:
        rows += [[name, "refused", None] for name in list(STAGES)[len(rows) : len(rows) + 1]]
    return "\n".join([look.prose(f"run: {plan.folder}"), look.table(["stage", "action", "why"], rows)])
