"""Rules from pairing experiments: traces, terms, published protocols, choice, chance, and bad tables."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import naive_pairing
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from discover.errors import ConfigError
from discover.pairing import (
    TERMS,
    PairingFit,
    PairingSettings,
    Protocol,
    Ranked,
    Term,
    Traces,
    design,
    fit_rules,
    prediction,
    read_protocols,
)
from discover.pairing import shipped_protocols as published
from sims.pairing import traces_at_spikes

PUBLISHED_TIMES = PairingSettings(most_terms=2, n_values=1, n_permutations=0, n_draws=0)
MINIMAL_TRIPLET = (Term("pre", "x_post"), Term("post", "x_pre*slow_post"))
PAIR_RULE = (Term("pre", "x_post"), Term("post", "x_pre"))

times = st.lists(st.floats(0, 500).map(lambda t: round(t, 1)), max_size=12, unique=True)


@given(pre=times, post=times, tau=st.floats(1, 300), is_pre=st.booleans(), pre_first=st.booleans())
def test_traces_are_those_of_the_naive_twin(
    pre: list[float], post: list[float], tau: float, is_pre: bool, pre_first: bool
) -> None:
    tie = "pre first" if pre_first else "post first"
    at_pre, at_post = traces_at_spikes(pre, post, [tau, 20.0], [is_pre, False], tie)
    expected = naive_pairing.traces_at(pre, post, tau, is_pre, pre_first)
    np.testing.assert_allclose(at_pre[:, 0], expected[0], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(at_post[:, 0], expected[1], rtol=1e-9, atol=1e-12)


def test_requests_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="finite numbers of milliseconds"):
        traces_at_spikes([np.nan], [1.0], [20.0], [True])
    with pytest.raises(ValueError, match="positive time constant"):
        traces_at_spikes([0.0], [1.0], [0.0], [True])
    with pytest.raises(ValueError, match="one comes first"):
        traces_at_spikes([0.0], [1.0], [20.0], [True], "both")  # type: ignore[arg-type]


def test_terms_of_a_single_pair_are_exponentials() -> None:
    traces = Traces(fast_pre=10.0, slow_pre=100.0, fast_post=30.0, slow_post=200.0)
    causal = protocol([0.0], [5.0])
    row = dict(zip(map(str, TERMS), design([causal], traces)[0], strict=True))
    assert row["1 at a presynaptic spike"] == row["1 at a postsynaptic spike"] == 1.0
    assert row["x_post at a presynaptic spike"] == 0.0
    assert row["x_pre at a postsynaptic spike"] == pytest.approx(np.exp(-0.5))
    assert row["x_pre**2 at a postsynaptic spike"] == pytest.approx(np.exp(-1.0))
    assert row["x_pre*slow_post at a postsynaptic spike"] == 0.0  # no spike sees itself


def protocol(pre: list[float], post: list[float], change: float = 0.1) -> Protocol:
    return Protocol("by hand", np.array(pre), np.array(post), change, 0.1, 1.0, 5.0)


# --------------------------------------------------------------------------------------- published protocols


def test_the_published_table_is_read_with_its_spikes() -> None:
    found = published()
    assert len(found) == 10
    single, burst = found[0], found[4]
    assert (len(single.pre_ms), single.pre_ms[1]) == (50, 10_000.0)
    assert len(burst.pre_ms) == 75
    np.testing.assert_allclose(burst.pre_ms[:6], [0, 20, 40, 60, 80, 10_000])
    np.testing.assert_allclose(burst.post_ms - burst.pre_ms, 10.0)
    assert (burst.change, burst.error) == (pytest.approx(0.559), 0.269)
    assert not any(one.is_tied for one in found)


def test_of_all_rules_of_two_terms_the_minimal_triplet_rule_is_the_best() -> None:
    """Published time constants; figures of a plain least-squares fit with leave-one-out by formula."""
    found = fit_rules(published(), PUBLISHED_TIMES)
    assert found.chosen.terms == MINIMAL_TRIPLET
    assert found.rank_of(MINIMAL_TRIPLET) == 1
    assert found.chosen.chi2 == pytest.approx(6.92, abs=0.01)
    assert found.chosen.left_out_chi2 == pytest.approx(9.66, abs=0.01)
    assert found.chosen.left_out_r2 == pytest.approx(0.79, abs=0.005)
    pair = pair_of(found)
    assert pair.chi2 == pytest.approx(68.9, abs=0.1)
    assert pair.left_out_chi2 == pytest.approx(135.8, abs=0.1)
    assert pair.left_out_r2 == pytest.approx(-0.15, abs=0.005)
    assert len([one for one in found.ranked if len(one.terms) == 2]) == 44  # of 45; one is not told apart


def test_leaving_out_is_fitting_to_the_others() -> None:
    found = fit_rules(published(), PUBLISHED_TIMES)
    rule, protocols = found.chosen, published()
    sums = design(protocols, rule.traces, rule.terms)
    errors = np.array([one.error for one in protocols])
    changes = np.array([one.change for one in protocols])
    for out in range(len(protocols)):
        kept = np.arange(len(protocols)) != out
        rows, targets = sums[kept] / errors[kept, None], changes[kept] / errors[kept]
        coefficients, *_ = np.linalg.lstsq(rows, targets, rcond=None)
        assert rule.predicted[out] == pytest.approx(sums[out] @ coefficients, rel=1e-8)
    whole, *_ = np.linalg.lstsq(sums / errors[:, None], changes / errors, rcond=None)
    np.testing.assert_allclose(rule.coefficients, whole, rtol=1e-8)
    np.testing.assert_allclose(prediction(rule, protocols), sums @ whole, rtol=1e-8)


def test_with_free_time_constants_it_is_the_minimal_triplet_rule_too() -> None:
    found = fit_rules(published(), PairingSettings(n_permutations=39, n_draws=20), seed=4)
    assert set(found.chosen.terms) == set(MINIMAL_TRIPLET)
    assert found.ranked[0] is found.chosen  # no rule of three terms is better either
    assert found.chosen.left_out_r2 >= 0.79
    assert pair_of(found).left_out_r2 < 0.1
    assert found.shares[MINIMAL_TRIPLET[1]] > 0.5
    in_order = dict.fromkeys(term for form, _ in found.forms_of_draws for term in sorted(form, key=str))
    assert list(found.shares) == list(in_order), "files depend on the order, which a set's must not decide"
    down, up = (found.chosen.coefficients[found.chosen.terms.index(term)] for term in MINIMAL_TRIPLET)
    assert down < 0 < up
    assert found.chance == 0.025
    assert found.is_supported


def pair_of(found: PairingFit) -> Ranked:
    return next(one for one in found.ranked if one.form.key == frozenset(PAIR_RULE))


def test_a_rule_is_found_again_in_changes_that_it_made() -> None:
    """Of each law; its terms are the best of as many, and are chosen."""
    protocols = published()
    for law, sizes in ((PAIR_RULE, (-0.006, 0.02)), (MINIMAL_TRIPLET, (-0.0067, 0.0134))):
        sums = design(protocols, Traces(), law) @ np.array(sizes)
        made = [
            replace(one, change=float(value), error=0.02) for one, value in zip(protocols, sums, strict=True)
        ]
        found = fit_rules(made, PUBLISHED_TIMES)
        assert found.rank_of(law) == 1
        assert set(found.chosen.terms) == set(law)
        np.testing.assert_allclose(sorted(found.chosen.coefficients), sorted(sizes), rtol=1e-6)


def test_changes_that_have_nothing_to_do_with_spikes_support_no_rule() -> None:
    settings = PairingSettings(most_terms=2, n_values=2, n_permutations=19, n_draws=0)
    protocols, verdicts = published(), []
    for seed in range(10):
        rng = np.random.default_rng([7, seed])
        order = rng.permutation(len(protocols))
        mixed = [
            replace(one, change=protocols[n].change, error=protocols[n].error)
            for one, n in zip(protocols, order, strict=True)
        ]
        verdicts.append(fit_rules(mixed, settings, seed=seed).is_supported)
    assert sum(verdicts) <= 2


# -------------------------------------------------------------------------------------------- tables of users

HEAD = "frequency [Hz],lag [ms],spikes,bursts,period [s],ratio,error"
ROWS = ("10,10,5,15,10,1.15,0.1", "20,-10,5,15,10,0.64,0.09", "40,10,5,15,10,1.54,0.11")


def table(folder: Path, head: str = HEAD, rows: tuple[str, ...] = ROWS) -> Path:
    path = folder / "protocols.csv"
    path.write_text("\n".join([head, *rows]) + "\n")
    return path


def test_other_names_and_units_are_read(tmp_path: Path) -> None:
    plain = read_protocols(table(tmp_path))
    head = "rate [Hz],dt [s],spikes,bursts,period [ms],strength [%],sem [%],lab"
    rows = ("10,0.01,5,15,10000,115,10,A", "20,-0.01,5,15,10000,64,9,A", "40,0.01,5,15,10000,154,11,B")
    names = {"frequency": "rate", "lag": "dt", "ratio": "strength", "error": "sem", "group": "lab"}
    other = read_protocols(table(tmp_path, head, rows), names)
    for one, same in zip(other, plain, strict=True):
        np.testing.assert_allclose(one.post_ms, same.post_ms)
        assert (one.change, one.error) == (pytest.approx(same.change), pytest.approx(same.error))
    assert [one.group for one in other] == ["A", "A", "B"]


def test_what_may_be_left_out_is_a_single_pair(tmp_path: Path) -> None:
    rows = ("1,10,1.1,0.1", "1,-10,0.9,0.1", "1,0,1.0,0.1")
    found = read_protocols(table(tmp_path, "frequency,lag,ratio,error", rows))
    assert [len(one.pre_ms) for one in found] == [1, 1, 1]
    assert [one.is_tied for one in found] == [False, False, True]


@pytest.mark.parametrize(
    ("head", "row", "message"),
    [
        (HEAD.replace(",error", ",width"), ROWS[0], "data row 1: the standard error of the ratio is"),
        (HEAD.replace("lag [ms]", "lag [m]"), ROWS[0], r"column 'lag' is in m; units of lag: ms, s, none"),
        (HEAD, "10,10,5,15,10,1.15,", r"is missing \(column 'error' has no number"),
        (HEAD, "10,10,5,15,10,1.15,0", "data row 1: the standard error is positive"),
        (HEAD, "0,10,5,15,10,1.15,0.1", "data row 1: the frequency is positive"),
        (HEAD, "10,10,5,15,10,0,0.1", "data row 1: the ratio after and before is positive"),
        (HEAD, "10,10,2.5,15,10,1.15,0.1", "data row 1: spikes is a whole number"),
        (HEAD, "10,10,5,15,0.3,1.15,0.1", "bursts of 0.4 s do not fit into a period of 0.3 s"),
        (HEAD, "10,10,5000,5000,9999,1.15,0.1", "are more than 100,000"),
    ],
)  # fmt: skip
def test_bad_tables_are_told_apart(tmp_path: Path, head: str, row: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_protocols(table(tmp_path, head, (row, *ROWS[1:])))


def test_too_few_protocols_are_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="has 2 protocols"):
        read_protocols(table(tmp_path, rows=ROWS[:2]))
    with pytest.raises(ConfigError, match="too few for rules of 3 terms"):
        fit_rules(read_protocols(table(tmp_path)))
