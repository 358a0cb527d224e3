"""Slow, obvious twin of spiking circuits: one neuron and one synapse at a time, in the order that is stated.

Voltages of single precision cross a threshold one step earlier or later once in a thousand spikes, and a
network of chaotic activity goes another way from there. So the twin is told the spikes that it is compared
with, and refuses one where its own voltage is farther than `CLOSE_MV` from saying the same.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from naive import program_value

from sims.circuit import LIF, SAMPLED, Circuit, Eligibility, LowPass, Signal, Trace
from sims.spike_splines import TraceSplines

CLOSE_MV = 2e-3


def b_spline(i: int, degree: int, knots: list[float], x: float) -> float:
    """The recursion of Cox and de Boor."""
    if degree == 0:
        return 1.0 if knots[i] <= x < knots[i + 1] else 0.0
    left = (x - knots[i]) / (knots[i + degree] - knots[i])
    right = (knots[i + degree + 1] - x) / (knots[i + degree + 1] - knots[i + 1])
    return left * b_spline(i, degree - 1, knots, x) + right * b_spline(i + 1, degree - 1, knots, x)


def splines_value(splines: TraceSplines, trace: float, w: float) -> float:
    n = splines.coefficients.shape[1]
    width = (splines.high - splines.low) / (n - 3)
    knots = [splines.low + (k - 3) * width for k in range(n + 4)]
    x = min(max(trace, splines.low), splines.high * (1 - 1e-15))
    total = 0.0
    for power, row in enumerate(splines.coefficients.tolist()):
        total += w**power * sum(c * b_spline(i, 3, knots, x) for i, c in enumerate(row))
    return total


@dataclass
class Twin:
    """A circuit and all that changes in it, as dictionaries and lists."""

    circuit: Circuit
    synapses: dict
    rules: dict
    voltage: dict
    given: dict  # population -> set of (step, neuron): its spikes
    courses: dict = field(default_factory=dict)  # signal -> value of each step
    groups: dict = field(default_factory=dict)  # population -> group of each of its neurons
    measure_from: int = 0  # step from which currents are summed

    def __post_init__(self):
        c = self.circuit
        zeros = {name: [0.0] * p.n for name, p in c.populations.items()}
        self.v = {name: [float(x) for x in self.voltage[name]] for name in c.neurons}
        self.fast, self.inhibitory, self.slow, self.raised, self.adaptation = (
            {name: list(zeros[name]) for name in c.neurons} for _ in range(5)
        )
        self.free_at = {name: [0] * c.populations[name].n for name in c.neurons}
        self.globals = {k: s.initial for k, s in c.states.items() if isinstance(s, Signal)}
        self.globals |= {k: 0.0 for k, s in c.states.items() if isinstance(s, LowPass) and "." not in s.of}
        self.means = {
            k: list(self.v[s.of.split(".")[0]]) if s.of.endswith(".v") else list(zeros[s.of.split(".")[0]])
            for k, s in c.states.items()
            if isinstance(s, LowPass) and "." in s.of
        }
        self.taus = c.time_constants | {k: r for k, r in self.rules.items() if k in c.time_constants}
        self.traces = {}  # of each projection, side and state: the projection's own copy
        self.pairs, self.weights, self.eligible = {}, {}, {}
        self.of_source = {name: {} for name in c.projections}  # -> source -> synapses
        for name, projection in c.projections.items():
            wiring = self.synapses[name]
            self.pairs[name] = list(zip(wiring.source.tolist(), wiring.target.tolist(), strict=True))
            self.weights[name] = np.broadcast_to(projection.weight, len(wiring)).tolist()
            for s, (source, _) in enumerate(self.pairs[name]):
                self.of_source.setdefault(name, {}).setdefault(source, []).append(s)
            for variable in c.variables(name):
                if isinstance(c.states.get(variable.state), Trace):
                    end = projection.pre if variable.place == "pre" else projection.post
                    self.traces[name, variable.name] = list(zeros[end])
        for name, state in c.states.items():
            if isinstance(state, Eligibility):
                self.eligible[name] = [0.0] * len(self.pairs[state.projection])
        self.spikes = []  # (step, population, neuron)
        # Steps in which its own voltage, at the threshold but for rounding, says another thing.
        self.n_close = 0
        self.by_step = {}  # (step, population) -> neurons
        self.events = {name: {} for name in self.given}  # population -> step -> neurons
        for name, pairs in self.given.items():
            for step, n in pairs:
                self.events[name].setdefault(step, []).append(n)
        self.parts = {}  # (population, neuron, onto, group) -> conductance of a group of inputs
        self.currents = {}  # the same -> sum over steps
        self.sampled = {}

    def run(self, n_steps):
        for k in range(n_steps):
            self.step(k)
        return self

    def step(self, k):
        c = self.circuit
        self.set_signals(k)
        for (name, n, onto, group), conductance in self.parts.items() if k >= self.measure_from else ():
            cell, v = c.populations[name], self.v[name][n]
            distance = (
                cell.excitatory_reversal_mv - v if onto == "excitatory" else v - cell.inhibitory_reversal_mv
            )
            key = name, n, onto, group
            self.currents[key] = self.currents.get(key, 0.0) + conductance * distance
        now = {name: self.integrate(name, k) for name in c.neurons}
        for name in c.populations:
            if name not in now:
                now[name] = sorted(self.events[name].get(k, []))
        self.spikes += [(k, name, n) for name in now for n in now[name]]
        self.by_step |= {(k, name): now[name] for name in now}
        self.decay()
        for name in c.neurons:
            for n in now[name]:
                if c.populations[name].threshold_raise_mv > 0:
                    self.raised[name][n] = c.populations[name].threshold_raise_mv
                self.adaptation[name][n] += c.populations[name].adaptation_pa
        self.sample()
        arriving = {
            name: self.by_step.get((k - c.steps(p.delay_ms), p.pre), []) for name, p in c.projections.items()
        }
        for name, p in c.projections.items():
            for n in arriving[name]:
                for s in self.of_source[name].get(n, []):
                    self.arrive(name, p, s)
        self.jump("pre", arriving)
        for name, p in c.projections.items():
            for n in now[p.post]:
                for s, (_, target) in enumerate(self.pairs[name]):
                    if target == n:
                        self.change(name, "on_post", s)
        self.jump("post", {name: now[p.post] for name, p in c.projections.items()})
        for name, p in c.projections.items():
            if p.interval_ms is not None and (k + 1) % c.steps(p.interval_ms) == 0:
                for s in range(len(self.pairs[name])):
                    self.change(name, "at_interval", s)

    def set_signals(self, k):
        for name, course in self.courses.items():
            self.globals[name] = float(course[k])
        for name, state in self.circuit.states.items():
            if isinstance(state, LowPass) and name in self.globals:
                follow = 1.0 - math.exp(-self.circuit.dt_ms / state.tau)
                self.globals[name] += follow * (self.globals[state.of] - self.globals[name])

    def integrate(self, name, k):
        cell, dt, now = self.circuit.populations[name], self.circuit.dt_ms, []
        assert isinstance(cell, LIF)
        v = self.v[name]
        for n in range(cell.n):
            g_e = (1 - cell.slow_share) * self.fast[name][n] + cell.slow_share * self.slow[name][n]
            current = (
                cell.leak_ns * (cell.rest_mv - v[n])
                + g_e * (cell.excitatory_reversal_mv - v[n])
                + self.inhibitory[name][n] * (cell.inhibitory_reversal_mv - v[n])
                + cell.background_pa
                - self.adaptation[name][n]
            )
            if cell.slow_share > 0:
                self.slow[name][n] += dt / cell.tau_slow_ms * (self.fast[name][n] - self.slow[name][n])
            if k < self.free_at[name][n]:
                assert (k, n) not in self.given[name]
                continue
            v[n] = v[n] + dt / cell.capacitance_pf * current
            if cell.clip_mv is not None:
                v[n] = min(max(v[n], cell.clip_mv[0]), cell.clip_mv[1])
            above = v[n] - cell.threshold_mv - self.raised[name][n]
            is_spike = (k, n) in self.given[name]
            assert is_spike == (above > 0) or abs(above) < CLOSE_MV, (k, name, n, above)
            self.n_close += is_spike != (above > 0)
            if is_spike:
                v[n] = cell.reset_mv
                self.free_at[name][n] = k + 1 + self.circuit.steps(cell.refractory_ms)
                now.append(n)
        return now

    def decay(self):
        c = self.circuit
        for name in c.neurons:
            cell = c.populations[name]
            for values, tau in (
                (self.fast, cell.tau_excitatory_ms), (self.inhibitory, cell.tau_inhibitory_ms),
                (self.raised, cell.tau_threshold_ms), (self.adaptation, cell.tau_adaptation_ms),
            ):  # fmt: skip
                values[name] = [x * math.exp(-c.dt_ms / tau) for x in values[name]]
        for (name, n, onto, group), conductance in self.parts.items():
            cell = c.populations[name]
            tau = cell.tau_excitatory_ms if onto == "excitatory" else cell.tau_inhibitory_ms
            self.parts[name, n, onto, group] = conductance * math.exp(-c.dt_ms / tau)
        for (name, variable), trace in self.traces.items():
            tau = self.taus.get(f"{name}.tau_{variable}", 1.0)
            self.traces[name, variable] = [x * math.exp(-c.dt_ms / tau) for x in trace]
        for name in self.eligible:
            keep = math.exp(-c.dt_ms / c.states[name].tau_ms)
            self.eligible[name] = [x * keep for x in self.eligible[name]]

    def sample(self):
        c = self.circuit
        for name in c.neurons:
            for what, values in (
                ("v", self.v), ("g_e", self.fast), ("g_i", self.inhibitory), ("g_slow", self.slow),
            ):  # fmt: skip
                self.sampled[name, what] = list(values[name])
        for key in self.means:
            state = c.states[key]
            follow = 1.0 - math.exp(-c.dt_ms / state.tau)
            followed = self.sampled[tuple(state.of.split("."))]
            self.means[key] = [m + follow * (x - m) for m, x in zip(self.means[key], followed, strict=True)]

    def jump(self, side, spiking):
        for name in self.circuit.projections:
            for variable in self.circuit.variables(name):
                if variable.place == side and (name, variable.name) in self.traces:
                    for n in spiking[name]:
                        self.traces[name, variable.name][n] += 1.0

    def arrive(self, name, projection, s):
        target = self.pairs[name][s][1]
        conductance = self.fast if projection.onto == "excitatory" else self.inhibitory
        before = self.weights[name][s]
        self.change(name, "on_pre", s)
        weight = before if projection.transmits_first else self.weights[name][s]
        conductance[projection.post][target] += projection.unit_ns * weight
        if projection.pre in self.groups:
            key = (
                projection.post,
                target,
                projection.onto,
                self.groups[projection.pre][self.pairs[name][s][0]],
            )
            self.parts[key] = self.parts.get(key, 0.0) + projection.unit_ns * weight

    def change(self, name, event, s):
        values = None
        changes = {}
        for slot in self.circuit.slots.values():
            if slot.projection == name and slot.name in self.rules and slot.name.endswith("." + event):
                values = values or self.values(name, s)
                program = self.rules[slot.name]
                if isinstance(program, TraceSplines):
                    other = "pre" if event == "on_post" else "post"
                    trace = next(v for v in slot.variables if v.place == other and v.state not in SAMPLED)
                    changes[slot.changes] = splines_value(program, values[trace.name], values["w"])
                    continue
                changes[slot.changes] = program_value(program, {v: values[v] for v in program.variables})
        for what, change in changes.items():
            if what == "w":
                p = self.circuit.projections[name]
                weight = self.weights[name][s] + p.learning_rate * change
                self.weights[name][s] = float(np.clip(weight, *self.circuit.bounds(name)))
            else:
                self.eligible[what][s] += change

    def values(self, name, s):
        p, pair = self.circuit.projections[name], self.pairs[name][s]
        result = {}
        for variable in self.circuit.variables(name):
            if variable.place == "global":
                result[variable.name] = self.globals[variable.state]
            elif variable.place == "synapse":
                result[variable.name] = self.eligible[variable.state][s]
            elif variable.place == "weight":
                result[variable.name] = self.weights[name][s]
            else:
                side = ("pre", "post").index(variable.place)
                population, n = (p.pre, p.post)[side], pair[side]
                if (name, variable.name) in self.traces:
                    result[variable.name] = self.traces[name, variable.name][n]
                elif variable.state in self.means:
                    result[variable.name] = self.means[variable.state][n]
                else:
                    result[variable.name] = self.sampled[population, variable.state][n]
        return result
