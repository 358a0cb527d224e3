"""The posterior of a run, from what was asked for to its files."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from discover.errors import ConfigError
from discover.posterior.forms import Posterior
from discover.posterior.prior import LARGEST, Family, family_of_rule, family_of_terms, with_range
from discover.posterior.rounds import Budget
from discover.posterior.words import RESTART
from discover.progress import Progress, part
from discover.rule import Rule
from discover.tasks.base import Task, known_rules_of, update_slots
from pipelines import artefacts
from pipelines.posterior import BatchTable, PosteriorFiles
from pipelines.runs import Run, refuse_link

if TYPE_CHECKING:
    from discover.pairing.terms import Term
    from discover.posterior.study import Samples

__all__ = ["Asked", "posterior_of_run"]

STREAM = 2_022
"""Root of the random numbers beside the run's seed; no stage draws from it."""

N_TELLING = 10

RESTARTS = "manifold.json"
"""What ``discover posterior --restarts`` has written into the run's folder, if it was called."""

MODULES = ("discover.posterior.simulations", "discover.posterior.rounds", "discover.tasks")
LEARNING = ("discover.posterior.study", *MODULES)


@dataclass(frozen=True)
class Asked:
    """What a user asks for.

    Parameters
    ----------
    terms : str
        Terms of the family, such as ``x*y, w*y**2`` or ``on_pre: 1, x_post; on_post: x_pre``.
    candidate : str
        A candidate of the front, whose constants are the parameters.
    largest : float, optional
        Coefficients are between this and its negative.
    seed : int, optional
        Of all random numbers; the pipeline's by default.
    screen : Path, optional
        Table of a screen, in the place of simulations.
    fresh : int
        Samples of a screen's posterior that are simulated anew.
    jobs : int
        Of these, how many at a time on this machine.
    update : bool
        Whether to begin anew.
    """

    terms: str = ""
    candidate: str = ""
    largest: float | None = None
    seed: int | None = None
    screen: Path | None = None
    fresh: int = 0
    jobs: int = 1
    update: bool = False


def posterior_of_run(
    found: Run, asked: Asked, budget: Budget, progress: Progress, note: Callable[[str], None]
) -> Posterior:
    """Make ``posterior.json``, ``posterior/samples.csv`` and the figures of a run.

    Parameters
    ----------
    found : Run
    asked : Asked
    budget : Budget
    progress : callable
    note : callable
        Is told what an earlier computation left.

    Raises
    ------
    ConfigError, RuleError
        If there is no such family of rules.
    ExtraMissing
        If the packages that learn are not installed.
    RunFailed
        If too few rules do the task.
    ArtefactError
        If a file cannot be read or written.
    """
    if asked.terms and asked.candidate:
        raise ConfigError("--terms and --candidate name two families of rules; give one of them.")
    if asked.fresh and asked.screen is None:
        raise ConfigError(
            "--fresh simulates samples of a screen's posterior; name its table with --screen. For other "
            "tasks samples are always tried on fresh problems."
        )
    if asked.fresh > budget.n_samples:
        raise ConfigError(f"--fresh: of {budget.n_samples} samples {asked.fresh} cannot be simulated.")
    config = found.config
    seed = np.random.SeedSequence([_root(found, asked), STREAM])
    if asked.screen is not None:
        posterior, columns = _screened(found, asked, asked.screen, budget, seed, progress, note)
    elif config.task == "pairing":
        posterior, columns = _exact(found, asked, budget, seed, progress)
    else:
        posterior, columns = _neural(found, asked, budget, seed, progress, note)
    _write(found.folder, posterior, columns)
    return posterior


def _neural(
    found: Run,
    asked: Asked,
    budget: Budget,
    seed: np.random.SeedSequence,
    progress: Progress,
    note: Callable[[str], None],
) -> tuple[Posterior, dict[str, Any]]:
    from discover.journal import Journal
    from discover.posterior.neural import with_torch
    from discover.posterior.rounds import simulated
    from discover.posterior.simulations import condition_of
    from discover.posterior.study import neural_posterior
    from discover.user_tasks import load_task
    from pipelines.manifest import digest, versions
    from pipelines.records import code_of

    config = found.config
    if config.task == "memory":
        raise ConfigError(
            "A posterior of quartets is made from the table of a screen: run `discover screen memory`, and "
            "name its screen.csv with --screen."
        )
    with_torch()
    task = load_task(config.task)
    family = _family(found, task, asked)
    condition = condition_of(task, config.problems, budget.n_problems)
    request = {"task": config.task, "seed": _root(found, asked), "code": code_of(MODULES, config.task)}
    files = PosteriorFiles(found.folder, family, condition, budget, request)
    files.begin(asked.update)
    with BatchTable(files.table, family) as rows:
        if rows.kept:
            note(f"{sum(len(one.passed) for one in rows.kept.values())} rules are in the table already")
        table = simulated(
            task, condition, family, budget, seed, rows.kept, rows.add, part(progress, 0.0, 0.5)
        )
    rules, rest = _rules(found, task), part(progress, 0.5, 1.0)
    purpose = digest({"asked": files.asked(), "code": code_of(LEARNING, config.task), "versions": versions()})
    with Journal(found.folder / ".posterior.journal", purpose) as journal:
        if journal.n_kept:
            note(f"going on after {journal.n_kept} networks and further simulations that are there already")
        posterior, samples = neural_posterior(
            task, condition, family, table, budget, seed, rules, rest, journal
        )
        journal.remove()
    return posterior, _columns(family, samples)


def _exact(
    found: Run, asked: Asked, budget: Budget, seed: np.random.SeedSequence, progress: Progress
) -> tuple[Posterior, dict[str, Any]]:
    from discover.pairing.evidence import split
    from discover.posterior.pairing import PAIR_TERMS, pairing_posterior
    from discover.tasks.pairing import protocols_of

    if asked.largest is not None:
        raise ConfigError(
            "--largest is for simulated tasks; that of pairing has a prior from its measurements."
        )
    settings = found.config.problems
    parts = split(protocols_of(settings), settings, found.config.seed)
    terms = (
        _pairing_terms(asked.terms) if asked.terms else (*_chosen_terms(found, asked.candidate), *PAIR_TERMS)
    )
    posterior, values = pairing_posterior(parts, settings, terms, budget.n_samples, seed, progress)
    return posterior, dict(zip(posterior.family.names, values.T, strict=True))


def _screened(
    found: Run,
    asked: Asked,
    path: Path,
    budget: Budget,
    seed: np.random.SeedSequence,
    progress: Progress,
    note: Callable[[str], None],
) -> tuple[Posterior, dict[str, Any]]:
    from discover.posterior.screened import screen_posterior, with_fresh
    from discover.screen import CLASSES
    from pipelines.screen import read_table

    if found.config.task != "memory":
        raise ConfigError(
            f"Tables of screens are of the task memory; {found.config.name} is a pipeline of "
            f"{found.config.task}."
        )
    end = 0.1 if asked.fresh else 1.0
    posterior, samples = screen_posterior(read_table(path), budget, seed, part(progress, 0.0, end))
    if asked.fresh:
        counts = _simulated_anew(found, asked, path, samples.values, part(progress, end, 1.0), note)
        n_stable = sum(row["n"] for row in counts if row["class"] == "any stable")
        posterior = with_fresh(
            posterior, n_stable, sum(row["n"] for row in counts if row["class"] in CLASSES)
        )
    return posterior, _columns(posterior.family, samples)


def _simulated_anew(
    found: Run,
    asked: Asked,
    path: Path,
    values: NDArray[np.float64],
    progress: Progress,
    note: Callable[[str], None],
) -> list[dict[str, Any]]:
    """Run the first samples as a screen of their own, under what the screen of a table was asked."""
    from pipelines.posterior import FOLDER, FRESH
    from pipelines.screen import ScreenFiles, asked_of, run_and_write

    refuse_link(found.folder / FOLDER)
    quartets = dict(enumerate(values[: asked.fresh]))
    # More samples go on where fewer ended, so that the first ones tell which samples they are.
    source = hashlib.sha256(values[:N_TELLING].tobytes()).hexdigest()
    screen = replace(asked_of(path), n_rules=asked.fresh, quartets=quartets)
    files = ScreenFiles(screen, found.folder / FOLDER / FRESH, source)
    return run_and_write(files, progress, note, asked.jobs, asked.update)


def _root(found: Run, asked: Asked) -> int:
    return found.config.seed if asked.seed is None else asked.seed


def _family(found: Run, task: Task, asked: Asked) -> Family:
    """Return the family of the terms or the candidate asked for, of the fit, or of the chosen candidate."""
    if asked.terms:
        return family_of_terms(task, _terms(task, asked.terms), asked.largest or LARGEST)
    stated = getattr(found.config.fit, "terms", None)
    if stated and not asked.candidate:
        return family_of_terms(task, stated, asked.largest or LARGEST)
    if not asked.candidate and not _has_front(found):
        raise ConfigError(
            f"{found.config.name} has no candidates yet, and its [fit] states no terms. Name those of a "
            "family, such as --terms 'x*y, w*y**2', or run the pipeline first: its chosen rule is taken then."
        )
    family = family_of_rule(_candidate(found, asked.candidate))
    return family if asked.largest is None else with_range(family, asked.largest)


def _terms(task: Task, text: str) -> dict[str, tuple[str, ...]]:
    """Read terms by slot; without the name of a slot they are of the only one with an update."""
    own = [slot.name for slot in update_slots(task)]
    found: dict[str, tuple[str, ...]] = {}
    for block in text.split(";"):
        name, colon, terms = block.rpartition(":")
        slot = name.strip() if colon else own[0]
        if not colon and len(own) > 1:
            raise ConfigError(
                f"The task {task.name} has several updates, {', '.join(own)}: the name of its slot stands in "
                f"front of the terms of each, as in --terms '{own[0]}: ...; {own[1]}: ...'."
            )
        found[slot] = tuple(term.strip() for term in terms.split(",") if term.strip())
    return found


def _pairing_terms(text: str) -> tuple[Term, ...]:
    from discover.pairing.terms import Term

    found = []
    for block in text.split(";"):
        spike, _, terms = block.partition(":")
        found += [
            Term(spike.strip().removesuffix("_spike"), one.strip()) for one in terms.split(",") if one.strip()
        ]
    return tuple(found)


def _has_front(found: Run) -> bool:
    return os.path.isfile(found.folder / "front.json")


def _candidate(found: Run, name: str) -> Rule:
    from pipelines.inspection import read_front

    front = read_front(found.folder)
    return front[name or front.chosen_id].rule


def _chosen_terms(found: Run, name: str) -> tuple[Term, ...]:
    from discover.pairing.forms import PairingFront
    from discover.posterior.pairing import TRIPLET_TERMS

    if not _has_front(found):
        return TRIPLET_TERMS
    front = artefacts.read_stored(found.folder / "front.json", PairingFront)
    return tuple(
        replace(term, power=0.0, room=0.0)
        for term in front[name or front.chosen_id].form.terms  # type: ignore[attr-defined]
    )


def _rules(found: Run, task: Task) -> Mapping[str, Rule]:
    rules = dict(known_rules_of(task))
    if _has_front(found):
        rules["chosen rule"] = _candidate(found, "")
    restarts = found.folder / RESTARTS
    if restarts.exists():
        from discover.manifold import Manifold

        searched = artefacts.read_stored(restarts, Manifold).searched
        for number, one in enumerate(searched, 1):
            if one.converged:
                rules[f"{RESTART} {number}"] = one.parameters.rule
    return rules


def _columns(family: Family, samples: Samples) -> dict[str, Any]:
    return {
        **dict(zip(family.names, samples.values.T, strict=True)),
        "log_density": samples.log_density,
    }


def _write(folder: Path, posterior: Posterior, columns: Mapping[str, Any]) -> None:
    from discover.report.posterior import write_posterior_figures
    from pipelines.posterior import FOLDER

    place = folder / FOLDER
    refuse_link(place)
    try:
        place.mkdir(exist_ok=True)
    except OSError as error:
        artefacts.unwritable(place, error)
    names = list(columns)
    lists = [np.asarray(columns[name]).tolist() for name in names]
    artefacts.write_csv(
        place / "samples.csv", [dict(zip(names, row, strict=True)) for row in zip(*lists, strict=True)]
    )
    artefacts.write_json(folder / "posterior.json", posterior)
    try:
        write_posterior_figures(
            folder, posterior, np.array([columns[name] for name in posterior.family.names]).T
        )
    except OSError as error:
        artefacts.unwritable(folder / "figures", error)
