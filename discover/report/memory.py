"""The part of the report that only networks with four plastic projections have: what they do, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from discover.known_rules import get_known_rule
from discover.predict import stdp_window
from discover.report.reading import Run
from discover.report.style import BLUE, GREY, LINES, ORANGE, VERMILLION, new_figure, save, styled
from discover.rule import Rule
from discover.slots import of_projection
from discover.tasks import Task
from discover.tasks.memory import PROJECTIONS, MemoryTask, circuit_rules
from discover.tasks.memory_measures import is_sound, verdict_on

if TYPE_CHECKING:
    from sims.memory_protocol import MemoryOutcome, MemoryPiece
    from sims.spiking_circuit import Network

__all__ = ["MemoryRow", "MemorySection", "Watched", "memory_section", "without"]

FloatArray = NDArray[np.float64]

N_NETWORKS = 2
SEED = 20_250_528
"""Root of the networks beside the run's seed; no stage draws from it."""

ACTIVITY, PREFERENCE, ASSEMBLY, WINDOWS = (
    "memory-activity", "memory-preference", "memory-assembly", "memory-windows"
)  # fmt: skip
CHOSEN = "chosen rule"

BIN_S = 0.1
RASTER_S = 0.25
MOST_SHOWN = {"E": 100, "I": 25}
SHARE_OF_ASSEMBLY = 0.1
"""The assembly of a stimulus are so many of the excitatory neurons, those that hear most of it."""

LAGS_MS = np.linspace(-100, 100, 81)
WEIGHT = 1.0
"""Weight at which pairing experiments begin."""


@dataclass(frozen=True)
class MemoryRow:
    """What networks do under a rule, or without a part of it.

    Attributes
    ----------
    name : str
    n_stable, n : int
        Networks that are stable at all tests, and all of them.
    why : str
        What the others fail.
    rate_hz, interval_cv : float or None
        Of excitatory neurons before the last test that was made; None where there was none.
    preferences : tuple of (float or None)
        For the novel stimulus at each test, the mean over networks that were tested then.
    """

    name: str
    n_stable: int
    n: int
    why: str
    rate_hz: float | None
    interval_cv: float | None
    preferences: tuple[float | None, ...]


@dataclass(frozen=True)
class MemorySection:
    """What the report says of these networks only.

    Attributes
    ----------
    figures : tuple of str
        Names of the figures that were drawn.
    rows : tuple of MemoryRow
        The chosen rule, the same without each projection's part, and known rules.
    breaks_s : tuple of float
        Times of the tests.
    """

    figures: tuple[str, ...]
    rows: tuple[MemoryRow, ...]
    breaks_s: tuple[float, ...]


def memory_section(run: Run, task: Task, settings: Any, folder: Path) -> MemorySection | None:
    """Run networks under the chosen rule and draw what they do; None for other tasks.

    Raises
    ------
    OSError
        When a file cannot be written.
    """
    if not isinstance(task, MemoryTask):
        return None
    from sims.memory_protocol import run_memories, run_memory
    from sims.spiking_circuit import Network

    chosen = run.front.chosen.rule
    rules = {CHOSEN: chosen}
    rules |= {f"without {name}": one for name in PROJECTIONS if (one := without(chosen, name)) is not None}
    rules |= {name: known for name in task.known_rules if (known := get_known_rule(name).rule) is not None}
    words = np.random.SeedSequence([SEED, run.config.seed]).generate_state(N_NETWORKS)
    seeds = [int(word) for word in words]
    forms = [circuit_rules(rule) for rule in rules.values()]
    outcomes = run_memories(forms, settings.circuit(), settings.protocol(), seeds, is_sound)
    by_name = dict(zip(rules, outcomes, strict=True))
    rows = tuple(_row(name, some, settings) for name, some in by_name.items())
    network = Network(settings.circuit().circuit(seeds[0]), seeds[0])
    watched = Watched(network, settings.protocol())
    run_memory(
        forms[0], settings.circuit(), settings.protocol(), network=network, seed=seeds[0],
        goes_on=is_sound, watch=watched,
    )  # fmt: skip
    shown = {name: some for name, some in by_name.items() if not name.startswith("without")}
    with styled():
        save(activity_figure(watched), folder, ACTIVITY)
        save(preference_figure(shown, settings.breaks_s), folder, PREFERENCE)
        save(assembly_figure(watched), folder, ASSEMBLY)
        save(windows_figure(chosen, get_known_rule(task.reference).rule), folder, WINDOWS)
    return MemorySection((ACTIVITY, PREFERENCE, ASSEMBLY, WINDOWS), rows, settings.breaks_s)


def without(rule: Rule, projection: str) -> Rule | None:
    """Return a rule without the updates of one projection; None where it has none, or no others.

    Examples
    --------
    >>> rule = Rule.parse({"EE.on_pre": "x_post", "IE.on_pre": "x_post - 0.2", "IE.tau_post": "30"})
    >>> str(without(rule, "IE")), without(rule, "II")
    ('EE.on_pre: x_post', None)
    """
    own = {slot.name for slot in of_projection(projection)}
    kept = {slot: node for slot, node in rule.expressions.items() if slot not in own}
    return Rule(kept) if kept and len(kept) < len(rule.expressions) else None


@dataclass(eq=False)
class Watched:
    """What one network did, piece by piece.

    Parameters
    ----------
    network : Network
    protocol : MemoryProtocol
        Its familiar stimulus says who is in the assembly.

    Attributes
    ----------
    time_s, rates_hz : list
        Middles of bins of 0.1 s and the rates of both populations in them, in the order of what was shown.
    spans : list of (float, float, str)
        When a stimulus was shown, and which.
    weight_time_s, weights : list
        Ends of pieces, and by projection mean weights of synapses whose excitatory neurons are in the
        assembly, and of the others.
    windows : dict of str to (float, dict)
        The last quarter of a second before training and the first of some showings: spikes of each
        population as rows of (seconds, neuron).
    """

    network: Network
    protocol: Any
    time_s: list[float] = field(default_factory=list)
    rates_hz: dict[str, list[float]] = field(default_factory=lambda: {"E": [], "I": []})
    spans: list[tuple[float, float, str]] = field(default_factory=list)
    weight_time_s: list[float] = field(default_factory=list)
    weights: dict[str, list[tuple[float, float]]] = field(
        default_factory=lambda: {name: [] for name in PROJECTIONS}
    )
    windows: dict[str, dict[str, FloatArray]] = field(default_factory=dict)
    _now_s: float = 0.0

    def __post_init__(self) -> None:
        heard = self.network.synapses["input_E"]
        familiar = self.protocol.familiar
        is_shown = (heard.source >= familiar.first) & (heard.source < familiar.first + familiar.n)
        n = self.network.circuit.populations["E"].n
        counts = np.bincount(heard.target[is_shown], minlength=n)
        order = np.argsort(-counts, kind="stable")
        self.is_member = np.zeros(n, dtype=bool)
        self.is_member[order[: max(1, round(SHARE_OF_ASSEMBLY * n))]] = True
        self.order = {"E": order, "I": np.arange(self.network.circuit.populations["I"].n)}
        self._inside = {}
        for name in self.weights:
            ends = self.network.synapses[name]
            sides = [side for side, key in zip((ends.source, ends.target), name, strict=True) if key == "E"]
            inside = np.full(len(ends.source), bool(sides))  # inhibitory neurons are in no assembly
            for side in sides:
                inside &= self.is_member[side]
            self._inside[name] = inside

    def __call__(self, piece: MemoryPiece) -> None:
        """Take in the next piece of a run."""
        dt_s = self.network.circuit.dt_ms / 1000.0
        first = piece.state.step - round(piece.seconds / dt_s)
        n_bins = max(1, round(piece.seconds / BIN_S))
        edges = np.linspace(0.0, piece.seconds, n_bins + 1)
        seconds: dict[str, FloatArray] = {
            name: dt_s * (some.step - first).astype(np.float64) for name, some in piece.spikes.items()
        }
        for name, rates in self.rates_hz.items():
            counts = np.histogram(seconds[name], edges)[0]
            rates += (counts * n_bins / piece.seconds / self.network.circuit.populations[name].n).tolist()
        self.time_s += (self._now_s + (edges[:-1] + edges[1:]) / 2).tolist()
        which = self._which(piece)
        if which:
            self.spans.append((self._now_s, self._now_s + piece.seconds, which))
        self._keep_window(piece, seconds, which)
        self._now_s += piece.seconds
        if not piece.is_test:
            self.weight_time_s.append(self._now_s)
            for name, inside in self._inside.items():
                values = piece.state.weights(name)
                self.weights[name].append((_mean(values[inside]), _mean(values[~inside])))

    def _which(self, piece: MemoryPiece) -> str:
        if piece.stimulus is None:
            return ""
        return "familiar" if piece.stimulus == self.protocol.familiar else "novel"

    def _keep_window(self, piece: MemoryPiece, seconds: Mapping[str, FloatArray], which: str) -> None:
        trained = self.protocol.background_s
        if not which and not piece.is_test and piece.start_s + piece.seconds <= trained + 1e-6:
            name, start = "before training", max(0.0, piece.seconds - RASTER_S)
        elif which and piece.is_test and piece.start_s > trained + 1e-6:
            name, start = f"{which},\nfirst test", 0.0
        elif which and not piece.is_test:
            name, start = "familiar,\nfirst time", 0.0
        else:
            return
        if name in self.windows and name != "before training":
            return
        self.windows[name] = {
            key: np.stack([times - start, piece.spikes[key].neuron], axis=1)[
                (times >= start) & (times < start + RASTER_S)
            ]
            for key, times in seconds.items()
        }


def _mean(values: FloatArray) -> float:
    return float(values.mean()) if len(values) else float("nan")


def _row(name: str, outcomes: Sequence[MemoryOutcome], settings: Any) -> MemoryRow:
    verdicts = [verdict_on(one, settings) for one in outcomes]
    failed = Counter(
        f"{one.criterion} {one.projection}".strip() for one in verdicts if one.kind == "unstable"
    )
    last = [one.tests[-1] for one in outcomes if one.tests]
    preferences = []
    for n in range(len(settings.breaks_s)):
        found = [one.tests[n].preference for one in outcomes if len(one.tests) > n]
        preferences.append(float(np.mean(found)) if found else None)
    return MemoryRow(
        name,
        sum(one.kind != "unstable" for one in verdicts),
        len(outcomes),
        ", ".join(failed),
        float(np.mean([test.rate_hz["E"] for test in last])) if last else None,
        float(np.mean([test.interval_cv for test in last])) if last else None,
        tuple(preferences),
    )


def activity_figure(watched: Watched) -> Figure:
    """Draw spikes in short windows, and the rates of both populations from before training on."""
    figure = new_figure(6.4)
    raster, rates = figure.subplots(2, 1, height_ratios=(3, 2))
    offset, ticks = 0.0, list[float]()
    heights = {"E": 0, "I": MOST_SHOWN["E"] + 4}
    for name, populations in watched.windows.items():
        for key, spikes in populations.items():
            order = watched.order[key]
            shown = order[np.linspace(0, len(order) - 1, min(len(order), MOST_SHOWN[key])).astype(int)]
            place = {int(neuron): n for n, neuron in enumerate(shown)}
            rows = [(1000.0 * time, place[int(who)]) for time, who in spikes if int(who) in place]
            times, places = np.array(rows).reshape(-1, 2).T
            colour = BLUE if key == "E" else VERMILLION
            raster.plot(offset + times, heights[key] + places, "|", ms=2.5, mew=0.8, color=colour)
        raster.text(offset, heights["I"] + MOST_SHOWN["I"] + 3, name, fontsize=8, va="bottom")
        ticks += [offset, offset + 500.0 * RASTER_S]
        offset += 1000.0 * RASTER_S + 40.0
    raster.set(xlabel="time in each window (ms)", ylabel="neurons, those that hear\nthe familiar one lowest")
    raster.set_xticks(ticks, len(watched.windows) * ["0", f"{500.0 * RASTER_S:g}"])
    raster.set_yticks([])
    raster.grid(visible=False)
    colours = {"familiar": ORANGE, "novel": GREY}
    for which, colour in colours.items():
        spans = [(start, end) for start, end, one in watched.spans if one == which]
        for number, (start, end) in enumerate(spans):
            label = f"{which} stimulus" if number == 0 else None
            rates.axvspan(start, end, color=colour, alpha=0.35, linewidth=0, label=label)
    for key, colour in (("E", BLUE), ("I", VERMILLION)):
        rates.plot(watched.time_s, watched.rates_hz[key], color=colour, linewidth=0.8, label=key)
    first = max(0.0, watched.protocol.background_s - 2.0)
    rates.set_xlim(first, max(watched.time_s, default=first + 1.0))
    rates.set(xlabel="time, tests included (s)", ylabel="rate (Hz)")
    figure.legend(loc="outside upper left", ncols=4)
    return figure


def preference_figure(outcomes: Mapping[str, Sequence[MemoryOutcome]], breaks_s: Sequence[float]) -> Figure:
    """Draw the preference for the novel stimulus at each test: networks thin, their mean thick."""
    figure = new_figure(3.8)
    axes = figure.subplots()
    for (name, some), (colour, dashes) in zip(outcomes.items(), LINES, strict=False):
        values = np.full((len(some), len(breaks_s)), np.nan)
        for n, one in enumerate(some):
            values[n, : len(one.tests)] = [test.preference for test in one.tests]
            axes.plot(breaks_s, values[n], color=colour, linewidth=0.7, alpha=0.6)
        tested = ~np.isnan(values)
        n_tested = tested.sum(axis=0)
        mean = np.where(tested, values, 0.0).sum(axis=0)[n_tested > 0] / n_tested[n_tested > 0]
        times = np.asarray(breaks_s)[n_tested > 0]
        axes.plot(times, mean, color=colour, linestyle=dashes, marker="o", ms=3, label=name)
    axes.axhline(0.0, color="black", linewidth=0.6)
    axes.set_xscale("log")
    axes.set(xlabel="time since training (s)", ylabel="preference for\nthe novel stimulus")
    figure.legend(loc="outside upper left", ncols=2)
    return figure


def assembly_figure(watched: Watched) -> Figure:
    """Draw mean weights within the assembly of the familiar stimulus and elsewhere, over time."""
    figure = new_figure(5.0)
    grid = figure.subplots(2, 2, sharex=True).ravel()
    for axes, (name, rows) in zip(grid, watched.weights.items(), strict=True):
        inside, outside = np.array(rows).reshape(-1, 2).T
        axes.plot(watched.weight_time_s, inside, color=VERMILLION, label="of the assembly")
        axes.plot(watched.weight_time_s, outside, color=GREY, linestyle="--", label="others")
        axes.axvline(watched.protocol.background_s, color=ORANGE, linewidth=1)
        axes.set_title(name, fontsize=10)
    figure.supxlabel("time, tests included (s)", fontsize=10)
    figure.supylabel("mean weight", fontsize=10)
    figure.legend(*grid[0].get_legend_handles_labels(), loc="outside upper left", ncols=2)
    return figure


def windows_figure(rule: Rule, reference: Rule | None) -> Figure:
    """Draw the pairing window of each projection's rule beside a known one, each scaled to its largest."""
    figure = new_figure(5.6)
    grid = figure.subplots(2, 2, sharex=True)
    named = {CHOSEN: rule} if reference is None else {CHOSEN: rule, "published quartet": reference}
    for axes, name in zip(grid.ravel(), PROJECTIONS, strict=True):
        for (label, one), (colour, dashes) in zip(named.items(), LINES, strict=False):
            own = {
                slot.name.partition(".")[2]: one.expressions[slot.name]
                for slot in of_projection(name)
                if slot.name in one.expressions
            }
            values = np.zeros(len(LAGS_MS))
            if any(slot.startswith("on_") for slot in own):
                values = stdp_window(Rule(own), LAGS_MS, weight=WEIGHT, learning_rate=1e-6)
            largest = float(np.abs(values).max())
            axes.plot(
                LAGS_MS, values / largest if largest > 0 else values, color=colour, linestyle=dashes,
                label=label if name == PROJECTIONS[0] else None,
            )  # fmt: skip
        axes.axhline(0.0, color="black", linewidth=0.6)
        axes.set_title(name, fontsize=10)
    figure.supxlabel("postsynaptic minus presynaptic spike (ms)", fontsize=10)
    figure.supylabel("weight change", fontsize=10)
    figure.legend(loc="outside upper left", ncols=2)
    return figure
