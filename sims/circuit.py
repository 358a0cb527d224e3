"""A circuit is data: populations, the projections between them, and what their rules may read.

Nothing is registered. The slots that a rule can fill, the variables of each slot and their order follow from
the circuit: a further trace, projection or signal is one more line of it.

Examples
--------
>>> circuit = Circuit(
...     populations={"E": LIF(80), "I": LIF(20)},
...     projections={
...         "EE": Projection("E", "E", probability=0.1, weight=0.3),
...         "IE": Projection("I", "E", 0.1, onto="inhibitory", plastic=True, highest=10.0),
...     },
...     states={"x": Trace(("E", "I"), 20.0), "slow": Trace("E", 100.0), "reward": Signal()},
... )
>>> list(circuit.slots)
['IE.on_pre', 'IE.on_post']
>>> circuit.slots["IE.on_pre"].names[:5]
('reward', 'x_pre', 'v_pre', 'g_e_pre', 'g_i_pre')
>>> circuit.time_constants
{'IE.tau_x_pre': 20.0, 'IE.tau_x_post': 20.0, 'IE.tau_slow_post': 100.0}
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from types import MappingProxyType
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from sims.populations import LIF, Poisson, Population, Rate, Recorded, checked_rates
from sims.rules import MAX_POWER, Program
from sims.states import Eligibility, LowPass, Signal, State, Trace
from sims.synapses import Synapses

__all__ = [
    "LIF",
    "SAMPLED",
    "Circuit",
    "Eligibility",
    "LowPass",
    "Poisson",
    "Projection",
    "Rate",
    "Recorded",
    "Signal",
    "Slot",
    "Trace",
    "Variable",
]

Place = Literal["global", "pre", "post", "synapse", "weight"]
Event = Literal["pre", "post", "interval", "step"]

SAMPLED = ("v", "g_e", "g_i", "g_slow")
"""What rules can read of every integrate-and-fire neuron: its voltage (mV) and its conductances (nS)."""

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_EVENT_OF_SLOT: dict[str, Event] = {"on_pre": "pre", "on_post": "post", "at_interval": "interval"}


# ------------------------------------------------------------------------------------------- projections


@dataclass(frozen=True, eq=False)
class Projection:
    """Synapses from one population to another.

    Parameters
    ----------
    pre, post : str
        Names of the populations.
    probability : float, optional
        With which each pair of neurons is connected, a neuron with itself too; 1 for all, as in rate
        circuits.
    wiring : Synapses, optional
        Instead of `probability`.
    weight : float or array_like
        At the start; of each synapse of a wiring (n_synapses,), or in a rate circuit (n_post, n_pre).
    onto : "excitatory" or "inhibitory"
        Which conductance a spike raises, by `unit_ns` times the weight.
    unit_ns : float
    delay_ms : float
        From a spike until it arrives.
    plastic : bool
        Whether rules may change the weights.
    lowest, highest : float, optional
        Plastic weights are kept between these; by default from 0 on where neurons spike, and anywhere in a
        rate circuit.
    learning_rate : float
        Factor of all changes of weights.
    transmits_first : bool
        Whether an arriving spike raises the conductance by the weight before it changes, else after.
    interval_ms : float, optional
        Rules may also change all weights at multiples of this time.
    hierarchical : bool
        Whether synapses within a rate population come from the neurons before alone.
    symbol : str
        What rules of a rate circuit call the weight.

    Raises
    ------
    ValueError
        If a number is out of range.
    """

    pre: str
    post: str
    probability: float | None = None
    wiring: Synapses | None = None
    weight: ArrayLike = 1.0
    onto: Literal["excitatory", "inhibitory"] = "excitatory"
    unit_ns: float = 1.0
    delay_ms: float = 0.0
    plastic: bool = False
    lowest: float | None = None
    highest: float = math.inf
    learning_rate: float = 1.0
    transmits_first: bool = False
    interval_ms: float | None = None
    hierarchical: bool = False
    symbol: str = "w"

    def __post_init__(self) -> None:
        what = f"A projection from {self.pre} to {self.post}"
        if (self.probability is None) == (self.wiring is None):
            raise ValueError(f"{what} has either a probability or its wiring.")
        if self.probability is not None and not 0 < self.probability <= 1:
            raise ValueError(f"{what} has a probability above 0 and at most 1, got {self.probability}.")
        if self.onto not in ("excitatory", "inhibitory"):
            raise ValueError(
                f"{what} is onto the 'excitatory' or 'inhibitory' conductance, got {self.onto!r}."
            )
        for name in ("unit_ns", "delay_ms", "learning_rate"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{what} has a {name} that is not negative, got {getattr(self, name)}.")
        if self.lowest is not None and not self.lowest < self.highest:
            raise ValueError(f"{what} has lowest < highest, got {self.lowest} and {self.highest}.")
        if self.interval_ms is not None and not (self.plastic and 0 < self.interval_ms < math.inf):
            raise ValueError(f"{what} has an interval only if it is plastic, and a positive one.")
        weight = np.array(self.weight, dtype=np.float64)
        if not np.all(np.isfinite(weight)):
            raise ValueError(f"{what} begins with finite weights, got others.")
        weight.setflags(write=False)
        object.__setattr__(self, "weight", weight)

    @property
    def is_uniform(self) -> bool:
        """Whether all synapses have one weight for ever."""
        return not self.plastic and np.ndim(self.weight) == 0


# ------------------------------------------------------------------------------------------- slots


@dataclass(frozen=True)
class Variable:
    """What a rule reads: a state at one of five places.

    Attributes
    ----------
    name : str
    place : "global", "pre", "post", "synapse" or "weight"
    state : str
        Name of the state, or v, g_e, g_i, g_slow, w or a rate population.
    """

    name: str
    place: Place
    state: str


@dataclass(frozen=True)
class Slot:
    """A place for an update of a rule.

    Attributes
    ----------
    name : str
    projection : str
    event : "pre", "post", "interval" or "step"
        When it is computed: at a presynaptic spike, at a postsynaptic one, at fixed times; in each step of a
        rate circuit.
    changes : str
        "w", or the name of the eligibility trace that jumps.
    variables : tuple of Variable
    """

    name: str
    projection: str
    event: Event
    changes: str
    variables: tuple[Variable, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the variables, in order."""
        return tuple(variable.name for variable in self.variables)

    @property
    def neuron_level(self) -> tuple[bool, ...]:
        """Whether all synapses of a postsynaptic neuron share a variable, as :class:`Program` has it."""
        return tuple(variable.place in ("global", "post") for variable in self.variables)

    def program(
        self, constants: Iterable[float], code: Sequence[tuple[int, int, int]], output: int | None = None
    ) -> Program:
        """Build a program over all variables of the slot."""
        return Program.build(self.names, self.neuron_level, constants, code, output)

    def bound(self, program: Program) -> tuple[Variable, ...]:
        """Return the slot's variables that a program names, in the program's order.

        Raises
        ------
        ValueError
            If it names another one or gives one a wrong level.
        """
        by_name = {variable.name: variable for variable in self.variables}
        for name, level in zip(program.variables, program.neuron_level, strict=True):
            if name not in by_name:
                raise ValueError(
                    f"{self.name} has no variable {name!r}; it has {', '.join(by_name)}."
                    + _suggestion(name, by_name)
                )
            if level != (by_name[name].place in ("global", "post")):
                raise ValueError(
                    f"In {self.name} the variable {name!r} is of the place {by_name[name].place!r}: "
                    f"its neuron_level is {not level}, got {level}."
                )
        return tuple(by_name[name] for name in program.variables)


# ------------------------------------------------------------------------------------------- the circuit


@dataclass(frozen=True, eq=False)
class Circuit:
    """A network of neurons, its inputs, and what rules of its synapses may read.

    Parameters
    ----------
    populations : mapping of str to LIF, Poisson or Recorded, or all to Rate
    projections : mapping of str to Projection
    states : mapping of str to Trace, LowPass, Signal or Eligibility
        In rules, a trace x of the pre- or postsynaptic population is called ``x_pre`` or ``x_post``, so are
        low-passed variables of neurons; signals and eligibility traces have their own names. Rules of a rate
        circuit call activity by the population and low-passed activity by the state, with ``_pre`` or
        ``_post`` behind only where both ends have it; signals, and low passes of signals, by their names.
    dt_ms : float
        Time step of a spiking circuit.

    Raises
    ------
    ValueError
        If a name is unknown or used twice, or a number is out of range.
    """

    populations: Mapping[str, Population]
    projections: Mapping[str, Projection]
    states: Mapping[str, State] = field(default_factory=dict)
    dt_ms: float = 0.1

    def __post_init__(self) -> None:
        if not 0 < self.dt_ms < math.inf:
            raise ValueError(f"A circuit's dt_ms is positive, got {self.dt_ms}.")
        for name in ("populations", "projections", "states"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))
            for key in getattr(self, name):
                if not _NAME.fullmatch(key) or key in (*SAMPLED, "w"):
                    raise ValueError(
                        f"Names in {name} are a letter, then letters, digits and _, and none of "
                        f"{', '.join(SAMPLED)} and w; got {key!r}."
                    )
        if not self.is_rate and not self.neurons:
            raise ValueError("A circuit has at least one population of LIF neurons.")
        for key, population in self.populations.items():
            if isinstance(population, Rate) != self.is_rate:
                raise ValueError("The populations of a circuit are all of the type Rate, or none is.")
            if isinstance(population, Poisson):
                checked_rates(population.rate_hz, population.n, f"Population {key}", self.dt_ms)
        for key, projection in self.projections.items():
            self._check_projection(key, projection)
        if self.is_rate:
            self._check_inputs()
        for key, state in self.states.items():
            self._check_state(key, state)
        for key in self.projections:
            names = [variable.name for variable in self.variables(key)]
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise ValueError(f"Rules of {key} would read two things called {twice[0]}; rename a state.")

    @property
    def neurons(self) -> tuple[str, ...]:
        """Names of the populations that have a membrane."""
        return tuple(key for key, value in self.populations.items() if isinstance(value, LIF))

    @property
    def is_rate(self) -> bool:
        """Whether neurons have an activity instead of spikes."""
        return isinstance(next(iter(self.populations.values()), None), Rate)

    def steps(self, milliseconds: float) -> int:
        """Return the number of steps nearest to a time."""
        return round(milliseconds / self.dt_ms)

    def bounds(self, projection: str) -> tuple[float, float]:
        """Return the lowest and highest weight of a projection; without limits where it is not plastic."""
        ends = self.projections[projection]
        if not ends.plastic:
            return -math.inf, math.inf
        least = -math.inf if self.is_rate else 0.0
        return least if ends.lowest is None else ends.lowest, ends.highest

    @cached_property
    def slots(self) -> Mapping[str, Slot]:
        """The slots of all plastic projections, by name."""
        return MappingProxyType({slot.name: slot for slot in self._slots()})

    @property
    def time_constants(self) -> dict[str, float]:
        """Time constants (ms) of the traces that each plastic projection reads, which rules may set."""
        return {
            f"{key}.tau_{variable.name}": state.tau_ms
            for key, projection in self.projections.items()
            if projection.plastic
            for variable in self.variables(key)
            if isinstance(state := self.states.get(variable.state), Trace)
        }

    def variables(self, projection: str) -> tuple[Variable, ...]:
        """What rules of a projection can read, in the order: global, pre, post, synapse, weight.

        In a rate circuit: pre, post, weight, then states of the postsynaptic and of the presynaptic neuron,
        low-passed signals and signals.
        """
        ends = self.projections[projection]
        if self.is_rate:
            return self._rate_variables(ends)
        result = [Variable(key, "global", key) for key in self.states if self._is_global(key)]
        sides: tuple[tuple[Literal["pre", "post"], str], ...] = (("pre", ends.pre), ("post", ends.post))
        for side, population in sides:
            held = [key for key in self.states if population in self._populations_of(key)]
            sampled = SAMPLED if isinstance(self.populations[population], LIF) else ()
            result += [Variable(f"{key}_{side}", side, key) for key in (*held, *sampled)]
        for key, state in self.states.items():
            if isinstance(state, Eligibility) and state.projection == projection:
                result.append(Variable(key, "synapse", key))
        return (*result, Variable("w", "weight", "w"))

    def _rate_variables(self, ends: Projection) -> tuple[Variable, ...]:
        both = ends.pre == ends.post
        held = {
            side: [key for key in self.states if side in self._populations_of(key)]
            for side in (ends.pre, ends.post)
        }
        own = [Variable(f"{ends.pre}_pre" if both else ends.pre, "pre", ends.pre)]
        own.append(Variable(f"{ends.post}_post" if both else ends.post, "post", ends.post))
        own.append(Variable(ends.symbol, "weight", "w"))
        own += [Variable(f"{key}_post" if both else key, "post", key) for key in held[ends.post]]
        own += [Variable(f"{key}_pre" if both else key, "pre", key) for key in held[ends.pre]]
        shared = sorted(
            filter(self._is_global, self.states), key=lambda key: isinstance(self.states[key], Signal)
        )
        return (*own, *(Variable(key, "global", key) for key in shared))

    def _slots(self) -> Iterator[Slot]:
        for key, projection in self.projections.items():
            if not projection.plastic:
                continue
            variables = self.variables(key)
            if self.is_rate:
                yield Slot(key, key, "step", "w", variables)
                continue
            for name, event in _EVENT_OF_SLOT.items():
                if event != "interval" or projection.interval_ms is not None:
                    yield Slot(f"{key}.{name}", key, event, "w", variables)
            for variable in variables:
                if variable.place == "synapse":
                    for name in ("on_pre", "on_post"):
                        slot = f"{key}.{variable.name}.{name}"
                        yield Slot(slot, key, _EVENT_OF_SLOT[name], variable.name, variables)

    def _is_global(self, key: str) -> bool:
        state = self.states[key]
        if isinstance(state, LowPass) and self.is_rate:
            return isinstance(self.states.get(state.power[0]), Signal)
        return isinstance(state, Signal) or (isinstance(state, LowPass) and "." not in state.of)

    def _populations_of(self, key: str) -> tuple[str, ...]:
        state = self.states[key]
        if isinstance(state, Trace):
            return state.populations
        if isinstance(state, LowPass) and self.is_rate:
            return (state.power[0],)
        if isinstance(state, LowPass) and "." in state.of:
            return (state.of.split(".")[0],)
        return ()

    def _check_projection(self, key: str, projection: Projection) -> None:
        for side, name in (("from", projection.pre), ("to", projection.post)):
            if name not in self.populations:
                raise ValueError(
                    f"Projection {key} goes {side} {name!r}; the populations are "
                    f"{', '.join(self.populations)}." + _suggestion(name, self.populations)
                )
        low, high = self.bounds(key)
        if np.any(np.less(projection.weight, low)) or np.any(np.greater(projection.weight, high)):
            raise ValueError(f"Projection {key} begins with weights from {low} to {high}, got others.")
        if self.is_rate:
            self._check_rate_projection(key, projection)
            return
        if projection.hierarchical or projection.symbol != "w":
            raise ValueError(
                f"Projection {key} is of a spiking circuit, which has no hierarchy and no symbol."
            )
        if projection.post not in self.neurons:
            raise ValueError(f"Projection {key} goes to {projection.post}, whose neurons have no membrane.")
        if projection.interval_ms is not None and self.steps(projection.interval_ms) < 1:
            raise ValueError(f"The interval of projection {key} is shorter than a step of {self.dt_ms} ms.")
        wiring = projection.wiring
        if wiring is None:
            if np.ndim(projection.weight) > 0:
                raise ValueError(
                    f"Projection {key} draws its synapses: give one weight, or the wiring with its weights."
                )
            return
        n_pre, n_post = self.populations[projection.pre].n, self.populations[projection.post].n
        if wiring.n_pre != n_pre or (len(wiring) and wiring.target.max() >= n_post):
            raise ValueError(
                f"The wiring of projection {key} is for {n_pre} neurons onto {n_post}, got "
                f"{wiring.n_pre} and targets up to {wiring.target.max(initial=0)}."
            )
        if np.shape(projection.weight) not in ((), (len(wiring),)):
            raise ValueError(
                f"Projection {key} has {len(wiring)} synapses, got {np.size(projection.weight)} weights."
            )

    def _check_rate_projection(self, key: str, projection: Projection) -> None:
        if projection.probability != 1:
            raise ValueError(f"Projection {key} of a rate circuit has the probability 1: all are connected.")
        known = (
            "pre", "post", "probability", "weight", "plastic", "lowest", "highest", "learning_rate",
            "hierarchical", "symbol",
        )  # fmt: skip
        for one in fields(Projection):
            if one.name not in known and getattr(projection, one.name) != one.default:
                raise ValueError(f"Projection {key} has {one.name}, which rate circuits do not have.")
        if key in self.populations:
            raise ValueError(f"A projection has a name of its own; {key} is used twice.")
        names = list(self.populations)
        back = names.index(projection.post) - names.index(projection.pre)
        if projection.hierarchical and back:
            raise ValueError(
                f"Projection {key} is hierarchical, as only projections within a population are."
            )
        shape = (self.populations[projection.post].n, self.populations[projection.pre].n)
        if np.shape(projection.weight) not in ((), shape):
            raise ValueError(
                f"Projection {key} begins with one weight, or with weights of the shape {shape}, a row a "
                f"postsynaptic neuron; got {np.shape(projection.weight)}."
            )
        if not _NAME.fullmatch(projection.symbol):
            raise ValueError(f"The weight of {key} is called by a plain name, got {projection.symbol!r}.")
        ends = [self.populations[name] for name in (projection.pre, projection.post)]
        if back < 0 and any(isinstance(one, Rate) and one.tau is None for one in ends):
            raise ValueError(
                f"Projection {key} goes back from {projection.pre} to {projection.post}: give both a tau, so "
                "that activity goes on through time, or change the order of the populations."
            )

    def _check_inputs(self) -> None:
        """Refuse rate populations to which no projection goes that ask for more than to be given."""
        reached = {projection.post for projection in self.projections.values()}
        for name, one in self.populations.items():
            if name not in reached and one != Rate(one.n):
                raise ValueError(
                    f"No projection goes to {name}: runs give its activity, and it has no activation, sweeps "
                    "or tau of its own."
                )

    def _check_rate_state(self, key: str, state: State) -> None:
        if key in (*self.populations, *self.projections):
            raise ValueError(f"A state has a name of its own; {key} is used twice.")
        if isinstance(state, Signal):
            one = self.populations.get(state.of) if state.of is not None else None
            if state.of is not None and (one is None or one.n != 1):
                raise ValueError(f"The signal {key} is of a population of one neuron, got {state.of!r}.")
            return
        if not isinstance(state, LowPass):
            raise ValueError(
                f"States of a rate circuit are of the types LowPass and Signal, got {state} for {key}."
            )
        name, exponent = state.power
        signals = [one for one, value in self.states.items() if isinstance(value, Signal)]
        if name not in (*self.populations, *signals) or not 1 <= exponent <= MAX_POWER:
            known = [*self.populations, *signals]
            raise ValueError(
                f"{key} is a low pass of {state.of!r}; in a rate circuit of one of {', '.join(known)}, or of "
                f"a power such as {known[0]}**2." + _suggestion(name, known)
            )
        if not 1 <= state.tau < math.inf:
            raise ValueError(f"The time constant of {key} is at least one step, got {state.tau}.")

    def _check_state(self, key: str, state: State) -> None:
        if isinstance(state, Signal) and not math.isfinite(state.initial):
            raise ValueError(f"The signal {key} begins with a finite value, got {state.initial}.")
        if self.is_rate:
            self._check_rate_state(key, state)
            return
        tau = state.tau if isinstance(state, LowPass) else getattr(state, "tau_ms", 1.0)
        if not 0 < tau < math.inf:
            raise ValueError(f"The time constant of {key} is positive and finite, in ms; got {tau}.")
        if isinstance(state, Trace):
            for name in state.populations:
                if name not in self.populations:
                    raise ValueError(
                        f"The trace {key} is of {name!r}; the populations are {', '.join(self.populations)}."
                        + _suggestion(name, self.populations)
                    )
        elif isinstance(state, Signal):
            if state.of is not None:
                raise ValueError(f"The signal {key} is of a population, as in rate circuits alone.")
        elif isinstance(state, Eligibility):
            if state.projection not in self.projections or not self.projections[state.projection].plastic:
                plastic = [name for name, value in self.projections.items() if value.plastic]
                raise ValueError(
                    f"The eligibility trace {key} is of {state.projection!r}; the plastic projections are "
                    f"{', '.join(plastic) or 'none'}." + _suggestion(state.projection, plastic)
                )
        else:
            signals = [name for name, value in self.states.items() if isinstance(value, Signal)]
            known = [*signals, *(f"{name}.{what}" for name in self.neurons for what in SAMPLED)]
            if state.of not in known:
                raise ValueError(
                    f"{key} is a low pass of {state.of!r}; there are {', '.join(known)}."
                    + _suggestion(state.of, known)
                )


def _suggestion(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(known), 1)
    return f" Did you mean {close[0]!r}?" if close else ""
