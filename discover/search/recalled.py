"""Engines whose proposals are kept in the journal of a stage that was cut off, like simulations are."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from discover.errors import DiscoverError
from discover.expression import Node, const, postorder, var
from discover.journal import Arrays, remembered
from discover.progress import Progress, silent
from discover.search.engine import Availability, Engine, Proposal, Samples
from discover.search.settings import SearchSettings

__all__ = ["RecalledEngine", "packed", "unpacked"]


class RecalledEngine:
    """An engine that is not asked again what it has answered before.

    Parameters
    ----------
    engine : Engine
    task : Task or JournaledTask
        Without a journal nothing is kept.
    problems : Problems
    """

    def __init__(self, engine: Engine, task: Any, problems: Any) -> None:
        self.name = engine.name
        self._engine = engine
        self._task = task
        self._problems = problems

    def availability(self) -> Availability:
        """See :meth:`discover.search.engine.Engine.availability`."""
        return self._engine.availability()

    def propose(
        self, samples: Samples, settings: SearchSettings, seed: int, progress: Progress = silent
    ) -> list[Proposal]:
        """See :meth:`discover.search.engine.Engine.propose`."""
        kernel = () if samples.kernel is None else (samples.kernel.toarray(),)
        question = (self.name, samples.variables, samples.inputs, samples.target, *kernel, settings, seed)

        def compute(_: Any) -> Arrays:
            return packed(self._engine.propose(samples, settings, seed, progress))

        return unpacked(remembered(self._task, "propose", self._problems, question, compute))


def packed(proposals: list[Proposal]) -> Arrays:
    """Return proposals as an array: their trees in postfix order, as JSON.

    Examples
    --------
    >>> proposals = [Proposal(const(0.1), 0.5, "terms")]
    >>> unpacked(packed(proposals)) == proposals
    True
    """
    content = [[_entries(one.expression), one.nmse, one.engine] for one in proposals]
    return {"text": np.frombuffer(json.dumps(content).encode(), dtype=np.uint8)}


def unpacked(arrays: Arrays) -> list[Proposal]:
    """Return the proposals that an array holds.

    Raises
    ------
    DiscoverError
        If it holds something else.
    """
    try:
        content = json.loads(arrays["text"].tobytes())
        return [Proposal(_tree(entries), float(nmse), str(engine)) for entries, nmse, engine in content]
    except (LookupError, TypeError, ValueError, RecursionError) as error:
        raise DiscoverError(
            "The journal of the search holds proposals that cannot be read. Remove it (.search.journal)."
        ) from error


def _entries(tree: Node) -> list[list[Any]]:
    entries: list[list[Any]] = []
    for node in postorder(tree):
        if node.op == "const":
            entries.append(["const", node.value])
        elif node.op == "var":
            entries.append(["var", node.name])
        else:
            entries.append([node.op, len(node.args)])
    return entries


def _tree(entries: list[list[Any]]) -> Node:
    stack: list[Node] = []
    for op, detail in entries:
        if op == "const":
            stack.append(const(detail))
        elif op == "var":
            stack.append(var(detail))
        else:
            split = len(stack) - detail
            stack, args = stack[:split], tuple(stack[split:])
            stack.append(Node(op, args))
    (tree,) = stack
    return tree
