"""Rate circuits of many makes: states, projections, settling, recurrence through time, and gradients."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import naive
import naive_rate
import numba
import numpy as np
import pytest
from rate_examples import neuron

from sims import _groups, _interpreted, _rate_plans, rate
from sims.circuit import LIF, Circuit, LowPass, Projection, Rate, Signal, Trace
from sims.rate import Schedule
from sims.rules import Op, Program

N_INPUTS, N_SAMPLES = 3, 12
TWO_LAYERS = Circuit(
    {"x": Rate(N_INPUTS), "y": Rate(2)},
    {
        "feedforward": Projection("x", "y", 1.0, plastic=True),
        "lateral": Projection("y", "y", 1.0, plastic=True, hierarchical=True, symbol="v"),
    },
)


def changed(circuit: Circuit, **parts: Mapping[str, object]) -> Circuit:
    """Return a circuit with further or other populations, projections or states."""
    return replace(circuit, **{name: {**getattr(circuit, name), **part} for name, part in parts.items()})


WITH_MEAN = changed(TWO_LAYERS, states={"mean": LowPass("y", 5.0)})
WITH_THRESHOLD = changed(TWO_LAYERS, states={"theta": LowPass("y**2", 4.0), "cube": LowPass("y**3", 9.0)})
WITH_INPUT_MEAN = changed(TWO_LAYERS, states={"habit": LowPass("x", 6.0), "theta": LowPass("y**2", 4.0)})
THREE_LAYERS = changed(
    TWO_LAYERS,
    populations={"z": Rate(2, "tanh")},
    projections={"up": Projection("y", "z", 1.0, plastic=True, learning_rate=0.5)},
)
SETTLING = Circuit(
    {"x": Rate(N_INPUTS), "y": Rate(3, "tanh", sweeps=6)},
    {
        "feedforward": Projection("x", "y", 1.0, plastic=True),
        "lateral": Projection("y", "y", 1.0, plastic=True),
    },
)
RECTIFIED = changed(SETTLING, populations={"y": Rate(3, "rectified", sweeps=3)})
RECURRENT = Circuit(
    {"x": Rate(N_INPUTS), "E": Rate(3, "tanh", tau=2.0), "I": Rate(2, "tanh", tau=1.0)},
    {
        "in": Projection("x", "E", 1.0, plastic=True),
        "EE": Projection("E", "E", 1.0, plastic=True),
        "EI": Projection("E", "I", 1.0, plastic=True),
        "IE": Projection("I", "E", 1.0, plastic=True, learning_rate=2.0),
        "II": Projection("I", "I", 1.0, weight=-0.3),
    },
    {"rate": LowPass("E", 3.0)},
)


def formula(circuit: Circuit, slot: str, kind: str) -> Program:
    """Return a rule over all variables of a slot: quadratic in weight and input, or through functions."""
    names, n = circuit.slots[slot].names, len(circuit.slots[slot].names)
    pre, post, w, a, b, c = 0, 1, 2, n, n + 1, n + 2
    code: list[tuple[int, int, int]] = []

    def add(op: Op, first: int, second: int = 0) -> int:
        code.append((int(op), first, second))
        return n + 3 + len(code) - 1

    product = add(Op.MUL, pre, post)
    hebb = add(Op.MUL, a, product if kind == "quadratic" else add(Op.TANH, product))
    decay = add(Op.MUL, b, add(Op.MUL, w, add(Op.SQUARE, post)))
    total = add(Op.SUB, hebb, decay)
    for state in range(3, n):
        term = add(Op.MUL, state, add(Op.TANH, add(Op.MUL, c, post)))
        total = add(Op.SUB, total, add(Op.MUL, term, pre if kind == "quadratic" else add(Op.ABS, w)))
    return circuit.slots[slot].program([0.8, 0.7, 0.4], code, total) if names else None


def work(circuit: Circuit, n_problems: int, seed: int = 0) -> tuple[np.ndarray, dict, dict]:
    """Draw inputs, weights and states."""
    rng = np.random.default_rng(seed)
    populations = circuit.populations
    weights = {
        name: np.clip(
            0.3 * rng.normal(size=(n_problems, populations[one.post].n, populations[one.pre].n)),
            *(0.9 * bound for bound in circuit.bounds(name)),
        )
        for name, one in circuit.projections.items()
    }
    states = {
        name: rng.uniform(
            0, 0.5, (n_problems, populations[one.power[0]].n if one.power[0] in populations else 1)
        )
        for name, one in circuit.states.items()
        if isinstance(one, LowPass)
    }
    return rng.normal(size=(n_problems, N_SAMPLES, N_INPUTS)), weights, states


REWARDED = changed(
    THREE_LAYERS,
    populations={"critic": Rate(1, "tanh")},
    projections={"value": Projection("y", "critic", 1.0, plastic=True, learning_rate=0.7)},
    states={
        "R": Signal(of="critic"), "theta": LowPass("y**2", 4.0), "R_mean": LowPass("R", 6.0),
        "level": Signal(0.6), "surprise": LowPass("R**2", 3.0),
    },
)  # fmt: skip
SHOWN_BY_SIGNAL = Circuit(
    {"x": Rate(N_INPUTS), "y": Rate(1)},
    {"feedforward": Projection("x", "y", 1.0, plastic=True)},
    {"label": Signal(of="y"), "R": Signal(-0.4)},
)
BOUNDED = changed(
    WITH_THRESHOLD,
    projections={
        "feedforward": Projection("x", "y", 1.0, weight=0.1, plastic=True, lowest=-0.45, highest=0.45),
        "lateral": replace(TWO_LAYERS.projections["lateral"], weight=0.1, highest=0.5, learning_rate=2.0),
    },
)
BOUNDED_NEURON = changed(
    neuron(N_INPUTS),
    projections={"feedforward": replace(BOUNDED.projections["feedforward"], lowest=-0.4, highest=0.4)},
)
CIRCUITS = {
    "bounds": BOUNDED,
    "bounds of one neuron": BOUNDED_NEURON,
    "signals and their means": REWARDED,
    "signals of one neuron": SHOWN_BY_SIGNAL,
    "two layers": TWO_LAYERS,
    "a running mean": WITH_MEAN,
    "two thresholds": WITH_THRESHOLD,
    "a mean of each input": WITH_INPUT_MEAN,
    "three layers": THREE_LAYERS,
    "settling": SETTLING,
    "rectified": RECTIFIED,
    "recurrent": RECURRENT,
}
SCHEDULES = {
    batch: Schedule(np.random.default_rng(batch).integers(N_SAMPLES, size=(5, batch)), 9, 0.02)
    for batch in (1, 4, 33)
}


def squared(final: dict[str, np.ndarray]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Half the sum of squares of all that a problem ended with, and its derivatives."""
    return sum(0.5 * np.sum(one**2, axis=tuple(range(1, one.ndim))) for one in final.values()), final


@pytest.mark.parametrize("batch", SCHEDULES)
@pytest.mark.parametrize("kind", ["quadratic", "functions"])
@pytest.mark.parametrize("name", CIRCUITS)
def test_circuits_run_as_one_by_one(name: str, kind: str, batch: int) -> None:
    circuit, schedule = CIRCUITS[name], SCHEDULES[batch]
    rules = {slot: formula(circuit, slot, kind) for slot in circuit.slots}
    for n_problems in (1, 3):
        inputs, weights, states = work(circuit, n_problems)
        found = rate.simulate(circuit, rules, inputs, weights, schedule, states=states)
        assert np.all(found.blow_up == -1)
        for p in range(n_problems):
            start = {key: value[p] for key, value in {**weights, **states}.items()}
            expected = naive_rate.rate_circuit(circuit, rules, inputs[p], start, schedule)
            assert set(found.final) == set(expected)
            for part, value in expected.items():
                np.testing.assert_allclose(found.final[part][p], value, rtol=1e-9, atol=1e-12, err_msg=part)


@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("kind", ["quadratic", "functions"])
@pytest.mark.parametrize("name", CIRCUITS)
def test_gradients_are_those_of_the_losses(name: str, kind: str, batch: int) -> None:
    """Through rules, states, sweeps and time, to constants and to all that a problem begins with."""
    circuit, schedule = CIRCUITS[name], SCHEDULES[batch]
    rules = {slot: formula(circuit, slot, kind) for slot in circuit.slots}
    inputs, weights, states = work(circuit, 3)
    exact = rate.meta_gradient(circuit, rules, inputs, weights, schedule, squared, states=states)

    def total(rules: dict, weights: dict, states: dict) -> float:
        end = rate.simulate(circuit, rules, inputs, weights, schedule, states=states)
        return float(np.sum(squared(end.final)[0]))

    for slot, rule in rules.items():
        expected = naive.central_differences(
            lambda z, slot=slot, rule=rule: total({**rules, slot: rule.with_constants(z)}, weights, states),
            rule.constants,
        )
        np.testing.assert_allclose(exact.gradients[slot].sum(0), expected, rtol=1e-6, atol=1e-9)
    for part, adjoint in exact.initial_adjoint.items():
        given = weights if part in weights else {**{part: np.zeros_like(adjoint)}, **states}
        size = np.linalg.norm(adjoint)
        assert size > 0

        def along(scale: np.ndarray, part: str = part, given: dict = given, a: np.ndarray = adjoint) -> float:
            moved = {**given, part: given[part] + scale[0] * a / np.linalg.norm(a)}
            return total(rules, *((moved, states) if part in weights else (weights, moved)))

        assert size == pytest.approx(naive.central_differences(along, np.zeros(1))[0], rel=1e-6), part


def test_weights_end_at_their_bounds() -> None:
    inputs, weights, _ = work(BOUNDED_NEURON, 8)
    hebb = {"feedforward": BOUNDED_NEURON.slots["feedforward"].program([], [(int(Op.MUL), 0, 1)], 3)}
    found = rate.meta_gradient(
        BOUNDED_NEURON, hebb, inputs, weights, Schedule.whole_sample(N_SAMPLES, 400, 0.5), squared
    )
    final = found.outcome.final["feedforward"]
    assert np.all(found.outcome.blow_up == -1), "Hebb's rule, which grows without end elsewhere"
    assert np.all(np.abs(final) <= 0.4)
    assert (np.abs(final) == 0.4).mean() > 0.9
    settled = (np.abs(final) == 0.4).all(axis=(1, 2))
    assert settled.any()
    assert not found.initial_adjoint["feedforward"][settled].any()
    with pytest.raises(ValueError, match=r"from -0\.4 to 0\.4"):
        rate.simulate(BOUNDED_NEURON, hebb, inputs, {"feedforward": weights["feedforward"] + 1}, SCHEDULES[1])


@pytest.mark.parametrize("batch", SCHEDULES)
@pytest.mark.parametrize("kind", ["quadratic", "functions"])
def test_signals_have_the_values_that_a_run_is_given(kind: str, batch: int) -> None:
    schedule, circuit = SCHEDULES[batch], REWARDED
    rules = {slot: formula(circuit, slot, kind) for slot in circuit.slots}
    inputs, weights, states = work(circuit, 3)
    level = np.random.default_rng(3).normal(size=(3, N_SAMPLES))
    options = {"states": states, "signals": {"level": level}}
    found = rate.meta_gradient(circuit, rules, inputs, weights, schedule, squared, **options)
    for p in range(3):
        start = {key: value[p] for key, value in {**weights, **states}.items()}
        expected = naive_rate.rate_circuit(circuit, rules, inputs[p], start, schedule, {"level": level[p]})
        for part, value in expected.items():
            np.testing.assert_allclose(
                found.outcome.final[part][p], value, rtol=1e-9, atol=1e-12, err_msg=part
            )
    for slot, rule in rules.items():
        expected = naive.central_differences(
            lambda z, slot=slot, rule=rule: float(
                squared(
                    rate.simulate(
                        circuit, {**rules, slot: rule.with_constants(z)}, inputs, weights, schedule, **options
                    ).final
                )[0].sum()
            ),
            rule.constants,
        )
        np.testing.assert_allclose(found.gradients[slot].sum(0), expected, rtol=1e-6, atol=1e-9)


def test_a_given_signal_is_one_more_input_that_no_synapse_brings() -> None:
    """The same as a population that is shown, to the bit."""
    told = replace(SHOWN_BY_SIGNAL, states={"R": Signal()})
    shown = Circuit(
        {"x": Rate(N_INPUTS), "r": Rate(1), "y": Rate(1)},
        told.projections,
        {"R": Signal(of="r")},
    )
    inputs, weights, _ = work(told, 5)
    level = np.random.default_rng(4).normal(size=(5, N_SAMPLES))
    both = np.concatenate([inputs, level[:, :, None]], axis=2)
    rules = {"feedforward": formula(told, "feedforward", "functions")}
    first = rate.simulate(told, rules, inputs, weights, SCHEDULES[4], signals={"R": level}).final
    second = rate.simulate(shown, rules, both, weights, SCHEDULES[4]).final
    np.testing.assert_array_equal(first["feedforward"], second["feedforward"])
    fixed, initial = (
        rate.simulate(
            replace(told, states={"R": Signal(at)}), rules, inputs, weights, SCHEDULES[4], signals=of
        )
        for at, of in ((0.0, {"R": 0.7}), (0.7, {}))
    )
    np.testing.assert_array_equal(fixed.final["feedforward"], initial.final["feedforward"])


def test_reward_makes_a_neuron_do_what_it_is_rewarded_for() -> None:
    """A node that is perturbed learns by reward times perturbation times input, see Williams (1992)."""
    circuit = Circuit(
        {"x": Rate(2), "y": Rate(1)},
        {"synapses": Projection("x", "y", 1.0, plastic=True)},
        {"R": Signal(), "noise": Signal(), "R_mean": LowPass("R", 50.0)},
    )
    names = circuit.slots["synapses"].names
    advantage = (Op.SUB, names.index("R"), names.index("R_mean"))
    n = len(names)
    rule = circuit.slots["synapses"].program(
        [], [advantage, (Op.MUL, n, names.index("noise")), (Op.MUL, n + 1, names.index("x"))]
    )
    rng, target = np.random.default_rng(0), np.array([0.8, -0.5])
    weights, states = np.zeros((1, 1, 2)), {"R_mean": np.zeros((1, 1))}
    for _ in range(3000):
        x, noise = rng.normal(size=(1, 1, 2)), 0.3 * rng.normal()
        reward = -((x[0, 0] @ (weights[0, 0] - target) + noise) ** 2)
        end = rate.simulate(
            circuit, {"synapses": rule}, x, {"synapses": weights}, Schedule.online(1, 1, 0.1), states=states,
            signals={"R": reward, "noise": noise},
        ).final  # fmt: skip
        weights, states = end["synapses"], {"R_mean": end["R_mean"]}
    np.testing.assert_allclose(weights[0, 0], target, atol=0.15)


def test_many_sweeps_settle() -> None:
    """Outputs of a linear population that settles are those of the fixed point y = W x + V y."""
    circuit = Circuit(
        {"x": Rate(N_INPUTS), "y": Rate(3, sweeps=200), "z": Rate(3)},
        {
            "in": Projection("x", "y", 1.0),
            "V": Projection("y", "y", 1.0),
            "out": Projection("y", "z", 1.0, plastic=True),
        },
        {"mean": LowPass("y", 1.0)},
    )
    inputs, weights, _ = work(circuit, 4)
    weights["V"] *= 0.3
    end = rate.simulate(circuit, {}, inputs, weights, Schedule([[5]], 1, 0.1)).final
    drive = np.einsum("pki,pi->pk", weights["in"], inputs[:, 5])
    expected = np.linalg.solve(np.eye(3) - weights["V"], drive[:, :, None])[:, :, 0]
    np.testing.assert_allclose(end["mean"], expected, rtol=1e-9)


@pytest.mark.parametrize("n_problems", [1, 20])
@pytest.mark.parametrize("kind", ["quadratic", "functions"])
def test_one_neuron_runs_in_the_general_way_as_in_its_own(
    monkeypatch: pytest.MonkeyPatch, kind: str, n_problems: int
) -> None:
    circuit, n_inputs = neuron(N_INPUTS), N_INPUTS
    rules = {"feedforward": formula(circuit, "feedforward", kind)}
    inputs, weights, _ = work(circuit, n_problems)
    results = []
    for is_neuron in (True, False):
        layout = rate.Layout.of(circuit)
        monkeypatch.setattr(layout, "is_neuron", is_neuron)
        for batch, schedule in SCHEDULES.items():
            found = rate.meta_gradient(circuit, rules, inputs, weights, schedule, squared)
            results.append((batch, found.losses, found.gradients["feedforward"]))
            assert found.initial_adjoint["feedforward"].shape == (n_problems, 1, n_inputs)
    for own, general in zip(results[:3], results[3:], strict=True):
        np.testing.assert_allclose(own[1], general[1], rtol=1e-11)
        np.testing.assert_allclose(own[2], general[2], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ["two thresholds", "settling", "recurrent"])
def test_checkpoints_and_threads_change_nothing(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(_groups, "WORTH_A_THREAD", 0)
    circuit, schedule = CIRCUITS[name], replace(SCHEDULES[4], n_steps=26)
    rules = {slot: formula(circuit, slot, "functions") for slot in circuit.slots}
    inputs, weights, states = work(circuit, 20)

    def run() -> rate.MetaGradient:
        return rate.meta_gradient(circuit, rules, inputs, weights, schedule, squared, states=states)

    before, full = numba.get_num_threads(), run()
    numba.set_num_threads(1)
    one = run()
    numba.set_num_threads(before)
    monkeypatch.setattr(_interpreted, "TRAJECTORY_BYTES", 0)
    sparse = run()
    for slot, gradient in full.gradients.items():
        assert gradient.tobytes() == one.gradients[slot].tobytes()
        np.testing.assert_allclose(gradient, sparse.gradients[slot], rtol=1e-10, atol=1e-12)


def test_a_state_that_is_no_number_is_a_blow_up() -> None:
    circuit = changed(TWO_LAYERS, states={"theta": LowPass("y**2", 4.0)})
    inputs, weights, states = work(circuit, 4)
    inputs[2] = 1e200
    end = rate.simulate(circuit, {}, inputs, weights, SCHEDULES[1], states=states)
    assert end.blow_up.tolist() == [-1, -1, 1, -1]
    assert not end.final["theta"][2].any()
    assert not end.final["feedforward"][2].any()


X, Y, FULL = Rate(2), Rate(1), Projection("x", "y", 1.0, plastic=True)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Circuit({"x": X, "y": LIF(2)}, {}), "all of the type Rate, or none"),
        (lambda: Circuit({"x": X, "y": Y}, {"p": Projection("x", "y", 0.5)}), "has the probability 1"),
        (lambda: Circuit({"x": X, "y": Y}, {"p": replace(FULL, delay_ms=1.0)}), "has delay_ms, which rate"),
        (lambda: Circuit({"x": X, "y": Y}, {"p": replace(FULL, hierarchical=True)}), "within a population"),
        (lambda: Circuit({"x": X, "y": Y}, {"p": replace(FULL, symbol="2w")}), "called by a plain name"),
        (lambda: Circuit({"x": X, "y": Y}, {"y": FULL}), "name of its own"),
        (lambda: Circuit({"x": X, "y": Y}, {"p": FULL}, {"R": Trace("x", 2.0)}), "types LowPass and Signal"),
        (lambda: Circuit({"x": X, "y": Y}, {"p": FULL}, {"R": Signal(of="x")}), "population of one neuron"),
        (lambda: Circuit({"x": X, "y": Y}, {"p": FULL}, {"R": Signal(of="z")}), "population of one neuron"),
        (lambda: Circuit({"x": X, "y": Y}, {"p": FULL}, {"R": Signal(np.nan)}), "begins with a finite"),
        (lambda: Circuit({"E": LIF(1)}, {}, {"R": Signal(of="E")}), "in rate circuits alone"),
        (lambda: Circuit({"x": X, "y": Y}, {"p": FULL}, {"m": LowPass("u", 2.0)}), "low pass of 'u'"),
        (lambda: Circuit({"x": X, "y": Y}, {"p": FULL}, {"m": LowPass("y**0", 2.0)}), "low pass of"),
        (lambda: Circuit({"x": X, "y": Y}, {"p": FULL}, {"m": LowPass("y", 0.5)}), "at least one step"),
        (lambda: Circuit({"x": X, "y": Y}, {"p": FULL}, {"x": LowPass("y", 2.0)}), "name of its own"),
        (
            lambda: Circuit({"x": X, "y": Y, "z": Y}, {"p": FULL, "q": FULL, "b": Projection("z", "y", 1.0)}),
            "goes back from z to y",
        ),
        (lambda: Rate(0), "is 1 to"),
        (lambda: Rate(1, "relu"), "'linear', 'tanh' or 'rectified'"),
        (lambda: Rate(1, sweeps=-1), "sweeps"),
        (lambda: Rate(1, tau=0.5), "at least one sample"),
    ],
)
def test_circuits_that_make_no_sense_are_refused(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_requests_that_make_no_sense_are_refused() -> None:
    inputs, weights, states = work(WITH_THRESHOLD, 2)
    rules = {"feedforward": formula(WITH_THRESHOLD, "feedforward", "quadratic")}
    for change, message in (
        ({"rules": {"forward": rules["feedforward"]}}, "Slots of this circuit are feedforward, lateral"),
        ({"weights": {"V": weights["lateral"]}}, "Initial weights are of feedforward, lateral"),
        ({"states": {"phi": states["theta"]}}, "Initial states are of theta, cube"),
        ({"states": {"theta": states["theta"][:1]}}, "Initial states of theta have shape"),
        ({"signals": {"theta": 0.0}}, "Signals to be given are none"),
        (
            {"circuit": SHOWN_BY_SIGNAL, "rules": {}, "weights": {}, "states": {}, "signals": {"label": 0.0}},
            "Signals to be given are R",
        ),
        (
            {
                "circuit": SHOWN_BY_SIGNAL,
                "rules": {},
                "weights": {},
                "states": {},
                "signals": {"R": [1.0, 2.0]},
            },
            "a value for each sample",
        ),
        (
            {"circuit": SHOWN_BY_SIGNAL, "rules": {}, "weights": {}, "states": {}, "signals": {"R": np.nan}},
            "R must be finite",
        ),
        ({"circuit": Circuit({"E": LIF(2)}, {})}, "simulations of rate circuits"),
        ({"circuit": Circuit({"x": X}, {})}, "to which no projection goes, and others"),
    ):
        given = {
            "circuit": WITH_THRESHOLD, "rules": rules, "inputs": inputs, "weights": weights,
            "schedule": SCHEDULES[1], "states": states, **change,
        }  # fmt: skip
        with pytest.raises(ValueError, match=message):
            rate.simulate(**given)


@pytest.mark.parametrize("name", CIRCUITS)
def test_the_order_of_the_rules_does_not_matter(name: str) -> None:
    circuit, (inputs, weights, states) = CIRCUITS[name], work(CIRCUITS[name], 3)
    rules = {
        slot: formula(circuit, slot, ("quadratic", "functions")[k % 2])
        for k, slot in enumerate(circuit.slots)
    }
    other = dict(reversed(rules.items()))

    def loss(final: dict[str, np.ndarray]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        parts = {key: final[key] for key in rules}
        return sum(np.sum(part**2, axis=(1, 2)) for part in parts.values()), {
            key: 2 * part for key, part in parts.items()
        }

    first, second = (
        rate.meta_gradient(circuit, given, inputs, weights, SCHEDULES[4], loss, states=states)
        for given in (rules, other)
    )
    assert any(np.abs(gradient).max() > 0 for gradient in first.gradients.values())
    for slot in rules:
        np.testing.assert_array_equal(first.gradients[slot], second.gradients[slot])


@pytest.mark.parametrize("name", CIRCUITS)
def test_samples_that_are_worked_on_a_few_at_a_time_give_the_same(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Batches of the other tests are worked on as a whole."""
    circuit, (inputs, weights, states) = CIRCUITS[name], work(CIRCUITS[name], 3)
    for kind in ("quadratic", "functions"):
        rules = {slot: formula(circuit, slot, kind) for slot in circuit.slots}
        found = []
        for most, fewest in ((1 << 20, 16), (0, 2)):
            monkeypatch.setattr(_rate_plans, "UNITS_BYTES", most)
            monkeypatch.setattr(_rate_plans, "FEWEST_TOGETHER", fewest)

            def loss(final: dict[str, np.ndarray]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
                parts = {key: final[key] for key in rules}  # noqa: B023
                return sum(np.sum(part**2, axis=(1, 2)) for part in parts.values()), {
                    key: 2 * part for key, part in parts.items()
                }

            found.append(
                rate.meta_gradient(circuit, rules, inputs, weights, SCHEDULES[33], loss, states=states)
            )
        whole, few = found
        for slot in rules:
            np.testing.assert_allclose(few.gradients[slot], whole.gradients[slot], rtol=1e-11, atol=1e-14)
        for key, part in whole.initial_adjoint.items():
            np.testing.assert_allclose(few.initial_adjoint[key], part, rtol=1e-11, atol=1e-14)


def test_weights_begin_as_the_circuit_says() -> None:
    """With either sign, as there are no bounds, and one weight for all or one for each synapse."""
    each = np.array([[0.1, -0.2, 0.3], [0.4, 0.5, -0.6]])
    for weight in (-0.3, each):
        circuit = changed(
            TWO_LAYERS, projections={"feedforward": Projection("x", "y", 1.0, plastic=True, weight=weight)}
        )
        inputs, weights, _ = work(circuit, 2)
        final = rate.simulate(circuit, {}, inputs, {"lateral": weights["lateral"]}, SCHEDULES[4]).final
        np.testing.assert_array_equal(final["feedforward"], np.broadcast_to(weight, (2, 2, 3)))
    for shape in ((6,), (3,), (4, 2, 3)):
        with pytest.raises(ValueError, match=r"of the shape \(2, 3\), a row a postsynaptic neuron"):
            changed(
                TWO_LAYERS,
                projections={"feedforward": Projection("x", "y", 1.0, plastic=True, weight=np.ones(shape))},
            )


@pytest.mark.parametrize("more", [{"activation": "tanh"}, {"sweeps": 3}, {"tau": 5.0}])
def test_inputs_are_given_and_do_nothing_of_their_own(more: dict) -> None:
    with pytest.raises(ValueError, match="No projection goes to x: runs give its activity"):
        changed(TWO_LAYERS, populations={"x": Rate(N_INPUTS, **more)})
