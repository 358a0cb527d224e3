"""A rule as text to take away: LaTeX, a SymPy or NumPy script, or a Brian2 simulation.

The texts are made from the parsed tree of a rule, whose names and functions are known; no text of a user goes
into them unread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType

from discover.errors import RuleError, did_you_mean
from discover.expression import Node, postorder
from discover.expression.node import NOT_SIMULATED, own_functions
from discover.rule import Rule
from discover.slots import ON_POST, ON_PRE, POST_SPIKE, PRE_SPIKE, TAU_POST, TAU_PRE, get_slot

__all__ = ["FORMATS", "exported"]

PYTHON_HEAD = '''\
"""A plasticity rule: the change of a weight, by slot, before it is multiplied by the learning rate."""

from numpy import abs, exp, log, maximum as max, minimum as min, sign, sqrt, tanh
'''

SYMPY_HEAD = '''\
"""A plasticity rule as SymPy expressions, one for each slot."""

from sympy import Abs as abs, Float, Max as max, Min as min, exp, log, sign, sqrt, symbols, tanh
'''

BRIAN2_NAMES = {
    "x_pre": "trace_in",
    "x_post": "trace_out",
    "slow_pre": "slow_in",
    "slow_post": "slow_out",
}
"""In Brian2 a name that ends in ``_pre`` or ``_post`` means a variable of a neuron."""


def exported(rule: Rule, form: str, origin: str = "", learning_rate: bool = True) -> str:
    r"""Return a rule as text.

    Parameters
    ----------
    rule : Rule
    form : str
        ``latex``, ``sympy``, ``python`` or ``brian2``.
    origin : str
        Where the rule comes from; a comment at the head of a script.
    learning_rate : bool
        Whether LaTeX has a learning rate, see :meth:`discover.rule.Rule.latex`.

    Raises
    ------
    RuleError
        If there is no such form, or the rule has no such text: Brian2 simulates spiking neurons, so that it
        takes rules of spiking synapses only.

    Examples
    --------
    >>> print(exported(Rule.parse("x*y - w*y**2"), "latex"))
    \Delta w_{ij} = \eta \left( x y - w y^{2} \right)
    """
    if form not in FORMATS:
        raise RuleError(
            f"There is no form {form[:40]!r}.{did_you_mean(form, FORMATS)} Forms: {', '.join(FORMATS)}."
        )
    text = FORMATS[form](rule) if learning_rate or form != "latex" else rule.latex(6, learning_rate=False)
    comment = " ".join(origin.split())
    return text if form == "latex" or not comment else f"# {comment}\n{text}"


def _latex(rule: Rule) -> str:
    return rule.latex(digits=6)


def _python(rule: Rule) -> str:
    waves, own = _further_functions(rule)
    parts = [PYTHON_HEAD.replace("tanh\n", "".join(["tanh", *(f", {name}" for name in waves), "\n"]))]
    parts.append(_public(map(_function_name, rule.slots)))
    parts += [f"# {name}: a function of your own, to be defined here" for name in own]
    for slot, node in rule.expressions.items():
        if get_slot(slot).is_constant:
            parts.append(f"{_function_name(slot)} = {node}  # {get_slot(slot).unit}")
        else:
            parts.append(
                f"\ndef {_function_name(slot)}({', '.join(get_slot(slot).variables)}):\n    return {node}\n"
            )
    return "\n".join(parts)


def _sympy(rule: Rule) -> str:
    names = dict.fromkeys(name for slot in rule.slots for name in get_slot(slot).variables)
    waves, own = _further_functions(rule)
    further = [*waves, *(["Function"] if own else [])]
    parts = [SYMPY_HEAD.replace("tanh\n", "".join(["tanh", *(f", {name}" for name in further), "\n"]))]
    parts.append(_public([*names, *map(_function_name, rule.slots)]))
    parts += [f'{name} = Function("{name}")' for name in own]
    if names:
        parts.append(f'{", ".join(names)} = symbols("{" ".join(names)}", real=True)')
    # A rule that is a plain number becomes one of SymPy's.
    parts += [f"{_function_name(slot)} = Float(1) * ({node})" for slot, node in rule.expressions.items()]
    return "\n".join(parts) + "\n"


def _public(names: Iterable[str]) -> str:
    """Return the line that keeps a script's ``max`` and ``abs`` to itself when all of it is imported."""
    return "__all__ = [{}]\n".format(", ".join(f'"{name}"' for name in dict.fromkeys(names)))


def _further_functions(rule: Rule) -> tuple[list[str], list[str]]:
    """Return the functions that a rule has beyond those of networks: those on offer, and the user's own."""
    used = {part.op for node in rule.expressions.values() for part in postorder(node)} & NOT_SIMULATED
    return sorted(used - own_functions()), sorted(used & own_functions())


def _function_name(slot: str) -> str:
    """Return a plain name for what a slot holds; slots of recorded data carry their variables."""
    return slot.partition("(")[0].replace(".", "_")


def brian2_update(node: Node) -> str:
    """Return an update as Brian2 writes it, with names and functions that it knows.

    Examples
    --------
    >>> brian2_update(Rule.parse({"on_pre": "max(x_post, w)", "on_post": "0"}).expressions["on_pre"])
    '0.5*(trace_out + w + abs(trace_out - w))'
    """
    half = Node("const", value=0.5)
    stack: list[Node] = []
    for part in postorder(node):
        first = len(stack) - len(part.args)
        args = tuple(stack[first:])
        del stack[first:]
        if part.op == "var":
            stack.append(Node("var", name=BRIAN2_NAMES.get(part.name, part.name)))
        elif part.op in ("max", "min"):
            total, distance = Node("add", args), Node("abs", (Node("sub", args),))
            stack.append(Node("mul", (half, Node("add" if part.op == "max" else "sub", (total, distance)))))
        else:
            stack.append(Node(part.op, args, part.name, part.value))
    return str(stack.pop())


def _brian2(rule: Rule) -> str:
    if set(rule.slots) & {PRE_SPIKE.name, POST_SPIKE.name}:
        from discover.export_pairing import brian2_of_pairs

        return brian2_of_pairs(rule)
    if any("." in slot for slot in rule.slots):
        from discover.export_memory import MEMORY_SLOTS, brian2_of_memory

        if set(rule.slots) <= MEMORY_SLOTS:
            return brian2_of_memory(rule)
    if not set(rule.slots) <= {ON_PRE.name, ON_POST.name, TAU_PRE.name, TAU_POST.name}:
        raise RuleError(
            "Brian2 simulates spiking neurons, and this rule is for a rate network. Forms for it: latex, "
            "sympy, python."
        )
    updates = {
        slot: brian2_update(rule.expressions[slot]) if slot in rule.slots else "0"
        for slot in (ON_PRE.name, ON_POST.name)
    }
    return BRIAN2_SCRIPT.format(
        on_pre=updates[ON_PRE.name],
        on_post=updates[ON_POST.name],
        tau_pre=repr(rule.constant(TAU_PRE.name)),
        tau_post=repr(rule.constant(TAU_POST.name)),
    )


FORMATS: Mapping[str, Callable[[Rule], str]] = MappingProxyType(
    {"latex": _latex, "sympy": _sympy, "python": _python, "brian2": _brian2}
)
"""The forms by name."""

BRIAN2_SCRIPT = '''\
"""Inhibitory plasticity in the feed-forward circuit of Vogels et al. (2011), Science 334:1569.

One neuron, 800 excitatory and 200 inhibitory inputs in 8 channels; the weights of the inhibitory synapses
follow the rule below. Needs Brian2; prints the output rate of the last third of the run.

    python this_file.py [seconds]
"""

import sys

from brian2 import (
    NeuronGroup, SpikeMonitor, Synapses, defaultclock, linked_var, mV, ms, nS, np, pF, run, second, seed,
)

seed(1)
np.random.seed(1)
duration = (float(sys.argv[1]) if len(sys.argv) > 1 else 60.0) * second
defaultclock.dt = 0.1 * ms

# The rule: changes of a weight, before they are multiplied by eta.
ON_PRE = "{on_pre}"
ON_POST = "{on_post}"
tau_pre, tau_post = {tau_pre} * ms, {tau_post} * ms
eta, w_max = 0.005, 10.0

n_excitatory, n_inhibitory, n_channels = 800, 200, 8
channel = np.concatenate([np.arange(n) * n_channels // n for n in (n_excitatory, n_inhibitory)])

# Each channel has a signal, low-pass filtered noise; its inputs spike at a rate that follows the signal.
keep = np.exp(-0.1 / 50)
signals = NeuronGroup(n_channels, "f : 1")
signals.run_regularly("r = rand() - 0.5; f = r - (r - f) * keep", when="start", order=-2)
inputs = NeuronGroup(
    n_excitatory + n_inhibitory,
    """p = 0.0005 + clip(0.05 * signal, 0, inf) / 0.03 : 1
    signal : 1 (linked)""",
    threshold="rand() < p and not_refractory",
    reset="",
    refractory=4.9 * ms,  # a spike can follow 5 ms after the last
)
inputs.signal = linked_var(signals, "f", index=channel)
inputs.set_event_schedule("spike", when="start", order=1)

neuron = NeuronGroup(
    1,
    """dv/dt = (g_leak * (-60 * mV - v) + current) / capacity : volt (unless refractory)
    current = g_e * (0 * mV - v) + g_i * (-80 * mV - v) : amp
    dg_e/dt = -g_e / (5 * ms) : siemens
    dg_i/dt = -g_i / (10 * ms) : siemens""",
    threshold="v > -50 * mV",
    reset="v = -60 * mV",
    refractory=5 * ms,
    method="euler",
    namespace={{"g_leak": 10 * nS, "capacity": 200 * pF}},
)
neuron.v = -60 * mV

excitatory = Synapses(inputs, neuron, "w : 1", on_pre="g_e_post += 0.14 * w * nS")
inhibitory = Synapses(
    inputs,
    neuron,
    """w : 1
    dtrace_in/dt = -trace_in / tau_pre : 1 (event-driven)
    dtrace_out/dt = -trace_out / tau_post : 1 (event-driven)""",
    on_pre=f"w = clip(w + eta * ({{ON_PRE}}), 0, w_max); g_i_post += 0.35 * w * nS; trace_in += 1",
    on_post=f"w = clip(w + eta * ({{ON_POST}}), 0, w_max); trace_out += 1",
)
excitatory.connect(i=np.arange(n_excitatory), j=0)
inhibitory.connect(i=n_excitatory + np.arange(n_inhibitory), j=0)
tuning = 0.3 + 1.1 / (1 + (channel[:n_excitatory] - 4.0) ** 4)
excitatory.w = tuning + 0.1 * np.random.rand(n_excitatory)
inhibitory.w = 0.1
for pathway in (excitatory.pre, inhibitory.pre):  # input spikes act before the voltage of their step
    pathway.when, pathway.order = "start", 2

output = SpikeMonitor(neuron)
run(duration)
late = np.asarray(output.t / second) >= 2 / 3 * (duration / second)
print(f"output rate: {{late.sum() / (duration / second / 3):.2f}} Hz")
weights = np.asarray(inhibitory.w)
by_channel = [weights[channel[n_excitatory:] == k].mean() for k in range(n_channels)]
print("mean inhibitory weight by channel:", np.round(by_channel, 2))
'''
