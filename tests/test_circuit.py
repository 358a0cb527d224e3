"""Spiking circuits as data: against their naive twin, in pieces and on threads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise

import naive_circuit
import numpy as np
import pytest
from circuit_examples import EXAMPLES, PLASTIC, balanced, programs

from sims import _circuit_kernels as kernels
from sims import _circuit_run, spiking_circuit
from sims import _circuit_tables as tables
from sims._circuit_packing import plan_of
from sims.circuit import LIF, Circuit, Eligibility, LowPass, Poisson, Projection, Recorded, Signal, Trace
from sims.spike_rules import ActivityLimits
from sims.spike_splines import TraceSplines
from sims.spiking import Stop
from sims.spiking_circuit import Network
from sims.synapses import Synapses

SECONDS = 0.3


def simulated(circuit, rule, signals, seed=1, seconds=SECONDS):
    network = Network(circuit, seed)
    state = network.initial_state(seed)
    return network, state, network.run(rule, state, seconds, signals=signals, record=circuit.populations)


def twin_of(network, state, rule, outcome, signals):
    circuit = network.circuit
    voltage = {name: state.voltage_mv(name) for name in circuit.neurons}
    given = {
        name: set(zip(spikes.step.tolist(), spikes.neuron.tolist(), strict=True))
        for name, spikes in outcome.spikes.items()
    }
    twin = naive_circuit.Twin(circuit, network.synapses, rule, voltage, given, signals)
    return twin.run(outcome.state.step)


def assert_like_twin(circuit, texts, signals, *, precise=True, lively=True, seed=1, seconds=SECONDS):
    rule = programs(circuit, texts)
    network, state, outcome = simulated(circuit, rule, signals, seed, seconds)
    twin = twin_of(network, state, rule, outcome, signals)
    tolerance = {"rel": 1e-9, "abs": 1e-10} if precise else {"rel": 1e-4, "abs": 1e-4}
    for name in circuit.populations:
        spikes = outcome.spikes[name]
        expected = [(k, n) for k, who, n in twin.spikes if who == name]
        assert list(zip(spikes.step.tolist(), spikes.neuron.tolist(), strict=True)) == expected
    for name, projection in circuit.projections.items():
        if projection.plastic:
            weights = outcome.state.weights(name)
            assert weights == pytest.approx(np.array(twin.weights[name]), **tolerance)
            assert not lively or np.std(weights) > 0.01, name
    for name, traces in twin.eligible.items():
        assert outcome.state.eligibility(name) == pytest.approx(np.array(traces), **tolerance)
    for name, value in twin.globals.items():
        assert outcome.state.signal(name) == pytest.approx(value, rel=1e-9)
    for name in circuit.neurons:
        assert outcome.state.voltage_mv(name) == pytest.approx(np.array(twin.v[name]), abs=0.05)
        assert not lively or sum(who == name for _, who, _ in twin.spikes) > 20, name
    return outcome


@pytest.mark.parametrize("name", EXAMPLES)
def test_spikes_and_weights_are_those_of_the_naive_twin(name):
    circuit, texts, signals = EXAMPLES[name]()
    assert_like_twin(circuit, texts, signals, precise=name != "voltage")


# ------------------------------------------------------------------------------- one kernel for all of them


ADDED = {
    "a second trace": ({"slow": Trace("E", 80.0)}, {}, {"EE.on_post": "0.3*x_pre*slow_post"}, {}),
    "a plastic projection": (
        {},
        {"EI": Projection("E", "I", 0.6, weight=2.0, **PLASTIC)},
        {"EI.on_pre": "0.2*x_post - 0.3", "EI.on_post": "sqrt(x_pre)"},
        {},
    ),
    "a reward": (
        {"R": Signal()},
        {},
        {"EE.on_post": "R*x_pre - 0.1*w"},
        {"R": np.sin(np.arange(3000) / 300.0)},
    ),
    "an eligibility trace": (
        {"e": Eligibility("EE", 50.0)},
        {},
        {"EE.e.on_post": "x_pre", "EE.on_pre": "0.5*e - x_post"},
        {},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ADDED)
def test_what_one_line_adds_runs_like_the_twin_and_compiles_nothing(name):
    states, projections, rule, signals = ADDED[name]
    plain = {"EE": Projection("E", "E", 0.5, weight=1.0, **PLASTIC)}
    before = balanced(**plain)
    texts = {"EE.on_pre": "-0.2*x_post", "EE.on_post": "0.3*x_pre"}
    simulated(before, programs(before, texts), {})
    n_signatures = len(kernels.run_steps.signatures)
    after = balanced(dict(before.states) | states, **plain | projections)
    assert_like_twin(after, texts | rule, signals)
    assert len(kernels.run_steps.signatures) == n_signatures == 1


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_circuit_is_run_by_the_same_machine_code(name):
    circuit, texts, signals = EXAMPLES[name]()
    simulated(circuit, programs(circuit, texts), signals)
    assert len(kernels.run_steps.signatures) == 1


@pytest.mark.parametrize("name", ["four plastic", "triplet"])
def test_lines_and_programs_say_the_same(name, monkeypatch):
    circuit, texts, _ = EXAMPLES[name]()
    rule = programs(circuit, texts)
    *_, by_lines = simulated(circuit, rule, {})
    plan = plan_of(by_lines.state.layout, rule)
    assert (plan.rules.table[:, tables.FORM] == tables.LINE).any()
    monkeypatch.setattr(spiking_circuit, "plan_of", lambda *given: plan_of(*given, lines=False))
    *_, by_programs = simulated(circuit, rule, {})
    for name in circuit.neurons:
        np.testing.assert_array_equal(by_lines.spikes[name].step, by_programs.spikes[name].step)
    for name, projection in circuit.projections.items():
        if projection.plastic:
            assert by_lines.state.weights(name) == pytest.approx(by_programs.state.weights(name), rel=1e-9)


# ------------------------------------------------------------------------------------ states and repetition


def assert_same_state(first, second):
    assert first.step == second.step
    assert first.keys == second.keys
    for name, a, b in zip(first.arrays._fields, first.arrays, second.arrays, strict=True):
        if name != "counts":
            np.testing.assert_array_equal(a, b, err_msg=name)
    assert first.rng.bit_generator.state == second.rng.bit_generator.state


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_run_is_the_same_in_pieces(name):
    circuit, texts, signals = EXAMPLES[name]()
    rule = programs(circuit, texts)
    network, state, whole = simulated(circuit, rule, signals)
    cuts, spikes = [0, 777, 778, 1950, 3000], []
    for a, b in pairwise(cuts):
        piece = {key: value[a:b] for key, value in signals.items()}
        outcome = network.run(rule, state, (b - a) / 1e4, signals=piece, record=["E"])
        state = outcome.state
        spikes.append(outcome.spikes["E"].step)
    assert_same_state(state, whole.state)
    np.testing.assert_array_equal(np.concatenate(spikes), whole.spikes["E"].step)


def test_a_state_can_be_run_from_again_and_does_not_change():
    circuit, texts, signals = EXAMPLES["reward"]()
    rule = programs(circuit, texts)
    network, state, first = simulated(circuit, rule, signals)
    later = network.run(rule, first.state, 0.1, signals={"R": 0.5})
    again = network.run(rule, first.state, 0.1, signals={"R": 0.5})
    assert_same_state(later.state, again.state)
    other = network.run(rule, first.state, 0.1, signals={"R": -0.5})
    assert np.any(other.state.weights("EE") != later.state.weights("EE"))
    assert_same_state(network.run(rule, state, SECONDS, signals=signals).state, first.state)
    assert first.state.with_weights("EE", 2.0).weights("EE").tolist() == [2.0] * len(network.synapses["EE"])


def test_a_state_is_saved_and_read(tmp_path):
    circuit, texts, signals = EXAMPLES["reward"]()
    rule = programs(circuit, texts)
    network, _, first = simulated(circuit, rule, signals)
    path = tmp_path / "state.npz"
    first.state.save(path)
    again = Network(circuit, 1)
    read = again.load_state(path)
    assert_same_state(read, first.state)
    later = network.run(rule, first.state, 0.1)
    assert_same_state(again.run(rule, read, 0.1).state, later.state)
    assert later.rates_hz["E"][0] > 0
    with pytest.raises(ValueError, match="another network"):
        Network(circuit, 2).load_state(path)
    for content in (b"", b"PK no archive", path.read_bytes()[:500]):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="no state"):
            again.load_state(path)
    np.savez(path, voltage=np.zeros(3))
    with pytest.raises(ValueError, match="no state"):
        again.load_state(path)


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_saved_state_of_any_circuit_is_read(name, tmp_path):
    circuit, texts, signals = EXAMPLES[name]()
    network, state, last = simulated(circuit, programs(circuit, texts), signals)
    for saved in (state, last.state):
        saved.save(tmp_path / "state.npz")
        assert_same_state(network.load_state(tmp_path / "state.npz"), saved)


def spike_of_another_population(held):
    line = int(np.argmax(held["bounds"][:, 1] > 0))
    held["history"][line, 0] = 12  # The first of the second population.


def fewer_than_none(held):
    held["bounds"][0] = [0, 5, 2, 5]


def spikes_before_the_first(held):
    held["bounds"][0] = [1, 1, 1, 1]


def more_spikes_than_neurons(held):
    held["bounds"][0, -1] = held["history"].shape[1] + 1


def neuron_beyond_its_population(held):
    held["ends"][1] = [0, 1]
    held["refractory"][12] = 4  # The second population has four.


def neuron_twice_in_the_ring(held):
    held["ends"][0] = [0, 2]
    held["refractory"][:2] = 3


def ring_longer_than_its_population(held):
    held["ends"][0] = [0, 13]


def refractory_for_ever(held):
    held["ends"][0] = [0, 1]
    held["free_at"][held["refractory"][0]] = 10**9


def spike_before_its_time(held):
    held["waiting"][0] = -1e3


@pytest.mark.parametrize(
    ("tamper", "message"),
    [
        (
            spike_of_another_population,
            "neuron 12 among the spikes of population E, whose neurons are 0 to 11",
        ),
        (fewer_than_none, "bounds do not rise"),
        (spikes_before_the_first, "bounds do not rise"),
        (more_spikes_than_neurons, "bounds do not rise"),
        (neuron_beyond_its_population, "refractory does not name neurons of population I"),
        (neuron_twice_in_the_ring, "refractory does not name neurons of population E"),
        (ring_longer_than_its_population, "ring of the 12 neurons of E"),
        (refractory_for_ever, "population E stay refractory for too long"),
        (spike_before_its_time, "waiting"),
    ],
)
def test_a_state_that_names_what_is_not_there_is_refused(tamper, message, tmp_path):
    circuit, texts, signals = EXAMPLES["reward"]()
    network, _, last = simulated(circuit, programs(circuit, texts), signals)
    last.state.save(tmp_path / "state.npz")
    with np.load(tmp_path / "state.npz") as file:
        held = {name: file[name] for name in file.files}
    held["history"][0, :5] = range(5)
    held["bounds"][0] = [0, 5, 5, 5]
    np.savez(tmp_path / "as it was.npz", **held)
    network.load_state(tmp_path / "as it was.npz")
    tamper(held)
    np.savez(tmp_path / "state.npz", **held)
    with pytest.raises(ValueError, match=f"holds no state of a network: .*{message}"):
        network.load_state(tmp_path / "state.npz")


def test_threads_do_not_matter():
    circuit, texts, _ = EXAMPLES["four plastic"]()
    rule = programs(circuit, texts)
    network = Network(circuit, 1)
    states = [network.initial_state(seed) for seed in range(4)]
    alone = [network.run(rule, state, SECONDS).state for state in states]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda state: network.run(rule, state, SECONDS).state, states))
    for first, second in zip(alone, together, strict=True):
        assert_same_state(first, second)
    assert np.any(alone[0].weights("EE") != alone[1].weights("EE"))


def test_factors_that_have_decayed_to_nothing_begin_anew():
    circuit, texts, _ = EXAMPLES["four plastic"]()
    cell = replace(
        circuit.populations["E"], tau_inhibitory_ms=0.5, tau_excitatory_ms=0.6, tau_threshold_ms=0.4,
        background_pa=230.0,
    )  # fmt: skip
    fast = Circuit({**circuit.populations, "E": cell}, circuit.projections, circuit.states)
    short = {name: tau / 50 for name, tau in texts.items() if ".tau_" in name}
    strong = {name: text for name, text in texts.items() if ".tau_" not in name}
    outcome = assert_like_twin(fast, strong | short, {})
    assert np.all(outcome.state.arrays.scales > 1e-21)


def test_the_synapses_of_a_projection_do_not_depend_on_the_others():
    one, other = balanced(), balanced(AA=Projection("I", "I", 0.1))
    a, b = Network(one, 3).synapses, Network(other, 3).synapses
    for name in a:
        np.testing.assert_array_equal(a[name].target, b[name].target)
    assert len(Network(one, 4).synapses["EE"]) != len(a["EE"])


# ------------------------------------------------------------------------------------------ inputs and ends


def test_poisson_neurons_spike_independently_at_their_rates():
    rates = np.repeat([0.0, 20.0, 200.0, 20.0], 25)
    circuit = Circuit({"E": LIF(1), "input": Poisson(100, rates)}, {})
    network = Network(circuit)
    outcome = network.run({}, network.initial_state(2), 60.0, record=["input"])
    counts = np.bincount(outcome.spikes["input"].neuron, minlength=100)
    assert np.all(counts[:25] == 0)
    for part, rate in ((slice(25, 50), 20), (slice(50, 75), 200), (slice(75, 100), 20)):
        assert counts[part].mean() == pytest.approx(60 * rate, rel=0.05)
        assert counts[part].var() == pytest.approx(60 * rate, rel=0.9)
    intervals = np.diff(outcome.spikes["input"].step[outcome.spikes["input"].neuron == 60])
    assert intervals.std() / intervals.mean() == pytest.approx(1.0, abs=0.05)
    louder = network.run({}, outcome.state, 10.0, rates_hz={"input": 50.0})
    assert louder.rates_hz["input"].mean() == pytest.approx(50.0, rel=0.03)


def test_activity_out_of_its_range_stops_a_run():
    circuit = balanced()
    network = Network(circuit)
    limits = {"I": ActivityLimits(0.0, 1000.0, 0.1, 0.0), "E": ActivityLimits(0.0, 1.0, 0.25, 0.13)}
    outcome = network.run({}, network.initial_state(), 2.0, limits=limits)
    assert (outcome.stop, outcome.stopped_by) == (Stop.TOO_ACTIVE, "E")
    assert outcome.completed == pytest.approx(0.38 / 2)
    assert outcome.state.step == 3800
    limits = {"E": ActivityLimits(500.0, 1000.0, 0.05, 0.0)}
    outcome = network.run({}, network.initial_state(), 2.0, limits=limits)
    assert outcome.stop == Stop.TOO_QUIET
    assert outcome.rates_hz["E"].shape == (1,)


@pytest.mark.parametrize("text", ["log(w - 10)", "0/(x_post - x_post)"])
def test_a_weight_that_is_no_number_ends_the_run(text):
    circuit = balanced(EE=Projection("E", "E", 0.5, weight=1.0, **PLASTIC))
    *_, outcome = simulated(circuit, programs(circuit, {"EE.on_pre": text}), {})
    assert outcome.stop == Stop.NOT_A_NUMBER
    assert outcome.completed < 1


def test_a_voltage_that_is_no_number_ends_the_run():
    circuit = balanced(EE=Projection("E", "E", 1.0, weight=1e30))
    *_, outcome = simulated(circuit, {}, {})
    assert outcome.stop == Stop.NOT_A_NUMBER


def test_more_spikes_than_there_is_room_for_are_recorded_piece_by_piece(monkeypatch):
    circuit = balanced()
    *_, whole = simulated(circuit, {}, {})
    monkeypatch.setattr(_circuit_run, "SPIKES_KEPT", 10)
    *_, pieces = simulated(circuit, {}, {})
    for name in circuit.populations:
        np.testing.assert_array_equal(whole.spikes[name].neuron, pieces.spikes[name].neuron)
    assert_same_state(whole.state, pieces.state)


def test_intervals_and_rates_are_those_of_the_recorded_spikes():
    circuit = balanced()
    network = Network(circuit)
    outcome = network.run({}, network.initial_state(), 1.05, record=["E"], measure_from_s=0.0)
    spikes = outcome.spikes["E"]
    cvs = []
    for n in range(12):
        intervals = np.diff(spikes.step[spikes.neuron == n])
        if len(intervals) >= 5:
            cvs.append(intervals.std() / intervals.mean())
    assert outcome.measured["E"].mean_interval_cv == pytest.approx(np.mean(cvs))
    counts = np.histogram(spikes.step, bins=[*range(0, 10001, 1000), 10500])[0]
    lengths = np.array([0.1] * 10 + [0.05])
    np.testing.assert_allclose(outcome.rates_hz["E"], counts / 12 / lengths)


def test_measures_are_those_of_the_spikes_in_the_window():
    circuit = balanced()
    network = Network(circuit, 2)
    outcome = network.run({}, network.initial_state(), 2.05, record=["E", "I"], measure_from_s=0.4)
    for name, n in (("E", 12), ("I", 4)):
        spikes, measured = outcome.spikes[name], outcome.measured[name]
        for i in range(n):
            steps = spikes.step[(spikes.neuron == i) & (spikes.step >= 4000)]
            intervals, counts = np.diff(steps), np.bincount((steps - 4000) // 1000, minlength=17)[:16]
            assert measured.rate_hz[i] == pytest.approx(len(steps) / 1.65)
            assert measured.n_intervals[i] == len(intervals) > 2
            assert measured.interval_cv[i] == pytest.approx(intervals.std() / intervals.mean())
            assert measured.fano_factor[i] == pytest.approx(counts.var(ddof=1) / counts.mean())
        assert measured.mean_fano_factor == pytest.approx(measured.fano_factor.mean())


@pytest.mark.slow
def test_populations_of_more_neurons_than_sixteen_bits_can_count():
    n = 70_000
    wiring = Synapses.from_pairs([n - 1, 0], [0, n - 1], n)
    first = np.zeros(n)
    first[n - 1] = 60.0
    circuit = Circuit({"E": LIF(n)}, {"EE": Projection("E", "E", wiring=wiring, weight=[1.0, 5.0])})
    network = Network(circuit)
    state = network.initial_state(0, {"E": np.where(first > 0, -40.0, -60.0)})
    outcome = network.run({}, state, 0.003, record=["E"])
    assert outcome.spikes["E"].neuron.tolist() == [n - 1]
    voltage = outcome.state.voltage_mv("E")
    assert voltage[0] > -60.0
    assert np.all(voltage[1:] == -60.0)


# --------------------------------------------------------------------------------------------- bad circuits


PLAIN, CURVES = Projection("E", "E", 0.5, **PLASTIC), TraceSplines(0.0, 1.0, [[0.0] * 5])


def run_of(**given):
    circuit = given.pop("circuit", balanced({"R": Signal(), "x": Trace("E", 20.0)}, EE=PLAIN))
    network = Network(circuit)
    rules = programs(circuit, given.pop("rules", {}))
    return network.run(rules, given.pop("state", network.initial_state()), given.pop("seconds", 0.1), **given)


E, BOTH = LIF(3), {"E": LIF(3), "input": Poisson(3)}
ONE = {"EE": Projection("E", "E", 0.5, plastic=True)}
WIRING = Synapses([0, 1, 2, 3], [0, 1, 2])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LIF(0), "1 to 1000000"),
        (lambda: Poisson(2_000_000), "1 to 1000000"),
        (lambda: LIF(1, reset_mv=-40.0), "below the threshold"),
        (lambda: LIF(1, slow_share=1.5), "slow_share"),
        (lambda: LIF(1, clip_mv=(0.0, -80.0)), "clip_mv"),
        (lambda: LIF(1, tau_slow_ms=float("nan")), "tau_slow_ms is finite"),
        (lambda: Poisson(3, -1.0), "not negative"),
        (lambda: Poisson(3, [1.0, 2.0]), "one rate or 3"),
        (lambda: Recorded(2, [2.0, 1.0], [0, 0]), "sorted"),
        (lambda: Recorded(2, [1.0], [2]), "numbered 0 to 1"),
        (lambda: Synapses([0, 2], [1]), "grows from 0"),
        (lambda: Synapses.from_pairs([3], [0], 3), "numbered 0 to 2"),
        (lambda: Projection("E", "E"), "probability or its wiring"),
        (lambda: Projection("E", "E", 1.5), "at most 1"),
        (lambda: Projection("E", "E", 0.5, onto="excitation"), "'excitatory' or 'inhibitory'"),
        (lambda: Projection("E", "E", 0.5, delay_ms=-1.0), "delay_ms"),
        (lambda: Projection("E", "E", 0.5, weight=float("nan")), "finite weights"),
        (lambda: Projection("E", "E", 0.5, lowest=1.0, highest=1.0), "lowest < highest"),
        (lambda: Projection("E", "E", 0.5, interval_ms=1.0), "only if it is plastic"),
        (lambda: Circuit({"input": Poisson(3)}, {}), "at least one population of LIF"),
        (lambda: Circuit({"E": E}, {}, dt_ms=0.0), "dt_ms is positive"),
        (lambda: Circuit({"1": E}, {}), "a letter"),
        (lambda: Circuit({"E": E}, {}, {"w": Signal()}), "none of v"),
        (lambda: Circuit({"exc": E}, {"EE": Projection("ex", "exc", 0.5)}), "Did you mean 'exc'"),
        (lambda: Circuit(BOTH, {"EE": Projection("E", "input", 0.5)}), "no membrane"),
        (lambda: Circuit({"E": LIF(4)}, {"EE": Projection("E", "E", wiring=WIRING)}), "4 neurons onto 4"),
        (lambda: Circuit({"E": E}, {"EE": Projection("E", "E", wiring=WIRING, weight=[1, 2])}), "2 weights"),
        (lambda: Circuit({"E": E}, {"EE": Projection("E", "E", 0.5, weight=[1, 2])}), "give one weight"),
        (lambda: balanced(EE=Projection("E", "E", 0.5, plastic=True, weight=2.0, highest=1.0)), "0.0 to 1.0"),
        (lambda: Circuit({"E": E}, ONE, {"x": Trace("I", 20.0)}), "The trace x is of 'I'"),
        (lambda: Circuit({"E": E}, ONE, {"x": Trace("E", 0.0)}), "time constant of x"),
        (lambda: Circuit({"E": E}, ONE, {"e": Eligibility("EEE", 20.0)}), "Did you mean 'EE'"),
        (lambda: Circuit({"E": E}, ONE, {"m": LowPass("E.u", 20.0)}), "low pass of 'E.u'"),
        (lambda: Circuit({"E": E}, ONE, {"R": Signal(float("inf"))}), "finite value"),
        (lambda: Circuit({"E": E}, ONE, {"x": Trace("E", 2.0), "x_pre": Signal()}), "called x_pre"),
        (lambda: Circuit({"E": E, "in": Poisson(1, 1e5)}, {}), "less than one spike a step"),
        (lambda: run_of(seconds=0.0), "at least one step"),
        (lambda: run_of(measure_from_s=0.1), "Measuring starts"),
        (lambda: run_of(rules={"EE.on_pre": CURVES}, circuit=balanced({}, EE=PLAIN)), "Splines need a state"),
        (lambda: run_of(rules={"EE.on_prae": 3.0}), "got EE.on_prae"),
        (lambda: run_of(rules={"EE.on_pre": 3.0}), "fills slots with programs"),
        (lambda: run_of(rules={"EE.tau_x_pre": -3.0}), "positive and finite"),
        (lambda: run_of(signals={"Q": 1.0}), "signals are R"),
        (lambda: run_of(signals={"R": np.ones(7)}), "one for each of 1000"),
        (lambda: run_of(rates_hz={"E": 1.0}), "Poisson populations"),
        (lambda: run_of(record=["F"]), "recorded are among"),
        (lambda: run_of(limits={"F": ActivityLimits()}), "limited are among"),
        (lambda: run_of(state=Network(balanced()).initial_state()), "another network"),
        (lambda: run_of().state.weights("in"), "with weights of their own are EE"),
        (lambda: run_of().state.with_weights("EE", [1.0, 2.0]), "got the shape"),
        (lambda: run_of().state.with_weights("EE", 21.0), "from 0.0 to 20.0"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_program_reads_what_its_slot_has():
    slot = balanced(EE=Projection("E", "E", 0.5, **PLASTIC)).slots["EE.on_pre"]
    program = slot.program([], [(2, 1, slot.names.index("w"))])
    assert program.variables == slot.names
    with pytest.raises(ValueError, match="Did you mean 'x_post'"):
        slot.bound(replace(program, variables=("x_pst", *slot.names[1:])))
    with pytest.raises(ValueError, match="its neuron_level is True"):
        slot.bound(replace(program, neuron_level=(False,) * len(slot.names)))
