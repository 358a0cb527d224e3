"""What any rule makes of protocols: its expressions at every spike, with a weight that begins at one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from discover.expression import Node, const, evaluate, variables_of
from discover.pairing.events import TRACE_NAMES, Events, FloatArray
from discover.pairing.protocols import Protocol
from discover.pairing.terms import TAU_SLOTS
from discover.rule import Rule
from discover.slots import ON_POST, ON_PRE, POST_SPIKE, PRE_SPIKE
from sims.pairing import Tie

__all__ = ["in_pairing_slots", "weights_by"]

RENAMED = {ON_PRE.name: PRE_SPIKE.name, ON_POST.name: POST_SPIKE.name}
NOTHING = const(0.0)
LARGEST = 1e6


def in_pairing_slots(rule: Rule) -> Rule:
    """Return a rule of spiking synapses in the slots of pairing experiments.

    Examples
    --------
    >>> print(in_pairing_slots(Rule.parse("on_pre: -x_post; on_post: x_pre")))
    pre_spike: -x_post; post_spike: x_pre
    """
    if not set(rule.slots) & set(RENAMED):
        return rule
    return Rule({RENAMED.get(slot, slot): node for slot, node in rule.expressions.items()})


def events_of(rule: Rule, protocols: Sequence[Protocol], tie: Tie = "pre first") -> Events:
    """Return the spikes of protocols with traces at a rule's time constants."""
    return Events(protocols, [(rule.constant(TAU_SLOTS[name]),) for name in TRACE_NAMES], tie)


def weights_by(rule: Rule, protocols: Sequence[Protocol], tie: Tie = "pre first") -> list[FloatArray]:
    """Return the weight after every spike of every protocol, the first value before them.

    Parameters
    ----------
    rule : Rule
        In the slots of pairing experiments, or of other spiking synapses.
    protocols : sequence of Protocol
    tie : str
        Which of two spikes in one instant comes first.

    Returns
    -------
    list of ndarray, shape (n_spikes + 1,)
        Not finite, or larger than a million, where the rule blows up.
    """
    rule = in_pairing_slots(rule)
    events = events_of(rule, protocols, tie)
    nodes = [rule.expressions.get(slot, NOTHING) for slot in (PRE_SPIKE.name, POST_SPIKE.name)]
    if any("w" in variables_of(node) for node in nodes):
        return _followed(nodes, events)
    pre, post = (
        events.values(spike, node, [(0,) * 4])[0] for spike, node in zip(("pre", "post"), nodes, strict=True)
    )
    ends = zip(events.starts[:-1], events.starts[1:], strict=True)
    return [np.concatenate([[1.0], 1.0 + np.cumsum((pre + post)[first:last])]) for first, last in ends]


def _followed(nodes: Sequence[Node], events: Events) -> list[FloatArray]:
    """Take one spike of every protocol at a time, with the weight that it has by then."""
    lengths = np.diff(events.starts)
    table = np.ones((int(lengths.max()) + 1, events.n_protocols))
    for step in range(int(lengths.max())):
        place = events.starts[:-1] + np.minimum(step, lengths - 1)
        seen = {name: values[0, place] for name, values in events.traces.items()}
        seen["w"] = table[step]
        with np.errstate(all="ignore"):
            pre, post = (np.broadcast_to(evaluate(node, seen), lengths.shape) for node in nodes)
        jump = np.where(events.is_pre[place], pre, post)
        after = np.clip(table[step] + jump, -LARGEST, LARGEST)
        table[step + 1] = np.where(step < lengths, after, table[step])
    return [table[: length + 1, column] for column, length in enumerate(lengths)]
