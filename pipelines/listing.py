"""`discover runs`: how far runs are, and what they found.

Nothing is written, and a damaged run does not end the list.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from discover.checked import open_plain, parse_json
from discover.errors import ArtefactError, DiscoverError
from discover.forms import Comparison
from discover.intervals import Metric
from discover.pareto import ParetoFront
from discover.stored import read_bytes, read_stored
from pipelines.look import PLAIN, Look
from pipelines.manifest import Manifest
from pipelines.show import in_one_line, published, rule_text
from pipelines.stages import STAGES

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

__all__ = ["runs_in", "runs_text"]

_END_OF_LOG = 65_536
"""So many bytes at the end of ``events.jsonl`` are read: the last events stand there."""

_FACTS = (
    "task", "seed", "state", "stage", "stages", "done", "why", "candidate", "rule", "slots", "loss",
    "heldout_loss", "verdict", "nearest",
)  # fmt: skip

_OF_A_SIGNAL = ("KeyboardInterrupt", "Interrupted", "SystemExit", "Exit")
"""Errors of a stage that somebody ended."""


def runs_in(folder: Path) -> list[dict[str, Any]]:
    """Return what is known of every run in a folder, or of one run, by name.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    list of dict
        ``run`` (its folder), ``task``, ``seed``, ``state`` (``finished``, ``running``, ``interrupted``,
        ``failed``, ``unfinished`` or ``damaged``), ``stage`` (the one that is running, was interrupted or
        failed), ``stages`` (all that there are), ``done`` (those that have finished), ``why`` (it is damaged
        or failed), ``candidate``, ``rule``, ``slots``, ``loss`` (mean, low, high, n_problems; None where
        there are no test problems), ``heldout_loss``, ``verdict`` and ``nearest``; None where something is
        not known.

    Raises
    ------
    ArtefactError
        If there is no such folder.
    """
    if not os.path.isdir(folder):
        raise ArtefactError(f"There is no folder {folder}. Runs land in results/, or where --results says.")
    if os.path.isfile(folder / "config.json"):
        return [_run(folder)]
    return [_run(path.parent) for path in sorted(folder.glob("*/config.json"))]


def _run(folder: Path) -> dict[str, Any]:
    facts: dict[str, Any] = {"run": str(folder), **dict.fromkeys(_FACTS)}
    try:
        config = _settings(folder)
        facts |= {"task": config.get("task"), "seed": config.get("seed")}
        facts |= _state(folder)
        facts |= _found(folder)
    except DiscoverError as error:
        facts |= {"state": "damaged", "why": str(error)}
    return facts


def _settings(folder: Path) -> Mapping[str, Any]:
    try:
        content = parse_json(read_bytes(folder / "config.json"))
    except ValueError as error:
        raise ArtefactError(f"{folder / 'config.json'} cannot be read: {error}.") from None
    if not isinstance(content, dict):
        raise ArtefactError(f"{folder / 'config.json'} holds no configuration.")
    return content


def _state(folder: Path) -> dict[str, Any]:
    """Return which stages are done, and what became of the last one that was not."""
    manifest = Manifest(folder)
    stages = ["infer"] if manifest.record("infer") is not None else list(STAGES)
    done = [stage for stage in stages if manifest.record(stage) is not None]
    last = _last_event(folder)
    known, at_work = {"stages": stages, "done": done}, {"stage": last.get("stage") or None}
    if _is_locked(folder):
        return {**known, **at_work, "state": "running"}
    if len(done) == len(stages):
        return {**known, "state": "finished"}
    if last.get("event") == "stopped":
        why = str(last.get("message", ""))
        if why.partition(":")[0] not in _OF_A_SIGNAL:
            return {**known, **at_work, "state": "failed", "why": why}
    elif last.get("event") not in ("start", "progress", "note"):
        return {**known, "state": "unfinished"}
    return {**known, **at_work, "state": "interrupted"}  # some had no time to say so


def _last_event(folder: Path) -> Mapping[str, Any]:
    """Return the last event of a stage that can be read."""
    try:
        with os.fdopen(open_plain(folder / "events.jsonl"), "rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _END_OF_LOG))
            lines = file.read().splitlines()
    except OSError:
        return {}
    for line in reversed(lines):
        try:
            event = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(event, dict) and event.get("stage"):
            return event
    return {}


def _is_locked(folder: Path) -> bool:
    """Say whether a process is at work in a folder; who would begin just then waits for a moment."""
    try:
        descriptor = open_plain(folder / ".lock")
    except OSError:
        return False
    if fcntl is None:
        os.close(descriptor)
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def _found(folder: Path) -> dict[str, Any]:
    """Return the choice of a run and what it is beside known rules, as far as there are."""
    if not (folder / "front.json").exists():
        return {}
    one = read_stored(folder / "front.json", ParetoFront).chosen
    found = {
        "candidate": one.id,
        "rule": in_one_line(one.rule.to_dict()),
        "slots": one.rule.to_dict(),
        "loss": None if one.test is None else one.test.to_json(),
        "heldout_loss": one.heldout_loss,
    }
    if (folder / "comparison.json").exists():
        compared = read_stored(folder / "comparison.json", Comparison).candidates.get(one.id)
        if compared is not None:
            found |= {"verdict": compared.verdict, "nearest": compared.nearest}
    return found


def runs_text(folder: Path, found: list[dict[str, Any]], look: Look = PLAIN) -> str:
    """Return the runs of a folder as a table, and below it what is wrong with some.

    Parameters
    ----------
    folder : Path
    found : list of dict
        See :func:`runs_in`.
    look : Look
    """
    if not found:
        return look.prose(f"no runs in {folder}; `discover run oja` makes one")
    rows = [
        [
            Path(one["run"]).name,
            one["task"],
            one["seed"],
            one["state"],
            one["stage"],
            None if one["done"] is None else f"{len(one['done'])} of {len(one['stages'])}",
            _loss(one, look),
            _verdict(one),
            None if one["slots"] is None else rule_text(one["slots"], look),
        ]
        for one in found
    ]
    columns = [
        "run",
        "task",
        "seed",
        "state",
        "at stage",
        "stages done",
        "loss (95 %)",
        "verdict",
        "chosen rule",
    ]
    wrong = [f"{Path(one['run']).name}: {one['why']}" for one in found if one["why"]]
    return "\n\n".join(filter(None, [look.table(columns, rows, 1), "\n".join(map(look.prose, wrong))]))


def _loss(one: Mapping[str, Any], look: Look) -> str | None:
    if one["loss"] is not None:
        return look.interval(Metric(*(one["loss"][part] for part in ("mean", "low", "high"))))
    return None if one["heldout_loss"] is None else f"{look.number(one['heldout_loss'])} held out"


def _verdict(one: Mapping[str, Any]) -> str | None:
    if one["verdict"] is None:
        return None
    return f"{one['verdict']}: {published(one['nearest'])}" if one["nearest"] else one["verdict"]
