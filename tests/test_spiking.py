"""The feed-forward spiking circuit: science.md 4 and the order of operations in a step."""

from __future__ import annotations

import math
from dataclasses import replace

import naive_spiking as naive
import numba
import numpy as np
import pytest
from circuit_examples import programs as texts_as_programs
from numpy.testing import assert_allclose, assert_array_equal

from sims.circuit import LIF
from sims.rules import Op, Program
from sims.spike_rules import ActivityLimits, ExcitatoryPlasticity, LinearSpikeRule, SpikeRule
from sims.spike_splines import SplineSpikeRule, TraceSplines
from sims.spiking import (
    FeedforwardCircuit,
    FeedforwardOutcome,
    FeedforwardProblems,
    InputSpikes,
    Stop,
    draw_input_spikes,
    published_problems,
    simulate_feedforward,
)

PUBLISHED = FeedforwardCircuit()
SMALL = FeedforwardCircuit(
    n_excitatory=60, n_inhibitory=20, n_channels=4, excitatory_unit=0.2, inhibitory_unit=0.5
)
VOGELS = LinearSpikeRule.vogels(6.25)
PRE, POST = (("x_post", "w"), (True, False)), (("x_pre", "w"), (False, False))


def programs(pre_constants, pre_code, post_constants, post_code, tau_pre_ms=20.0, tau_post_ms=20.0):
    pre = None if pre_code is None else Program.build(*PRE, pre_constants, pre_code)
    post = None if post_code is None else Program.build(*POST, post_constants, post_code)
    return SpikeRule(pre, post, tau_pre_ms, tau_post_ms)


SOFT_BOUNDS = programs(
    [0.3], [(Op.MUL, 2, 1), (Op.NEG, 3, 0), (Op.TANH, 0, 0), (Op.ADD, 4, 5)],
    [2.0], [(Op.SUB, 2, 1), (Op.MUL, 0, 3), (Op.SQUARE, 4, 0), (Op.MIN, 4, 5), (Op.POWI, 6, 3)],
    12.0, 31.0,
)  # fmt: skip
"""A rule without meaning that uses weights, both traces and several kinds of instruction."""

SPLINES = SplineSpikeRule(
    TraceSplines(0.1, 1.2, [[-0.4, -0.3, 0.2, 0.5, 0.1, 0.9], [0.3, -0.6, 0.2, 0.0, -0.7, 0.1]]),
    TraceSplines(0.0, 2.0, [[0.1, 0.5, 0.9, -0.2], [0.2, -0.4, 0.6, -0.3], [-0.2, 0.1, -0.3, 0.1]]),
    12.0, 31.0,
)  # fmt: skip
"""Curves without meaning, which traces also leave at both ends."""

RULES = {
    "vogels": VOGELS,
    "linear": LinearSpikeRule(-0.1, 0.05, 0.7, 0.3, 11.0, 35.0),
    "programs": SOFT_BOUNDS,
    "on_pre alone": programs([], [(Op.SQUARE, 0, 0), (Op.MUL, 1, 2)], [], None),
    "on_post alone": programs([], None, [1.0], [(Op.SUB, 2, 1), (Op.MUL, 0, 3)]),
    "nothing": SpikeRule(None, None),
    "splines": SPLINES,
    "splines on_pre alone": SplineSpikeRule(SPLINES.on_pre, None),
}


def small_problems(n: int = 2, circuit: FeedforwardCircuit = SMALL) -> FeedforwardProblems:
    return published_problems(circuit, seeds=range(7, 7 + n), inhibitory_weight=0.3)


def same(one: FeedforwardOutcome, other: FeedforwardOutcome) -> None:
    for name, value in vars(one).items():
        if value is not None:
            assert_array_equal(value, getattr(other, name), err_msg=name)


# ----------------------------------------------------------------------------------- order in a step

FORCED = FeedforwardCircuit(
    n_excitatory=1, n_inhibitory=1, n_channels=1, excitatory_unit=1e5, neuron=LIF(1, tau_excitatory_ms=0.005),
    inhibitory_unit=0.0, learning_rate=1.0, largest_inhibitory=1e6,
)  # fmt: skip
"""The excitatory input makes the neuron spike in the next step; the inhibitory one only learns."""

E = math.exp
ALPHA, BETA, GAMMA, KAPPA = 1.0, 10.0, 100.0, 1000.0


@pytest.mark.parametrize(
    ("pre", "post", "weight"),
    [
        # tau_pre 10 ms is 100 steps, tau_post 20 ms is 200 steps.
        ([100], [], ALPHA),
        ([], [100], BETA),
        ([100], [150], ALPHA + BETA + GAMMA * E(-0.5)),
        ([150], [100], BETA + ALPHA + KAPPA * E(-0.25)),
        # A tie: pre before post. on_pre sees no postsynaptic spike, on_post sees the presynaptic one.
        ([100], [100], ALPHA + BETA + GAMMA),
        ([1], [1], ALPHA + BETA + GAMMA),
        # A trace is read before its own jump, and remembers all earlier spikes.
        ([100, 200], [], 2 * ALPHA),
        ([100, 200], [200], 2 * ALPHA + BETA + GAMMA * (1 + E(-1.0))),
        ([100, 200], [100], ALPHA + BETA + GAMMA + ALPHA + KAPPA * E(-0.5)),
        ([300], [100, 200, 300], 3 * BETA + GAMMA + ALPHA + KAPPA * (E(-1.0) + E(-0.5))),
        ([100, 300], [100, 300], 2 * ALPHA + KAPPA * E(-1.0) + 2 * BETA + GAMMA * (2 + E(-2.0))),
        ([299, 301], [300], 2 * ALPHA + BETA + GAMMA * E(-0.01) + KAPPA * E(-0.005)),
    ],
)
@pytest.mark.parametrize("as_programs", [False, True])
def test_pairs_of_spikes_change_a_weight_as_computed_by_hand(pre, post, weight, as_programs) -> None:
    spikes = sorted([(k, 1) for k in pre] + [(k - 1, 0) for k in post])
    rule = LinearSpikeRule(ALPHA, BETA, GAMMA, KAPPA, 10.0, 20.0)
    outcome = simulate_feedforward(
        rule.as_programs() if as_programs else rule,
        FeedforwardProblems([[1.0]], [[0.0]], [0, 0], [1.0], [1]),
        0.05,
        circuit=FORCED,
        events=[InputSpikes([k for k, _ in spikes], [i for _, i in spikes])],
        keep_spikes=5,
    )
    assert_allclose(outcome.spike_times_s[0, 0, : len(post)] / 1e-4, post)
    assert outcome.n_spikes[0, 0] == len(post)
    assert_allclose(outcome.inhibitory_weights[0, 0, 0], weight, rtol=1e-12)


def test_the_order_of_spikes_within_a_step_is_of_no_account() -> None:
    problem = FeedforwardProblems([[1.0]], [[0.0]], [0, 0], [1.0], [1])
    rule = LinearSpikeRule(ALPHA, BETA, GAMMA, KAPPA, 10.0, 20.0)
    ends = [
        simulate_feedforward(rule, problem, 0.02, circuit=FORCED, events=[InputSpikes([100, 100], order)])
        for order in ([0, 1], [1, 0])
    ]
    same(*ends)


# ------------------------------------------------------------------------------------------ the twin


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("measure_from", [0, 1500])
def test_equals_the_naive_twin_on_frozen_spikes(name: str, measure_from: int) -> None:
    rule, problems, n_steps = RULES[name], small_problems(), 4000
    events = draw_input_spikes(SMALL, problems, 0.4)
    fast = simulate_feedforward(
        rule, problems, 0.4, measure_from * 1e-4, circuit=replace(SMALL, learning_rate=0.02), events=events,
        keep_spikes=100, chunk_s=0.07,
    )  # fmt: skip
    for k in range(len(problems)):
        times = fast.spike_times_s[0, k]
        steps = np.round(times[np.isfinite(times)] / 1e-4)
        circuit = naive.as_circuit(replace(SMALL, learning_rate=0.02), problems, k)
        slow = naive.feedforward(
            circuit, rule.of_projection("I"), problems.channels[k], events[k], steps, n_steps, measure_from
        )
        assert slow.n_close == 0  # it is told when the neuron spikes, and would have said the same each time
        assert len(steps) > 3
        assert_allclose(fast.inhibitory_weights[0, k], slow.weights["I"], rtol=1e-9, atol=1e-12)
        for onto, current in (
            ("excitatory", fast.excitatory_current), ("inhibitory", fast.inhibitory_current)
        ):  # fmt: skip
            expected = naive.currents(slow, onto, SMALL.n_channels, n_steps - measure_from)
            assert_allclose(current[0, k], expected, rtol=1e-5)  # of voltages of single precision


@pytest.mark.parametrize(("normalise_every_s", "slow_tau_ms"), [(None, None), (0.05, None), (None, 114.0)])
@pytest.mark.parametrize("name", ["linear", "programs", "splines"])
def test_equals_the_naive_twin_with_plastic_excitation(
    name: str, normalise_every_s: float | None, slow_tau_ms: float | None
) -> None:
    problems, n_steps = small_problems(), 3000
    events = draw_input_spikes(SMALL, problems, 0.3)
    hebbian = programs(
        [0.3], [(Op.MUL, 0, 1), (Op.MUL, 2, 3), (Op.NEG, 4, 0)], [2.0], [(Op.SUB, 2, 1), (Op.MUL, 0, 3)]
    )
    plastic = ExcitatoryPlasticity(hebbian, 0.01, 2.0, normalise_every_s, slow_tau_ms)
    fast = simulate_feedforward(
        RULES[name], problems, 0.3, 0.1, circuit=replace(SMALL, learning_rate=0.02), events=events,
        excitatory=plastic, keep_spikes=100, chunk_s=0.11,
    )  # fmt: skip
    assert fast.excitatory_weights is not None
    gate = "slow_post*" if slow_tau_ms is not None else ""
    texts = {"E.on_pre": "-0.3*x_post*w", "E.on_post": f"{gate}x_pre*(2 - w)"}
    for k in range(len(problems)):
        times = fast.spike_times_s[0, k]
        steps = np.round(times[np.isfinite(times)] / 1e-4)
        circuit = naive.as_circuit(
            replace(SMALL, learning_rate=0.02), problems, k,
            {"plastic": True, "highest": 2.0, "learning_rate": 0.01},
        )  # fmt: skip
        slow = naive.feedforward(
            circuit, RULES[name].of_projection("I") | texts_as_programs(circuit, texts),
            problems.channels[k], events[k], steps, n_steps, 1000, None if normalise_every_s is None else 500,
        )  # fmt: skip
        assert slow.n_close == 0
        assert fast.n_spikes[0, k] == len(steps) > 3
        assert_allclose(fast.inhibitory_weights[0, k], slow.weights["I"], rtol=1e-9, atol=1e-12)
        assert_allclose(fast.excitatory_weights[0, k], slow.weights["E"], rtol=1e-9)
        expected = naive.currents(slow, "excitatory", SMALL.n_channels, n_steps - 1000)
        assert_allclose(fast.excitatory_current[0, k], expected, rtol=1e-5)
        assert np.ptp(fast.excitatory_weights[0, k] - problems.excitatory_weights[k]) > 0.01


def test_the_published_family_equals_its_programs() -> None:
    rules = [VOGELS, RULES["linear"]]
    one, other = (
        simulate_feedforward(some, small_problems(), 1.0, 0.3, circuit=SMALL)
        for some in (rules, [rule.as_programs() for rule in rules])
    )
    assert_array_equal(one.n_spikes, other.n_spikes)
    assert_allclose(one.inhibitory_weights, other.inhibitory_weights, rtol=1e-10, atol=1e-13)


def test_plastic_excitation_that_does_not_learn_is_fixed_excitation() -> None:
    fixed = simulate_feedforward(VOGELS, small_problems(), 1.0, 0.3, circuit=SMALL)
    nothing = ExcitatoryPlasticity(SpikeRule(None, None), 0.1, 10.0)
    idle = simulate_feedforward(VOGELS, small_problems(), 1.0, 0.3, circuit=SMALL, excitatory=nothing)
    assert_array_equal(fixed.n_spikes, idle.n_spikes)
    assert_allclose(fixed.inhibitory_weights, idle.inhibitory_weights, rtol=1e-10)
    assert_allclose(fixed.excitatory_current, idle.excitatory_current, rtol=1e-10)


# ---------------------------------------------------------------------------------------- invariance


@pytest.mark.parametrize("plastic", [False, True])
def test_chunks_do_not_change_results(plastic: bool) -> None:
    excitatory = ExcitatoryPlasticity(RULES["linear"], 1e-4, 2.0, 0.13) if plastic else None
    runs = [
        simulate_feedforward(
            list(RULES.values()),
            small_problems(),
            0.9,
            0.31,
            circuit=SMALL,
            chunk_s=chunk_s,
            keep_spikes=50,
            excitatory=excitatory,
        )
        for chunk_s in (0.0001, 0.0333, 0.5, 50.0)
    ]
    for run in runs[1:]:
        same(runs[0], run)


def test_threads_do_not_change_results() -> None:
    problems, before = small_problems(5), numba.get_num_threads()
    runs = []
    try:
        for n_threads in (1, 2):
            numba.set_num_threads(n_threads)
            runs.append(simulate_feedforward([VOGELS, SOFT_BOUNDS], problems, 2.0, 1.0, circuit=SMALL))
    finally:
        numba.set_num_threads(before)
    same(*runs)


def test_a_rule_does_not_see_the_others() -> None:
    rules = list(RULES.values())
    together = simulate_feedforward(rules, small_problems(), 0.6, 0.2, circuit=SMALL)
    for r, rule in enumerate(rules):
        alone = simulate_feedforward(rule, small_problems(), 0.6, 0.2, circuit=SMALL)
        assert_array_equal(together.inhibitory_weights[r], alone.inhibitory_weights[0])
        assert_array_equal(together.inhibitory_current[r], alone.inhibitory_current[0])


def test_a_problem_does_not_see_the_others_and_drawn_spikes_are_the_given_ones() -> None:
    problems = small_problems(3)
    drawn = simulate_feedforward(VOGELS, problems, 0.7, circuit=SMALL)
    events = draw_input_spikes(SMALL, problems, 0.7)
    given = simulate_feedforward(VOGELS, problems, 0.7, circuit=SMALL, events=events)
    same(drawn, given)
    last = FeedforwardProblems(
        problems.excitatory_weights[2:], problems.inhibitory_weights[2:], problems.channels[2:], [1.0], [9]
    )
    alone = simulate_feedforward(VOGELS, last, 0.7, circuit=SMALL)
    assert_array_equal(alone.inhibitory_weights[:, 0], drawn.inhibitory_weights[:, 2])


# ------------------------------------------------------------------------------------------ measures


def test_measures_follow_from_the_spikes() -> None:
    outcome = simulate_feedforward(
        [VOGELS, SpikeRule(None, None)], small_problems(), 6.05, 2.0, circuit=SMALL, keep_spikes=5000
    )
    for r in range(2):
        for k in range(2):
            times = outcome.spike_times_s[r, k]
            times = times[np.isfinite(times)]
            assert len(times) == outcome.n_spikes[r, k]
            times = times[times > 2.0 - 1e-9]
            intervals = np.diff(times)
            counts = np.bincount(np.floor((times - 2.0) / 0.1 + 1e-9).astype(int), minlength=41)[:40]
            assert_allclose(outcome.rate_hz[r, k], len(times) / 4.05)
            assert_allclose(outcome.interval_cv[r, k], intervals.std() / intervals.mean(), rtol=1e-9)
            assert_allclose(outcome.fano_factor[r, k], counts.var(ddof=1) / counts.mean(), rtol=1e-9)


def test_drift_is_the_change_over_the_second_half_of_the_window() -> None:
    whole = simulate_feedforward(VOGELS, small_problems(), 2.0, 1.0, circuit=SMALL)
    half = simulate_feedforward(VOGELS, small_problems(), 1.5, 1.0, circuit=SMALL)
    change = (whole.inhibitory_weights - half.inhibitory_weights) / 0.5
    assert_allclose(whole.weight_drift, change.mean(axis=-1), rtol=1e-12)
    assert_allclose(whole.weight_change, np.abs(change).mean(axis=-1), rtol=1e-12)


def test_no_more_spikes_are_kept_than_asked_for() -> None:
    outcome = simulate_feedforward(SpikeRule(None, None), small_problems(), 1.0, circuit=SMALL, keep_spikes=3)
    assert outcome.spike_times_s.shape == (1, 2, 3)
    assert np.isfinite(outcome.spike_times_s).all()
    assert (outcome.n_spikes > 3).all()


def test_memory_does_not_grow_with_time(monkeypatch: pytest.MonkeyPatch) -> None:
    from sims import circuits

    drawn = []
    draw = circuits.InputStream.draw

    def noted(self, n_steps):
        result = draw(self, n_steps)
        drawn.append((n_steps, self._listed.nbytes))
        return result

    monkeypatch.setattr(circuits.InputStream, "draw", noted)
    simulate_feedforward(VOGELS, small_problems(1), 3.0, circuit=SMALL, chunk_s=0.1)
    assert {n_steps for n_steps, _ in drawn} == {1000}
    assert {n_bytes for _, n_bytes in drawn} == {80 * 50 * 8}  # one spike each 5 ms in a block of 0.25 s


# --------------------------------------------------------------------------------------------- stops


def test_activity_outside_the_limits_stops_a_run() -> None:
    silent = LinearSpikeRule(1.0, 0, 0, 0)  # inhibition grows without end
    wild = LinearSpikeRule(-1.0, 0, 0, 0)  # inhibition vanishes
    circuit = replace(SMALL, learning_rate=0.1)
    limits = ActivityLimits(0.1, 30.0, window_s=1.5, grace_s=1.0)
    outcome = simulate_feedforward(
        [silent, wild, VOGELS], small_problems(), 10.0, 8.0, circuit=circuit, limits=limits
    )
    assert_array_equal(outcome.stop[0], Stop.TOO_QUIET)
    assert_array_equal(outcome.stop[1], Stop.TOO_ACTIVE)
    assert_array_equal(outcome.stop[2], Stop.RAN)
    for stopped in outcome.completed[:2].ravel():
        assert round(10 * stopped - 1.0, 9) in {1.5, 3.0}
    assert_array_equal(outcome.completed[2], 1.0)
    assert np.isnan(outcome.rate_hz[:2]).all()
    assert np.isnan(outcome.excitatory_current[:2]).all()
    assert np.isnan(outcome.weight_drift[:2]).all()
    assert_array_equal(outcome.at_lower_bound[1], 1.0)
    assert (outcome.at_upper_bound[0] > 0).all()


def test_a_run_that_stops_within_the_window_is_measured_up_to_there() -> None:
    wild = LinearSpikeRule(-1.0, 0, 0, 0)
    limits = ActivityLimits(0.1, 30.0, window_s=1.0, grace_s=1.0)
    outcome = simulate_feedforward(
        wild, small_problems(), 10.0, 0.5, circuit=replace(SMALL, learning_rate=0.1), limits=limits,
        keep_spikes=1000,
    )  # fmt: skip
    assert_allclose(outcome.completed, 0.2)
    late = (outcome.spike_times_s > 0.5 - 1e-9).sum(axis=-1)
    assert_allclose(outcome.rate_hz, late / 1.5)


def test_limits_count_from_the_end_of_the_grace_on() -> None:
    limits = ActivityLimits(0.1, 1e3, window_s=1.0, grace_s=10.0)
    problems = small_problems()
    none = [InputSpikes([], [])] * 2
    assert_allclose(
        simulate_feedforward(VOGELS, problems, 20.0, circuit=SMALL, limits=limits, events=none).completed,
        0.55,
    )
    assert_allclose(
        simulate_feedforward(VOGELS, problems, 10.9, circuit=SMALL, limits=limits, events=none).completed, 1.0
    )


@pytest.mark.parametrize(
    ("rule", "stop"),
    [
        (programs([], [(Op.DIV, 0, 0)], [], None), Stop.NOT_A_NUMBER),  # 0/0 before the first spike
        (programs([], None, [], [(Op.SUB, 0, 0), (Op.LOG, 2, 0), (Op.MUL, 3, 2)]), Stop.NOT_A_NUMBER),
        (programs([0.0], [(Op.DIV, 1, 2)], [], None), Stop.RAN),  # infinity is clipped
        (programs([], [(Op.EXP, 1, 0), (Op.EXP, 2, 0), (Op.EXP, 3, 0), (Op.EXP, 4, 0)], [], None), Stop.RAN),
        (programs([-1e300], [(Op.MUL, 1, 2)], [], None), Stop.RAN),
    ],
)
def test_blow_ups_are_contained(rule: SpikeRule, stop: Stop) -> None:
    outcome = simulate_feedforward([rule, VOGELS], small_problems(), 0.3, 0.1, circuit=SMALL)
    assert_array_equal(outcome.stop[0], stop)
    assert_array_equal(outcome.stop[1], Stop.RAN)
    if stop == Stop.RAN:
        assert outcome.inhibitory_weights.min() >= 0
        assert outcome.inhibitory_weights.max() <= SMALL.largest_inhibitory
    else:
        assert (outcome.completed[0] < 1).all()
    alone = simulate_feedforward(VOGELS, small_problems(), 0.3, 0.1, circuit=SMALL)
    assert_array_equal(alone.inhibitory_weights[0], outcome.inhibitory_weights[1])


# -------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rules": []}, "no rule"),
        ({"duration_s": 0.0}, "at least one step"),
        ({"duration_s": math.nan}, "at least one step"),
        ({"measure_from_s": 1.0}, "Measuring starts"),
        ({"keep_spikes": -1}, "spikes to keep"),
        ({"chunk_s": 0.0}, "chunk"),
        ({"circuit": PUBLISHED}, "800 excitatory"),
        ({"circuit": replace(SMALL, n_channels=3)}, "Channels are numbered"),
        ({"circuit": replace(SMALL, largest_inhibitory=0.2)}, "largest_inhibitory"),
        ({"events": []}, "each of 2 problems"),
        ({"events": [InputSpikes([1], [80])] * 2}, "numbered 0 to 79"),
        ({"events": [InputSpikes([1, 1], [3, 3])] * 2}, "spikes twice in one step"),
        ({"excitatory": ExcitatoryPlasticity(VOGELS, 1.0, 0.5)}, "go up to 0.5"),
    ],
)
def test_errors_say_what_is_wrong(changes: dict, message: str) -> None:
    arguments = {
        "rules": VOGELS, "problems": small_problems(), "duration_s": 1.0, "circuit": SMALL, **changes
    }  # fmt: skip
    with pytest.raises(ValueError, match=message):
        simulate_feedforward(**arguments)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SpikeRule(Program.build(*POST, [1.0], []), None), "on_pre"),
        (lambda: SpikeRule(None, Program.build(*PRE, [1.0], [])), "on_post"),
        (lambda: SpikeRule(None, None, tau_pre_ms=0.0), "Time constants"),
        (lambda: LinearSpikeRule(math.nan, 0, 0, 0), "alpha"),
        (lambda: ActivityLimits(5.0, 1.0), "lowest_hz"),
        (lambda: ActivityLimits(window_s=0.0), "window_s"),
        (lambda: ExcitatoryPlasticity(VOGELS, -1.0, 1.0), "learning_rate"),
        (lambda: InputSpikes([2, 1], [0, 0]), "sorted"),
        (lambda: InputSpikes([2, 1], [0]), "one shape"),
        (lambda: FeedforwardCircuit(dt_ms=0.0), "dt_ms"),
        (lambda: FeedforwardCircuit(base_rate_hz=math.inf), "base_rate_hz"),
        (lambda: FeedforwardCircuit(n_channels=0), "n_channels"),
        (lambda: FeedforwardProblems([[1.0]], [[1.0]], [0], [1.0], [1]), "has a channel"),
        (lambda: FeedforwardProblems([[1.0]], [[-1.0]], [0, 0], [1.0], [1]), "not negative"),
        (lambda: FeedforwardProblems([[1.0]], [[1.0]], [0, 0], [1.0], [-1]), "seed"),
        (lambda: FeedforwardProblems([[1.0]], [1.0], [0, 0], [1.0], [1]), "shapes"),
    ],
)
def test_settings_are_checked(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
