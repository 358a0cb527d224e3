"""Pieces of work on a task, wherever they run, with one journal of what simulations gave.

The journal is kept on this machine. A piece that runs here writes simulation by simulation; one that runs on
a worker takes along what it asked before and brings the rest when it is done. The lines are the same, so that
a run that was cut off goes on with either backend.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from discover.journal import Journal, JournaledTask, Memo, remembered
from discover.parallel import active, ordered_map
from discover.progress import Progress, part, silent

__all__ = ["losses_of_population", "spread"]

FloatArray = NDArray[np.float64]
Item = TypeVar("Item")
Result = TypeVar("Result")


def spread(
    work: Callable[[Any, Item, Progress], Result],
    task: Any,
    items: Sequence[Item],
    progress: Progress,
    names: Sequence[str],
    *,
    has_populations: bool = False,
) -> list[Result]:
    """Return what some work on a task gives for each item, in the order of the items.

    Parameters
    ----------
    work : callable
        Takes the task, an item and a progress. A function of a module; its result must depend on nothing
        else.
    task : Task, JournaledTask or None
    items : sequence
    progress : callable
    names : sequence of str
        What each item is called, such as ``restart 1``: for messages, and in the journal.
    has_populations : bool
        Whether the work itself spreads the generations of CMA-ES (:func:`losses_of_population`). Then its
        pieces stay here, one after the other, while there are fewer of them than workers.

    Returns
    -------
    list

    Raises
    ------
    ClusterLost
        If the cluster is lost. What pieces brought back is kept.
    """
    here = active().is_local or (has_populations and len(items) < active().n_workers)
    if here:

        def done_here(number: int) -> Result:
            inner = part(progress, number / len(items), (number + 1) / len(items), f"{names[number]}: ")
            return work(_of_piece(task, names[number]), items[number], inner)

        numbers = range(len(items))
        return ordered_map(done_here, numbers) if active().is_local else [done_here(n) for n in numbers]

    n_done = 0

    def arrived(number: int, answer: tuple[Result, list[bytes]]) -> None:
        nonlocal n_done
        if isinstance(task, JournaledTask) and isinstance(task.journal, Journal):
            task.journal.take(answer[1])
        n_done += 1
        progress(n_done / len(items), f"{names[number]} done, {n_done} of {len(items)} on the cluster")

    pieces = [(_packed(task, name), item) for item, name in zip(items, names, strict=True)]
    return [result for result, _ in ordered_map(partial(_away, work), pieces, arrived)]


def losses_of_population(task: Any, rules: Sequence[Any], problems: Any) -> FloatArray:
    """Return the loss of each rule of a generation on each problem, shape (n_rules, n_problems).

    On a cluster each worker gets a share of the rules. What a rule gives does not depend on which others are
    simulated beside it. A task that wraps another one has a method of this name, which is used: the workers
    get the task itself.

    Parameters
    ----------
    task : Task or JournaledTask
    rules : sequence of Rule or ndarray
    problems : Problems
    """
    wrapped = getattr(type(task), "losses_of_population", None)
    if wrapped is not None:
        through: FloatArray = wrapped(task, rules, problems)
        return through
    n_shares = 1 if active().is_local else min(active().n_workers, len(rules))
    if n_shares < 2:
        alone: FloatArray = task.losses_of_rules(rules, problems)
        return alone

    def compute(plain: Any) -> dict[str, FloatArray]:
        cuts = [k * len(rules) // n_shares for k in range(n_shares + 1)]
        shares = [(plain, rules[cuts[k] : cuts[k + 1]], problems) for k in range(n_shares)]
        return {"losses": np.concatenate(ordered_map(_share, shares))}

    return remembered(task, "losses_of_rules", problems, tuple(rules), compute)["losses"]


def _share(share: tuple[Any, Sequence[Any], Any]) -> FloatArray:
    task, rules, problems = share
    losses: FloatArray = task.losses_of_rules(rules, problems)
    return losses


def _of_piece(task: Any, name: str) -> Any:
    return task.of_piece(name) if isinstance(task, JournaledTask) else task


def _packed(task: Any, name: str) -> tuple[Any, str, list[bytes] | None]:
    """Return what goes along with a piece: the task itself, and what the journal has of it."""
    if not isinstance(task, JournaledTask):
        return task, name, None
    return task.plain, name, task.journal.lines(name) if isinstance(task.journal, Journal) else []


def _away(
    work: Callable[[Any, Any, Progress], Result], piece: tuple[tuple[Any, str, list[bytes] | None], Any]
) -> tuple[Result, list[bytes]]:
    """Do a piece of work on a worker; return its result and what the journal gains."""
    (task, name, lines), item = piece
    if lines is None:
        return work(task, item, silent), []
    memo = Memo(lines)
    return work(JournaledTask(task, memo, name), item, silent), memo.added
