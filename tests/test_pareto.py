"""The front: what is on it, what is chosen and why."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from discover.errors import TaskError
from discover.pareto import Candidate, ParetoFront, Provenance, chance, pareto_front
from discover.rule import Rule


def candidate(number, text, loss, error=0.01):
    return Candidate(
        f"c{number}", Rule.parse(text), loss, loss, error, provenance=Provenance(("terms",), "meta-gradient")
    )


SIMPLE = candidate(1, "x*y", 0.5)
OJA = candidate(2, "x*y - w*y**2", 0.105)
WORSE = candidate(3, "x*y - w*y**2 - x", 0.2)
BEST = candidate(4, "x*y - w*y**2 + 0.01*w", 0.1)
ALL = (BEST, WORSE, SIMPLE, OJA)


def test_front_holds_what_no_other_beats():
    assert [one.id for one in ParetoFront.of("oja", (), ALL).front] == ["c1", "c2", "c4"]


def test_equal_candidates_do_not_both_stand_on_the_front():
    twin = candidate(9, "y*x - w*y**2", 0.105)
    assert [one.id for one in ParetoFront.of("oja", (), (OJA, twin)).front] == ["c2"]


@pytest.mark.parametrize(("selector", "chosen"), [("1se", "c2"), ("lowest", "c4"), ("elbow", "c2")])
def test_selectors(selector, chosen):
    front = ParetoFront.of("oja", ("terms",), ALL, selector)
    assert front.chosen.id == chosen
    assert front.reason


def test_one_standard_error_depends_on_the_error():
    sharp = candidate(4, "x*y - w*y**2 + 0.01*w", 0.1, error=0.001)
    assert ParetoFront.of("oja", (), (SIMPLE, OJA, sharp)).chosen.id == "c4"


def test_front_survives_json():
    front = ParetoFront.of("oja", ("terms", "operon"), ALL)
    data = front.to_json()
    again = ParetoFront.from_json(data)
    assert again.to_json() == data
    assert again.chosen.rule == front.chosen.rule
    assert {row["id"]: row["chosen"] for row in front.rows()}["c2"] is True


def test_impossible_fronts_are_refused():
    with pytest.raises(TaskError, match="at least one"):
        ParetoFront.of("oja", (), ())
    with pytest.raises(TaskError, match="Did you mean 'elbow'"):
        ParetoFront.of("oja", (), ALL, "elbo")


def test_losses_within_the_resolution_are_equal():
    simple = Candidate("c1", Rule.parse("x*y - w*y**2"), 0.1, 0.112, 0.001, provenance=Provenance(("terms",)))
    better = Candidate(
        "c2", Rule.parse("x*y - w*y**2 + 0.01*w"), 0.1, 0.105, 0.001, provenance=Provenance(("terms",))
    )
    assert ParetoFront.of("oja", ("terms",), (simple, better)).chosen == better
    front = ParetoFront.of("oja", ("terms",), (simple, better), resolution=0.01)
    assert front.chosen == simple
    assert "within the resolution (0.01)" in front.reason
    assert ParetoFront.from_json(front.to_json()).chosen == simple


def test_paired_choice_takes_the_simplest_that_is_not_shown_to_be_worse_by_more_than_the_resolution():
    def entry(candidate_, allowance):
        return replace(candidate_, allowance=allowance)

    wide = ParetoFront.of("oja", (), (entry(SIMPLE, 0.1), entry(OJA, 0.006), entry(BEST, 0.0)), "paired")
    assert wide.chosen.id == "c2"
    assert "what chance explains (0.006)" in wide.reason
    sharp = ParetoFront.of("oja", (), (entry(SIMPLE, 0.1), entry(OJA, 0.004), entry(BEST, 0.0)), "paired")
    assert sharp.chosen.id == "c4"
    assert ParetoFront.of("oja", (), sharp.candidates, "paired", 0.0051).chosen.id == "c2"
    assert ParetoFront.of("oja", (), sharp.candidates, "paired", 0.0011).chosen.id == "c2", "both together"
    assert ParetoFront.of("oja", (), sharp.candidates, "paired", 0.0009).chosen.id == "c4"


def test_chance_is_two_standard_errors_of_the_mean_difference():
    rng = np.random.default_rng(0)
    means = [values.mean() for values in rng.normal(size=(4000, 50))]
    assert chance(rng.normal(size=50), 1.0) == pytest.approx(2 / np.sqrt(50), rel=0.3)
    assert np.mean(np.abs(means) > 2 / np.sqrt(50)) == pytest.approx(0.0455, abs=0.01)


def test_a_rule_that_explodes_on_some_problems_is_not_as_good_by_chance():
    """Its mean is as uncertain as it is large: of Hebb's rule on 512 problems, a loss of 3.0 +- 1.6."""
    losses = np.full(512, 0.9)
    losses[0] = 1000.0
    assert losses.mean() < 2 * losses.std() / np.sqrt(512)
    assert chance(losses, 0.001) == pytest.approx(0.005)


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(0, 9)), min_size=1, max_size=20))
def test_the_front_is_what_no_other_beats(points):
    found = pareto_front((a, b, (a, b)) for a, b in points)
    naive = {
        (a, b) for a, b in points if not any((c <= a and d <= b) and (c, d) != (a, b) for c, d in points)
    }
    assert sorted(naive) == found
