"""The memory network: its physics, its smaller copies, training and tests, and what is made of them."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from naive_memory import fields_twin, interval_cv_twin, memory_twin

from discover.errors import RuleError, TaskError
from discover.export import exported
from discover.known_rules import get_known_rule
from discover.report.memory import Watched, without
from discover.rule import Rule
from discover.screen import PARAMETERS, quartet_rules
from discover.tasks.base import coefficients_of, known_rules_of
from discover.tasks.memory import TASK, circuit_rules
from discover.tasks.memory_measures import (
    MemorySettings,
    goes_on_after,
    is_sound,
    loss_of,
    measures_of,
    verdict_on,
)
from sims.memory import (
    FAMILIAR,
    INPUT,
    NOVEL,
    PROJECTIONS,
    MemoryCircuit,
    Stimulus,
    receptive_fields,
)
from sims.memory_protocol import (
    MemoryOutcome,
    MemoryPiece,
    MemoryProtocol,
    MemoryTest,
    pooled_interval_cv,
    run_memory,
)
from sims.spike_rules import Stop
from sims.spiking_circuit import Network, Spikes

PUBLISHED = np.array(
    [
        [39.47454, 83.33279, 1.56211138, -1.8362025, 0.3778016, -1.10496151],
        [77.77745, 91.57054, 0.60514206, -0.82029539, 1.11860669, -0.92477429],
        [95.20964, 46.04627, -1.27739811, 1.18037236, 1.04156876, -1.39219487],
        [26.58731, 77.39804, -1.15393496, 0.75379592, 0.75430721, 1.92275465],
    ]
)
"""A quartet that is stable and prefers the novel stimulus (Confavreux et al. 2025)."""

TINY = MemoryCircuit(
    12, 6, 0.5, excitatory_weight=0.3, side=12, radius=4.0, input_weight=0.5, input_rate_hz=40.0
)
SHORT = MemoryProtocol(
    Stimulus(100, 20, 100.0),
    Stimulus(20, 20, 100.0),
    background_s=1.5,
    training_s=0.3,
    on_s=0.1,
    breaks_s=(1.0, 2.5),
)


def test_equations_are_the_published_ones():
    network = Network(TINY.circuit(4), 4)
    start, seconds = network.initial_state(4), 0.08
    outcome = network.run(
        quartet_rules(PUBLISHED.ravel()), start, seconds, record=list(network.circuit.populations)
    )
    spikes = {
        name: set(zip(one.step.tolist(), one.neuron.tolist(), strict=True))
        for name, one in outcome.spikes.items()
    }
    assert len(spikes["E"]) > 10
    assert len(spikes["I"]) > 10
    rules = dict(zip(PROJECTIONS, PUBLISHED.tolist(), strict=True))
    voltages, weights, wrong = memory_twin(network, rules, start, spikes, 800)
    assert not wrong
    for name in ("E", "I"):
        np.testing.assert_allclose(outcome.state.voltage_mv(name), voltages[name], atol=2e-3)
    for name in PROJECTIONS:
        np.testing.assert_allclose(outcome.state.weights(name), weights[name], atol=1e-9)
        assert np.ptp(weights[name]) > 0


def test_full_size_is_the_published_one():
    full = MemoryCircuit()
    assert full.sizes == (4096, 1024)
    assert full.connection_probability == 0.1
    circuit = full.circuit()
    assert {name: one.n for name, one in circuit.populations.items() if name[0] in "ib"} == {
        "input": 10_000, "background": 10_000
    }  # fmt: skip
    for name in PROJECTIONS:
        projection = circuit.projections[name]
        assert (projection.pre, projection.post) == tuple(name)
        assert (projection.lowest, projection.highest, projection.learning_rate) == (0.0, 20.0, 0.01)
        assert projection.delay_ms == 0.8
        assert float(projection.weight) == (0.1 if name[0] == "E" else 1.0)
    assert (FAMILIAR.first, NOVEL.first, FAMILIAR.n, FAMILIAR.rate_hz) == (7500, 2000, 500, 60.0)


def test_fields_are_the_inputs_near_a_centre():
    fields = receptive_fields(40, 11, 3.0, np.random.default_rng(1))
    assert all(fields_twin(fields, 11, 3.0))
    assert len(np.unique(fields.target)) == 40


@pytest.mark.parametrize(("size", "connections"), [(1.0, 1.0), (0.25, 1.0), (0.125, 0.7)])
def test_copies_keep_the_sums_over_synapses(size, connections):
    """Number of synapses times what one transmits: the mean input at given rates."""
    copy = MemoryCircuit(size=size, connections=connections)
    network = Network(copy.circuit(3), 3)
    for name in PROJECTIONS:
        source, target = (dict(zip("EI", copy.sizes, strict=True))[one] for one in name)
        in_degree = len(network.synapses[name]) / target
        projection = network.circuit.projections[name]
        strength = in_degree * projection.unit_ns / 10.0
        full = 0.1 * (4096 if name[0] == "E" else 1024)
        spread = np.sqrt(source * copy.connection_probability / target) * projection.unit_ns / 10.0
        assert abs(strength - full) < 5 * spread + 0.01 * full
    heard = [len(network.synapses[f"{INPUT}_E"]) / copy.sizes[0]]
    assert abs(heard[0] - 177) < 12  # 193 inputs in a field, fewer at the edges


def test_tests_leave_no_trace():
    """A network goes on from a test as if it had not been tested."""
    rules = quartet_rules(PUBLISHED.ravel())
    often = run_memory(rules, TINY, SHORT, seed=2)
    rarely = run_memory(rules, TINY, replace(SHORT, breaks_s=(2.5,)), seed=2)
    assert often.tests[-1] == rarely.tests[-1]
    for name in PROJECTIONS:
        np.testing.assert_array_equal(often.state.weights(name), rarely.state.weights(name))


def test_equal_stimuli_are_answered_equally():
    """Both are shown from one state with the same random numbers."""
    same = replace(SHORT, novel=SHORT.familiar)
    outcome = run_memory(quartet_rules(PUBLISHED.ravel()), TINY, same, seed=1)
    assert [test.preference for test in outcome.tests] == [0.0, 0.0]
    assert outcome.tests[0].novel_hz > 0


def test_training_is_on_and_off_in_turn():
    pieces = list(MemoryProtocol().training())
    assert sum(seconds for _, seconds in pieces) == pytest.approx(10.0)
    shown = [seconds for stimulus, seconds in pieces if stimulus == FAMILIAR]
    assert shown[:9] == [1.0] * 9
    assert sum(shown) == pytest.approx(9.91)
    assert [seconds for stimulus, seconds in pieces if stimulus is None] == pytest.approx([0.01] * 9)


def test_several_familiar_stimuli_are_shown_in_turn_and_each_as_long_as_one():
    settings = MemorySettings(n_familiar=3)
    protocol = settings.protocol()
    assert settings.protocol().duration_s == MemorySettings().protocol().duration_s + 20.0
    shown = [stimulus for stimulus, _ in protocol.training() if stimulus is not None]
    assert len(shown) == 30
    assert len(set(shown)) == 3
    assert shown[:3] == shown[3:6] == [protocol.familiar, *protocol.also]
    inputs = [set(range(one.first, one.first + one.n)) for one in (*set(shown), protocol.novel)]
    assert len(set.union(*inputs)) == sum(map(len, inputs))
    several = replace(SHORT, also=(Stimulus(60, 20, 100.0),))
    outcome = run_memory(quartet_rules(PUBLISHED.ravel()), TINY, several, seed=3)
    assert outcome.completed == 1.0
    assert outcome.before.break_s == -2 * SHORT.training_s


def test_a_run_ends_where_it_blows_up_and_where_a_test_says_no():
    wild = PUBLISHED.copy()
    wild[0] = [20.0, 20.0, 2.0, 2.0, 2.0, 2.0]  # excitation that always grows
    wild[2] = [20.0, 20.0, -2.0, -2.0, -2.0, -2.0]  # and inhibition that always shrinks
    settings = MemorySettings()
    outcome = run_memory(quartet_rules(wild.ravel()), settings.circuit(), settings.protocol())
    assert (outcome.stop, outcome.tests) == (Stop.TOO_ACTIVE, ())
    assert 0 < outcome.completed < 0.2
    assert verdict_on(outcome, settings).criterion == "blow-up"
    ended = run_memory(quartet_rules(PUBLISHED.ravel()), TINY, SHORT, goes_on=lambda test: False)
    assert [test.break_s for test in ended.tests] == [1.0]
    assert ended.completed == pytest.approx((1.5 + 0.3 + 1.0) / SHORT.duration_s, abs=1e-6)


def test_the_published_quartet_remembers_in_the_small_copy():
    settings = MemorySettings(breaks_s=(1.0, 10.0), late_s=10.0)
    outcome = run_memory(quartet_rules(PUBLISHED.ravel()), settings.circuit(), settings.protocol(), seed=8)
    assert verdict_on(outcome, settings).kind == "novelty"
    assert 1.0 < outcome.tests[-1].rate_hz["E"] < 4.0


@pytest.mark.parametrize("seed", range(3))
def test_intervals_are_pooled(seed):
    rng = np.random.default_rng(seed)
    place = rng.choice(400, size=[1, 2, 60][seed], replace=False)
    order = np.sort(place)
    spikes = Spikes(order // 8, order % 8)
    assert pooled_interval_cv(spikes) == pytest.approx(interval_cv_twin(spikes, 8), rel=1e-12)


# ------------------------------------------------------------------------------------- verdicts and losses

SETTINGS = MemorySettings(breaks_s=(1.0, 60.0, 120.0))


def a_test(break_s, preference=0.0, **changed):
    plain = {
        "rate_hz": {"E": 2.0, "I": 3.0},
        "interval_cv": 0.9,
        "mean_weight": {"EE": 0.05, "EI": 0.05, "IE": 1.0, "II": 1.0},
        "at_lowest": dict.fromkeys(PROJECTIONS, 0.2),
        "at_highest": dict.fromkeys(PROJECTIONS, 0.0),
    }
    # Of rates that sum to 4 Hz.
    half = preference * 4.01 / 4
    return MemoryTest(break_s, **(plain | changed), novel_hz=2.0 + half, familiar_hz=2.0 - half)


def an_outcome(preferences=(0.0, 0.0, 0.0), stop=Stop.RAN, completed=1.0, last=None):
    tests = [a_test(time, one) for time, one in zip(SETTINGS.breaks_s, preferences, strict=False)]
    if last:
        tests[-1] = a_test(SETTINGS.breaks_s[len(tests) - 1], preferences[-1], **last)
    return MemoryOutcome(a_test(-10.0), tuple(tests), stop, completed, None)


UNSTABLE = [
    ({"rate_hz": {"E": 0.05, "I": 1.0}}, "quiet", ""),
    ({"rate_hz": {"E": 120.0, "I": 1.0}}, "active", ""),
    ({"interval_cv": 0.69}, "regular", ""),
    ({"mean_weight": {"EE": 0.05, "EI": 0.51, "IE": 1.0, "II": 1.0}}, "weights", "EI"),
    ({"mean_weight": {"EE": 0.05, "EI": 0.05, "IE": 5.1, "II": 1.0}}, "weights", "IE"),
    ({"at_highest": {"EE": 0.0, "EI": 0.0, "IE": 0.0, "II": 0.11}}, "bounds", "II"),
]


@pytest.mark.parametrize(("last", "criterion", "projection"), UNSTABLE)
def test_each_criterion_of_stability(last, criterion, projection):
    verdict = verdict_on(an_outcome(last=last), SETTINGS)
    assert (verdict.kind, verdict.criterion, verdict.projection) == ("unstable", criterion, projection)
    assert verdict.break_s == 120.0
    assert is_sound(a_test(1.0, **last)) == (criterion in ("weights", "bounds"))


def test_weights_count_at_the_end_alone():
    tests = [a_test(1.0, at_highest=dict.fromkeys(PROJECTIONS, 1.0)), a_test(60.0), a_test(120.0)]
    outcome = MemoryOutcome(None, tuple(tests), Stop.RAN, 1.0, None)
    assert verdict_on(outcome, SETTINGS).kind == "stable"


@pytest.mark.parametrize(
    ("preferences", "kind"),
    [
        ((0.0, 0.2, 0.2), "novelty"),
        ((0.5, 0.2, 0.09), "stable"),
        ((0.5, -0.2, -0.11), "familiarity"),
        ((0.0, 0.2, -0.2), "stable"),
    ],
)
def test_classes_of_stable_networks(preferences, kind):
    assert verdict_on(an_outcome(preferences), SETTINGS).kind == kind


def test_the_loss_leads_from_blowing_up_to_a_memory():
    """Every step of this ladder is better than the one before."""
    steps = [
        an_outcome((), Stop.TOO_ACTIVE, 0.01),
        an_outcome((0.0,), Stop.TOO_ACTIVE, 0.5),
        an_outcome((0.0,), last={"rate_hz": {"E": 0.01, "I": 1.0}}, completed=0.3),
        an_outcome((0.0, 0.0), last={"rate_hz": {"E": 0.01, "I": 1.0}}, completed=0.6),
        an_outcome((0.0, 0.0), last={"rate_hz": {"E": 0.05, "I": 1.0}}, completed=0.6),
        an_outcome((0.0, 0.2, 0.2), last={"mean_weight": {"EE": 9.0, "EI": 0.1, "IE": 1.0, "II": 1.0}}),
        an_outcome((0.0, 0.2, 0.2), last={"mean_weight": {"EE": 0.6, "EI": 0.1, "IE": 1.0, "II": 1.0}}),
        an_outcome((0.0, -0.2, -0.2)),
        an_outcome(),
        an_outcome((0.0, 0.1, 0.0)),
        an_outcome((0.0, 0.2, 0.2)),
        an_outcome((0.0, 0.3, 0.3)),
    ]
    losses = [loss_of(one, SETTINGS) for one in steps]
    assert losses == sorted(losses, reverse=True)
    assert len(set(losses)) == len(losses)
    assert losses[0] == pytest.approx(2.99)
    assert losses[8] == pytest.approx(0.5)
    assert losses[-1] == pytest.approx(0.0, abs=1e-12)
    assert loss_of(an_outcome((0.0, 9.0, 9.0)), SETTINGS) == 0.0


@pytest.mark.parametrize(
    ("preferences", "loss"),
    [((0.0, 0.0, 0.9), 0.5), ((0.9, -0.3, 0.9), 1.0), ((0.0, 0.1, 0.9), (1 / 3 + 0.5) / 2)],
)
def test_a_memory_that_is_gone_does_not_come_back(preferences, loss):
    """What happens after the late test that shows it changes nothing, so that the run may end there."""
    at_the_test = an_outcome(preferences[:2])
    goes_on = goes_on_after(SETTINGS)
    assert [goes_on(test) for test in at_the_test.tests] == [True, False]
    for outcome in (at_the_test, an_outcome(preferences), an_outcome(preferences[:2], Stop.TOO_ACTIVE, 0.7)):
        assert loss_of(outcome, SETTINGS) == pytest.approx(loss)


def test_a_network_that_is_unsound_has_not_forgotten():
    quiet = an_outcome((0.0, -0.5), last={"rate_hz": {"E": 0.01, "I": 1.0}}, completed=0.6)
    assert not goes_on_after(SETTINGS)(quiet.tests[-1])
    assert 1.5 < loss_of(quiet, SETTINGS) < 2.0


def test_measures_of_a_run():
    weights = {"EE": 0.05, "EI": 0.05, "IE": 1.0, "II": 1.6}
    measured = measures_of(an_outcome((0.4, 0.2, 0.3), last={"mean_weight": weights}), SETTINGS)
    assert measured["preference"] == pytest.approx(0.2)
    assert measured["early_preference"] == pytest.approx(0.4)
    assert measured["drift"] == pytest.approx(0.01)  # II grows by 0.6 in 60 s
    assert (measured["stable"], measured["novelty"]) == (1.0, 1.0)
    gone = measures_of(an_outcome((), Stop.TOO_ACTIVE, 0.1), SETTINGS)
    assert (gone["stable"], gone["preference"], gone["at_bound"]) == (0.0, 0.0, 1.0)


# -------------------------------------------------------------------------------------------------- input


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: MemoryCircuit(size=0.05), "more connections than there are"),
        (lambda: MemoryCircuit(size=2.0), "at most 1"),
        (lambda: MemoryCircuit(input_rate_hz=np.nan), "finite"),
        (lambda: MemoryCircuit().rates_hz(Stimulus(9900)), "10000 inputs"),
        (lambda: Stimulus(-1), "input 0"),
        (lambda: MemoryProtocol(breaks_s=()), "rise by at least 1 s"),
        (lambda: MemoryProtocol(breaks_s=(10.0, 5.0)), "rise by at least 1 s"),
        (lambda: MemoryProtocol(background_s=0.5), "at least 1 s of background"),
    ],
)
def test_bad_circuits_and_protocols_are_refused(make, text):
    with pytest.raises(ValueError, match=text):
        make()


@pytest.mark.parametrize(
    "changed", [{"size": 0.05}, {"breaks_s": (10.0, 5.0)}, {"late_s": 61.0}, {"breaks_s": (30.0,)}]
)
def test_bad_settings_are_refused(changed):
    with pytest.raises(TaskError):
        MemorySettings(**changed)


def test_overlapping_stimuli_share_inputs():
    protocol = MemorySettings(overlap=0.4).protocol()
    familiar, novel = (
        set(range(one.first, one.first + one.n)) for one in (protocol.familiar, protocol.novel)
    )
    assert len(familiar & novel) == 200
    assert MemorySettings().protocol() == MemoryProtocol(breaks_s=(1.0, 10.0, 60.0))


def test_parameters_are_named_in_order():
    assert PARAMETERS[:7] == (
        "EE_tau_pre",
        "EE_tau_post",
        "EE_alpha",
        "EE_beta",
        "EE_gamma",
        "EE_kappa",
        "EI_tau_pre",
    )
    rules = quartet_rules(PUBLISHED.ravel(), ("IE",))
    assert set(rules) == {"IE.on_pre", "IE.on_post", "IE.tau_x_pre", "IE.tau_x_post"}
    assert rules["IE.tau_x_pre"] == 95.20964


# ------------------------------------------------------------------------------------------------ the task

QUICK = MemorySettings(
    size=0.0625, connections=0.5, background_s=1.5, training_s=0.5, breaks_s=(1.0, 2.0), late_s=1.0
)


def test_the_published_quartet_is_a_known_rule():
    rules = circuit_rules(get_known_rule("confavreux-quartet").rule)
    expected = quartet_rules(PUBLISHED.ravel())
    assert rules.keys() == expected.keys()
    problems = TASK.draw(QUICK, 2, np.random.SeedSequence(1))
    losses = TASK.losses(get_known_rule("confavreux-quartet"), problems)
    by_hand = [
        loss_of(run_memory(expected, QUICK.circuit(), QUICK.protocol(), seed=seed, goes_on=is_sound), QUICK)
        for seed in problems.seeds.tolist()
    ]
    np.testing.assert_allclose(losses, by_hand, atol=0.05)


def test_rules_meet_the_same_networks_and_do_not_see_each_other():
    problems = TASK.draw(QUICK, 2, np.random.SeedSequence(3))
    rules = list(known_rules_of(TASK).values())
    together = TASK.losses_of_rules(rules, problems)
    assert together.shape == (3, 2)
    for rule, losses in zip(rules, together, strict=True):
        np.testing.assert_array_equal(TASK.losses(rule, problems), losses)
    one = TASK.losses(rules[1], problems.subset([1]))
    assert one[0] == together[1, 1]
    vector = coefficients_of(TASK, rules[1])
    np.testing.assert_array_equal(TASK.losses(vector, problems), together[1])


def test_losses_are_those_of_whole_runs():
    problems = TASK.draw(replace(QUICK, breaks_s=(1.0, 2.0, 3.0), late_s=1.0), 3, np.random.SeedSequence(5))
    rules = list(known_rules_of(TASK).values())
    whole = [measured["loss"] for measured in TASK.evaluate_rules(rules, problems)]
    np.testing.assert_array_equal(TASK.losses_of_rules(rules, problems), whole)


def test_the_learning_curve_ends_at_the_loss():
    problems = TASK.draw(QUICK, 2, np.random.SeedSequence(3))
    rule = known_rules_of(TASK)["vogels-ie"]
    steps, losses = TASK.learning_curve(rule, problems, 20)
    assert steps.tolist() == [15_000, 30_000, 40_000]
    np.testing.assert_array_equal(losses[-1], TASK.losses(rule, problems))
    assert np.all(np.abs(losses[0] - 0.5) < 0.3)


def test_visited_states_are_those_of_synapses():
    problems = TASK.draw(QUICK, 2, np.random.SeedSequence(3))
    states = TASK.visit(known_rules_of(TASK)["vogels-ie"], problems, 300, np.random.SeedSequence(0))
    assert set(states) == {f"{name}.{event}" for name in PROJECTIONS for event in ("on_pre", "on_post")}
    for slot, seen in states.items():
        traces, weights = seen.values.T
        assert len(traces) == 300
        assert traces.min() >= 0
        assert weights.min() >= 0
        if slot[:2] != "IE":
            np.testing.assert_allclose(weights, 0.1 if slot[0] == "E" else 1.0)
    # A trace of 20 ms at some Hz has the mean rate times 0.02.
    assert 0.005 < states["EE.on_post"].values[:, 0].mean() < 0.5


def test_slots_of_projections_are_read_and_written():
    rule = Rule.parse("EE.on_pre: x_post - 0.5; EE.on_post: x_pre*w; EE.tau_pre: 30")
    assert Rule.parse(str(rule)) == rule
    assert rule.constant("EE.tau_pre") == 30.0
    assert rule.constant("II.tau_pre") == 20.0
    assert r"\mathrm{EE}" in rule.latex()
    compile(exported(rule, "python"), "exported", "exec")
    with pytest.raises(RuleError, match="Unknown slot"):
        Rule.parse("EE.on_prey: 1")
    with pytest.raises(RuleError, match="Unknown variable 'x_pre'"):
        Rule.parse("EE.on_pre: x_pre")


def test_folds_cover_what_the_fit_did_not_see():
    folds = {fold.name: fold for fold in TASK.folds(MemorySettings())}
    assert folds["full-size"].settings.size == 1.0
    assert folds["break-long"].settings.breaks_s[-1] == 600.0
    assert folds["full-size"].settings.breaks_s[-1] == 600.0
    assert all(fold.settings == MemorySettings() for fold in folds.values() if fold.name == "networks")
    assert len({repr(fold.settings) for fold in folds.values()}) == len(folds)
    for fold in folds.values():
        fold.settings.protocol()


@pytest.mark.slow
def test_every_stage_runs(smoke_runs):
    folder = smoke_runs.folder("memory-smoke")
    front = json.loads((folder / "front.json").read_text(encoding="utf-8"))
    assert front["engine"] == []  # with objective = "blocks" none is asked
    for candidate in front["candidates"]:
        rules = circuit_rules(Rule.parse(candidate["slots"]))
        assert {name.partition(".")[0] for name in rules} <= {"IE"}  # what the fit was allowed
    validation = json.loads((folder / "validation.json").read_text(encoding="utf-8"))
    assert {"networks", "full-size", "overlap"} <= set(validation["tolerances"])
    assert "EE pre" in (folder / "report.html").read_text(encoding="utf-8")


# ------------------------------------------------------------------------------------------------- the report


def test_who_watches_a_run_sees_all_of_it_and_changes_nothing() -> None:
    rules = quartet_rules(PUBLISHED)
    pieces: list[MemoryPiece] = []
    plain = run_memory(rules, TINY, SHORT, seed=3)
    seen = run_memory(rules, TINY, SHORT, seed=3, watch=pieces.append)
    assert plain.stop == seen.stop == Stop.RAN
    assert (plain.before, plain.tests) == (seen.before, seen.tests)
    own = [piece for piece in pieces if not piece.is_test]
    assert sum(piece.seconds for piece in own) == pytest.approx(SHORT.duration_s)
    assert max(piece.seconds for piece in pieces) <= 1.0 + 1e-9
    assert [piece.start_s for piece in own] == pytest.approx(
        np.cumsum([0.0, *(piece.seconds for piece in own)])[:-1]
    )
    assert sum(piece.stimulus == SHORT.familiar for piece in own if piece.stimulus) == 3
    assert [piece.stimulus for piece in pieces if piece.is_test] == 3 * [SHORT.novel, SHORT.familiar]
    last = pieces[-1]
    n_spikes = len(last.spikes["E"].step)
    assert n_spikes / TINY.sizes[0] / SHORT.test_s == plain.tests[-1].familiar_hz


def test_what_the_report_draws_is_what_was_seen() -> None:
    """Rates count all spikes, and weights are those of the assembly and of all others."""
    network, pieces = Network(TINY.circuit(3), 3), []
    watched = Watched(network, SHORT)

    def watch(piece: MemoryPiece) -> None:
        pieces.append(piece)
        watched(piece)

    run_memory(quartet_rules(PUBLISHED), TINY, SHORT, network=network, seed=3, watch=watch)
    for name, n in zip("EI", TINY.sizes, strict=True):
        total = sum(len(piece.spikes[name].step) for piece in pieces)
        widths = np.concatenate(
            [
                np.full(n_bins, piece.seconds / n_bins)
                for piece in pieces
                for n_bins in [max(1, round(piece.seconds / 0.1))]
            ]
        )
        assert np.sum(np.array(watched.rates_hz[name]) * widths) * n == pytest.approx(total)
    ends = network.synapses["EE"]
    weights = next(piece for piece in reversed(pieces) if not piece.is_test).state.weights("EE")
    member = watched.is_member
    assert member.sum() == 1
    inside = [member[i] and member[j] for i, j in zip(ends.source, ends.target, strict=True)]
    expected = weights[np.logical_not(inside)].mean()
    assert watched.weights["EE"][-1][1] == pytest.approx(expected)
    last = next(piece for piece in reversed(pieces) if not piece.is_test).state
    onto = member[network.synapses["EI"].source]
    expected_pair = [last.weights("EI")[onto].mean(), last.weights("EI")[~onto].mean()]
    np.testing.assert_allclose(watched.weights["EI"][-1], expected_pair, rtol=1e-6)
    among, others = watched.weights["II"][-1]
    assert np.isnan(among)
    assert others == pytest.approx(last.weights("II").mean())
    shown = [which for _, _, which in watched.spans]
    assert shown.count("novel") == 3
    assert shown.count("familiar") == 6
    assert list(watched.windows) == [
        "before training", "familiar,\nfirst time", "novel,\nfirst test", "familiar,\nfirst test"
    ]  # fmt: skip


def test_a_rule_without_a_projection_keeps_the_others() -> None:
    rule = get_known_rule("confavreux-quartet").rule
    assert rule is not None
    for name in PROJECTIONS:
        left = without(rule, name)
        assert left is not None
        assert {slot.partition(".")[0] for slot in left.slots} == {*PROJECTIONS} - {name}
    alone = Rule.parse({"IE.on_pre": "x_post - 0.2"})
    assert without(alone, "IE") is None
    assert without(alone, "EE") is None
