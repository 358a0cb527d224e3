"""Posteriors without PyTorch: families, simulations in a row, weights, reading, pairing, screens, files."""

from __future__ import annotations

import builtins
import json
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from discover.errors import ArtefactError, ConfigError, ExtraMissing
from discover.pairing.evidence import split
from discover.pairing.fit import PairingSettings
from discover.pairing.terms import Term, design
from discover.posterior import Budget, Family, Parameter, Posterior, family_of_rule, family_of_terms
from discover.posterior import pairing as exact
from discover.posterior.chain import effective_chain, hamiltonian
from discover.posterior.forms import Placed
from discover.posterior.mixture import Round, expected_numbers
from discover.posterior.neural import with_torch
from discover.posterior.prior import with_range
from discover.posterior.reading import directions_of, placed_rules
from discover.posterior.rounds import Batch, simulated, table_of
from discover.posterior.screened import screen_posterior
from discover.posterior.simulations import BATCH, Condition, condition_of, in_a_row, passes
from discover.posterior.weighing import (
    coverage_of,
    effective,
    importance,
    quantiles,
    resampled,
    weighted_distance,
)
from discover.posterior.words import answers_of
from discover.rule import Rule
from discover.screen import PARAMETERS, Screen, columns_of, drawn_quartet
from discover.stored import read_stored
from discover.tasks import get_task
from discover.tasks.pairing import protocols_of
from pipelines import artefacts
from pipelines.posterior import BatchTable, PosteriorFiles
from pipelines.screen import ScreenFiles

FloatArray = NDArray[np.float64]

TWO = Family(
    (Parameter("feedforward", "x*y", -2.0, 2.0), Parameter("feedforward", "w*y**2", -2.0, 2.0)),
)
SETTINGS = PairingSettings(hold_out=("lag 0", "lag 25 ms"))


def protocols() -> Any:
    return split(protocols_of(SETTINGS), SETTINGS, 1)


# ----------------------------------------------------------------------------------------------------- prior


def test_standard_coordinates_make_every_prior_normal_and_lead_back() -> None:
    family = Family(
        (Parameter("on_pre", "x_post", -2.0, 2.0), Parameter("tau_pre", "", 10.0, 100.0, "log"),
         Parameter("on_post", "1", -3.0, 3.0, "normal"))
    )  # fmt: skip
    points = family.draw(5000, np.random.default_rng(0))
    values = family.values(points)
    assert np.allclose(family.standard(values), points)
    assert abs(np.mean(values[:, 0] < 1.0) - 0.75) < 0.03  # uniform
    assert abs(np.mean(values[:, 1] < np.sqrt(1000.0)) - 0.5) < 0.03  # even in the logarithm
    assert abs(values[:, 2].std() - 1.0) < 0.05  # a range of three standard deviations to either side
    assert (values[:, 1] >= 10.0).all()
    assert (values[:, 1] <= 100.0).all()


def test_what_lies_outside_of_the_prior_is_infinitely_far_out() -> None:
    assert np.isinf(TWO.standard(np.array([[2.5, 0.0]]))[0, 0])


def test_a_family_of_terms_has_the_time_constants_of_its_task() -> None:
    family = family_of_terms(get_task("ei-balance"), {"on_pre": ["1", "x_post"], "on_post": ["x_pre"]}, 1.5)
    assert family.names == ("on_pre: 1", "on_pre: x_post", "on_post: x_pre", "tau_pre", "tau_post")
    assert family.parameters[0].high == 1.5
    vogels = Rule.parse({"on_pre": "x_post - 0.25", "on_post": "x_pre"})
    values = family.values_of(vogels)
    assert values is not None
    assert values.tolist() == [-0.25, 1.0, 1.0, 20.0, 20.0]
    assert family.values_of(family.rule(values)) is not None
    assert family.values_of(Rule.parse({"on_pre": "w*x_post", "on_post": "x_pre"})) is None


def test_a_family_of_a_rule_has_its_constants() -> None:
    rule = Rule.parse("2*x*y - 0.5*w*y**2")
    family = family_of_rule(rule)
    assert family.n_parameters == 2
    assert sorted(one.high for one in family.parameters) == [1.5, 6.0]
    values = family.values_of(rule)
    assert values is not None
    assert family.rule(values) == rule
    assert family.values_of(Rule.parse("x*y - w*y**2")) is not None
    assert family.values_of(Rule.parse("x*y - w")) is None
    assert {one.high for one in with_range(family, 3.0).parameters} == {3.0}


@pytest.mark.parametrize(
    ("terms", "largest", "words"),
    [
        ({"feedforwrd": ["x*y"]}, 2.0, "feedforward"),
        ({"feedforward": []}, 2.0, "at least one term"),
        ({"feedforward": ["x*y"]}, -1.0, "positive number"),
        ({"feedforward": ["x*y"]}, float("inf"), "positive number"),
    ],
)
def test_families_that_are_none_are_refused(terms: Any, largest: float, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        family_of_terms(get_task("oja"), terms, largest)


def test_a_rule_that_is_no_sum_of_terms_has_its_inner_constants() -> None:
    rule = Rule.parse("2*x*tanh(0.5*y) - 0.1*w")
    family = family_of_rule(rule)
    assert family.n_parameters == 3
    values = family.values_of(rule)
    assert values is not None
    assert family.rule(values) == rule
    assert np.isfinite(family.standard(values[None])).all()


def test_a_rule_without_constants_is_no_family() -> None:
    with pytest.raises(ConfigError, match="no constants"):
        family_of_rule(Rule.parse("0"))


# ----------------------------------------------------------------------------------------------- simulations


class Stand:
    """A task that a rule does if its first constant is above a threshold of the problem."""

    name = "stand"
    has_gradient = False

    def __init__(self) -> None:
        self.n_evaluated: list[int] = []

    def draw(self, settings: Any, n: int, seed: np.random.SeedSequence) -> FloatArray:
        return np.random.default_rng(seed).uniform(size=n)

    def subset(self, problems: FloatArray, indices: NDArray[np.int64]) -> FloatArray:
        return problems[indices]

    def evaluate_rules(self, rules: list[Rule], problems: FloatArray) -> list[dict[str, FloatArray]]:
        self.n_evaluated.append(len(rules))
        values = [rule.coefficients()["feedforward"].get("x*y", 0.0) for rule in rules]
        return [{"loss": problems - value} for value in values]


@dataclass(frozen=True)
class StandSettings:
    level: float = 0.0


ABOVE = Condition(StandSettings(), {"loss": (-np.inf, 0.0)}, 3, "above the threshold")
ONE = Family((Parameter("feedforward", "x*y", -1.0, 1.0),))


def test_a_rule_is_run_until_the_first_problem_that_it_fails() -> None:
    task, seed = Stand(), np.random.SeedSequence(3)
    thresholds = np.random.default_rng(seed).uniform(size=3)
    values = np.array([[-0.5], [1.0], [float(np.sort(thresholds)[1]) + 1e-9]])
    passed, loss = in_a_row((task, ABOVE, ONE, values, np.random.SeedSequence(3)))
    expected = [int(np.argmin(np.append(value >= thresholds, False))) for value in values[:, 0]]
    assert passed.tolist() == expected
    assert passed.tolist()[:2] == [0, 3]
    assert np.allclose(loss, thresholds[0] - values[:, 0])
    assert task.n_evaluated == [3, *(sum(one > number for one in expected[:]) for number in range(2))]


def test_measures_that_are_not_numbers_do_not_pass() -> None:
    measured = {"a": np.array([0.1, np.nan]), "b": np.array([0.5, 0.5])}
    assert passes(measured, {"a": (0.0, 0.2), "b": (0.5, 1.0)}).tolist() == [True, False]


@pytest.mark.parametrize(
    ("name", "measure"), [("oja", "norm_error"), ("ei-balance", "tuning"), ("bcm", "loss")]
)
def test_tasks_say_what_counts_as_doing_them(name: str, measure: str) -> None:
    task = get_task(name)
    condition = condition_of(task, task.settings_type(), 2)
    assert measure in condition.tolerances
    assert condition.title


def test_ojas_rule_does_its_task_and_hebbs_does_not() -> None:
    task = get_task("oja")
    condition = condition_of(task, task.settings_type(), 3)
    values = np.array([[1.0, -1.0], [1.0, 0.0], [1.0, -0.5], [-1.0, 1.0]])
    passed, _ = in_a_row((task, condition, TWO, values, np.random.SeedSequence(0)))
    assert passed.tolist() == [3, 0, 0, 0]


SMALL = Budget(n_prior=2 * BATCH, n_round=BATCH, n_accepted=10_000, most_rules=4 * BATCH)


def test_simulations_go_on_behind_the_last_whole_batch(tmp_path: Path) -> None:
    common = Family((Parameter("feedforward", "x*y", 0.9, 1.0),))  # all are good: nothing is restricted
    seed = np.random.SeedSequence(5)
    files = PosteriorFiles(tmp_path, common, ABOVE, SMALL, {"task": "stand"})
    files.begin(False)
    with BatchTable(files.table, common) as rows:
        whole = simulated(Stand(), ABOVE, common, SMALL, seed, rows.kept, rows.add)
    text = files.table.read_text()
    lines = text.splitlines(keepends=True)
    files.table.write_text("".join(lines[: 1 + BATCH + 7]) + lines[BATCH + 8][:9])  # cut off within a line
    again = BatchTable(files.table, common)
    assert list(again.kept) == [0]
    task = Stand()
    with again as rows:
        resumed = simulated(task, ABOVE, common, SMALL, seed, rows.kept, rows.add)
    assert task.n_evaluated[0] == BATCH  # the first batch was not run again
    assert files.table.read_text() == text
    assert np.array_equal(resumed.values, whole.values)
    assert np.array_equal(resumed.passed, whole.passed)
    assert resumed.n_rules == 4 * BATCH


SCRIPT = """
import sys
import time
from pathlib import Path

import numpy as np
from test_posterior import ABOVE, BatchTable, Budget, Family, Parameter, PosteriorFiles, Stand, simulated

common = Family((Parameter("feedforward", "x*y", 0.9, 1.0),))
budget = Budget(n_prior=640, n_round=320, n_accepted=10_000, most_rules=1920)
files = PosteriorFiles(Path(sys.argv[1]), common, ABOVE, budget, {"task": "stand"})
files.begin(False)
with BatchTable(files.table, common) as rows:
    print(len(rows.kept), flush=True)
    progress = lambda *told: time.sleep(0.01)
    simulated(Stand(), ABOVE, common, budget, np.random.SeedSequence(5), rows.kept, rows.add, progress)
"""


def test_simulations_that_are_killed_go_on_and_end_with_the_same_bytes(tmp_path: Path) -> None:
    tables = {name: tmp_path / name / "posterior" / "simulations.csv" for name in ("whole", "killed")}
    for path in tables.values():
        path.parent.parent.mkdir()

    def begun(name: str) -> subprocess.Popen[str]:
        words = [sys.executable, "-c", SCRIPT, str(tmp_path / name)]
        return subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parent)

    assert begun("whole").wait() == 0
    found, path = [], tables["killed"]
    for n_lines in (100, 800):
        process = begun("killed")
        while process.poll() is None and not (path.exists() and path.read_bytes().count(b"\n") > n_lines):
            time.sleep(0.001)
        process.kill()
        found.append(int(process.communicate()[0]))
    process = begun("killed")
    found.append(int(process.communicate()[0]))
    assert process.returncode == 0
    assert found[0] == 0
    assert 1 <= found[1] < found[2] < 30
    assert path.read_bytes() == tables["whole"].read_bytes()


@pytest.mark.parametrize("line", ["0,0,2", "0,0,x,0.1,0.2", "0,0,2,0.1,nan"])
def test_a_damaged_table_is_refused(tmp_path: Path, line: str) -> None:
    path = tmp_path / "simulations.csv"
    path.write_text("batch,stage,passed,loss,feedforward: x*y\n" + line + "\n")
    with pytest.raises(ArtefactError, match="line 2"):
        BatchTable(path, ONE)


def test_simulations_of_something_else_are_left_alone(tmp_path: Path) -> None:
    files = PosteriorFiles(tmp_path, ONE, ABOVE, SMALL, {"task": "stand", "seed": 1})
    files.begin(False)
    with BatchTable(files.table, ONE):
        pass
    other = PosteriorFiles(tmp_path, ONE, ABOVE, SMALL, {"task": "stand", "seed": 2})
    with pytest.raises(ArtefactError, match="--update"):
        other.begin(False)
    other.begin(True)
    assert json.loads(other.about.read_text())["seed"] == 2


def test_runs_are_counted_up_to_the_problem_that_was_failed() -> None:
    batch = Batch(0, 0, np.zeros((3, 1)), np.array([0, 1, 3]), np.zeros(3))
    table = table_of({0: batch}, 3)
    assert table.n_runs == 1 + 2 + 3
    assert table.is_accepted.tolist() == [False, False, True]


# --------------------------------------------------------------------------------------- weights and reading


def test_weighed_samples_follow_the_target() -> None:
    rng = np.random.default_rng(0)
    points = rng.normal(0, 2, 40_000)
    weights = importance(-0.5 * points**2, -0.5 * (points / 2) ** 2)
    assert abs(float(weights @ points**2) - 1.0) < 0.03
    assert 0.5 < effective(weights) / 40_000 < 0.75  # about 0.66 in theory
    rows = resampled(weights, 4000, rng)
    assert abs(points[rows].std() - 1.0) < 0.05
    assert np.allclose(quantiles(points, weights, (0.16, 0.84)), [-1, 1], atol=0.05)
    # 1.95/sqrt(4000): reached by chance once in a thousand times.
    assert weighted_distance(points, points[rows], weights, np.ones(4000)) < 0.031


def test_rules_are_expected_where_rounds_have_drawn_them() -> None:
    rng = np.random.default_rng(7)
    points = rng.normal(size=(200_000, 1))
    rounds = (Round(300), Round(500, lambda at: at[:, 0] > 1.0, 0.1587, 0.9))
    expected = expected_numbers(rounds, points)
    # The expected number of rules in a region is the mean over the prior, here of half of the line.
    assert abs(expected.mean() - 800) < 10
    assert abs((expected * (points[:, 0] < 0)).mean() - (300 + 50) / 2) < 3


def test_coverage_is_that_of_the_regions_of_highest_density() -> None:
    ranks = np.random.default_rng(1).integers(0, 1001, 20_000)
    assert all(abs(found - nominal) < 0.02 for nominal, found in coverage_of(ranks, 1000))
    too_sure = np.minimum(ranks, 1000 - ranks)  # rules lie in the outskirts too often
    assert coverage_of(too_sure, 1000, (0.4,))[0][1] < 0.05


def test_a_stiff_direction_is_found() -> None:
    rng = np.random.default_rng(2)
    free = rng.normal(size=4000)
    points = np.column_stack([free, free + 0.1 * rng.normal(size=4000)])
    stiff, sloppy = directions_of(TWO, points, np.ones(4000))
    assert stiff.spread == pytest.approx(0.07, abs=0.01)
    assert sloppy.spread == pytest.approx(np.sqrt(2), rel=0.05)
    assert stiff.weights["feedforward: x*y"] * stiff.weights["feedforward: w*y**2"] < 0


def test_rules_are_ranked_at_their_best_speed() -> None:
    centre = TWO.standard(np.array([[0.5, -0.5]]))[0]
    rng = np.random.default_rng(3)
    points = centre + 0.1 * rng.normal(size=(2000, 2))

    def log_density(at: FloatArray) -> FloatArray:
        found: FloatArray = -0.5 * np.sum(((at - centre) / 0.1) ** 2, axis=1)
        return found

    rules = {"slow": Rule.parse("x*y - w*y**2"), "off": Rule.parse("x*y + w*y**2"), "other": Rule.parse("x")}
    slow, off, other = placed_rules(TWO, rules, log_density, points, np.ones(2000))
    assert slow.speed == 0.5
    assert slow.density_rank > 0.95
    assert off.density_rank == 0.0
    assert np.isnan(other.density_rank)
    assert other.why


def test_the_chain_samples_what_it_should() -> None:
    covariance = np.array([[1.0, 0.9], [0.9, 1.0]])
    precision = np.linalg.inv(covariance)
    points, accepted = hamiltonian(
        lambda x: (0.5 * float(x @ precision @ x), precision @ x),
        np.zeros(2),
        4000,
        300,
        np.random.default_rng(4),
        0.3,
    )  # fmt: skip
    assert np.allclose(np.cov(points.T), covariance, atol=0.12)
    assert 0.4 < accepted < 0.6  # what the step is adapted to
    assert 200 < effective_chain(points) <= 4000


def test_a_chain_stays_within_walls() -> None:
    def box(x: FloatArray) -> tuple[float, FloatArray]:
        return (0.0 if abs(x[0]) < 1 else float("inf")), np.zeros(1)

    points, _ = hamiltonian(box, np.zeros(1), 3000, 200, np.random.default_rng(5), 0.1)
    assert np.abs(points).max() < 1
    assert abs(points.std() - 1 / np.sqrt(3)) < 0.06


# --------------------------------------------------------------------------------------------------- pairing


@pytest.fixture(scope="module")
def pairing() -> tuple[Posterior, FloatArray]:
    terms = [*exact.PAIR_TERMS, *exact.TRIPLET_TERMS]
    return exact.pairing_posterior(protocols(), SETTINGS, terms, 2000, np.random.SeedSequence(1))


def test_pairing_excludes_the_pair_rule(pairing: tuple[Posterior, FloatArray]) -> None:
    posterior, _ = pairing
    (one,) = posterior.exclusions
    assert one.without == "post_spike: x_pre*slow_post"
    assert one.level > 0.9999
    assert one.odds > 1000
    ranks = {placed.name: placed.density_rank for placed in posterior.placed}
    assert ranks["stdp-additive"] == 0.0
    assert ranks["stdp-triplet"] > 0.05


def test_bands_of_pairing_hold_what_they_claim(pairing: tuple[Posterior, FloatArray]) -> None:
    posterior, _ = pairing
    found = {one.nominal: round(one.found * one.n) for one in posterior.band_coverage}
    assert 3 <= found[0.5] <= 7  # of ten
    assert found[0.95] >= 8
    assert sum(not one.is_held_out for one in posterior.bands) == 10


def test_bands_hold_what_they_claim_where_data_come_from_the_prior() -> None:
    """Protocols with changes by drawn rules, with drawn errors: a posterior that is right has even levels."""
    parts, terms = protocols(), exact.TRIPLET_TERMS
    grid = exact._grid(parts.fitted, SETTINGS, terms)
    rng = np.random.default_rng(0)
    levels = []
    for _ in range(60):
        place = int(rng.integers(len(grid.times)))
        truth = grid.spread * rng.normal(size=len(terms))
        errors = grid.bench.errors
        changes = grid.sums[place] @ truth + errors * rng.normal(size=len(errors))
        kept = np.arange(len(errors)) != 3
        posterior = exact._posterior(grid, changes, errors, kept)
        coefficients, places = posterior.draw(500, rng)
        drawn = np.sum(grid.sums[places, 3] * coefficients, axis=1) + errors[3] * rng.normal(size=500)
        levels.append(abs(2 * np.mean(drawn < changes[3]) - 1))
    assert abs(np.mean(np.array(levels) <= 0.5) - 0.5) < 0.2
    assert np.mean(np.array(levels) <= 0.9) > 0.8


def test_the_exact_posterior_is_that_of_least_squares_where_the_prior_is_wide() -> None:
    parts, terms = protocols(), exact.TRIPLET_TERMS
    grid = exact._grid(parts.fitted, SETTINGS, terms)
    changes, errors = grid.bench.changes, grid.bench.errors
    posterior = exact._posterior(grid, changes, errors, np.ones(len(changes), dtype=bool))
    place = int(np.argmax(posterior.weights))
    rows = grid.sums[place] / errors[:, None]
    least, *_ = np.linalg.lstsq(rows, changes / errors, rcond=None)
    spread = np.sqrt(np.diag(posterior.covariances[place]))
    assert (np.abs(posterior.means[place] - least) < 0.1 * spread).all()
    assert np.allclose(np.linalg.inv(rows.T @ rows), posterior.covariances[place], rtol=0.1)


def test_more_terms_than_can_be_sampled_are_refused() -> None:
    terms = [
        Term("pre", text)
        for text in ("1", "x_post", "x_pre", "slow_pre", "slow_post", "x_post**2", "x_pre**2")
    ]
    with pytest.raises(ConfigError, match="one to six terms"):
        exact.pairing_posterior(protocols(), SETTINGS, terms, 10, np.random.SeedSequence(0))


def test_the_grid_of_pairing_holds_the_sums_of_terms() -> None:
    parts = protocols()
    grid = exact._grid(parts.fitted, SETTINGS, exact.TRIPLET_TERMS)
    place = 77
    from discover.pairing.events import Traces

    taus = dict(zip(grid.names, grid.times[place].tolist(), strict=True))
    traces = Traces(taus.get("x_pre", 16.8), 101.0, taus.get("x_post", 33.7), taus.get("slow_post", 125.0))
    assert np.allclose(design(parts.fitted, traces, exact.TRIPLET_TERMS), grid.sums[place])


# --------------------------------------------------------------------------------------------------- screens


def screen_rows(n: int, seed: int = 0) -> list[dict[str, Any]]:
    """Quartets that are stable if the sum of two parameters is low."""
    rows = []
    for number in range(n):
        values = dict(zip(PARAMETERS, drawn_quartet(seed, number).tolist(), strict=True))
        is_stable = values["EE_alpha"] + values["EI_beta"] < -1.0
        rows.append({"rule": number, "class": "stable" if is_stable else "unstable", **values})
    return rows


def test_a_screen_says_which_quartets_are_stable() -> None:
    posterior, samples = screen_posterior(screen_rows(600), Budget(n_samples=800), np.random.SeedSequence(0))
    good = (
        samples.values[:, PARAMETERS.index("EE_alpha")] + samples.values[:, PARAMETERS.index("EI_beta")] < -1
    )
    assert good.mean() > posterior.spent.prior_share + 0.25
    assert abs(posterior.spent.restricted_share - good.mean()) < 0.15  # what it expects of left-out quartets
    weights = posterior.directions[0].weights
    assert set(sorted(weights, key=lambda name: -abs(weights[name]))[:2]) == {"EE: alpha", "EI: beta"}


def test_squares_and_products_of_drifts_are_learnt() -> None:
    """Stable where the drift by coincidences is small in size: no plane divides these from the others."""
    rows = []
    for row in screen_rows(1200):
        drift = row["EI_gamma"] * row["EI_tau_pre"]
        rows.append({**row, "class": "stable" if abs(drift) < 20.0 else "unstable"})
    posterior, samples = screen_posterior(rows, Budget(n_samples=800), np.random.SeedSequence(0))
    drawn = dict(zip(PARAMETERS, samples.values.T, strict=True))
    good = np.abs(drawn["EI_gamma"] * drawn["EI_tau_pre"]) < 20.0
    assert good.mean() > posterior.spent.prior_share + 0.15
    assert "EI" in answers_of(posterior)["notes"].partition("log odds: ")[2][:2]


def test_samples_of_a_screen_are_simulated_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from typer.testing import CliRunner

    import pipelines.screen as screens
    from pipelines.cli import app

    ran: list[int] = []

    def instead(screen: Any, done: Any, arrived: Any, jobs: int) -> None:
        """Say of quartets what the rows of this test say, without their networks."""
        for number in screen.numbers:
            if number in done:
                continue
            ran.append(number)
            values = dict(zip(PARAMETERS, screen.quartet(number).tolist(), strict=True))
            row = dict.fromkeys(columns_of(screen.settings), "") | {"rule": number, **values}
            is_stable = values["EE_alpha"] + values["EI_beta"] < -1.0
            row |= {"class": "stable" if is_stable else "unstable", "break_s": -1.0, "loss": 1.0}
            row |= {"completed": 1.0, "seconds": 0.1}
            arrived(row)

    monkeypatch.setattr(screens, "run_screen", instead)
    table = tmp_path / "screen.csv"
    artefacts.write_csv(table, screen_rows(400))
    words = ["posterior", "memory", "--screen", str(table), "--results", str(tmp_path), "--samples", "100"]
    refused = CliRunner().invoke(app, [*words, "--fresh", "20"])
    assert refused.exit_code == 2
    assert "screen.json is missing" in refused.output.replace("\n", "")
    settings = get_task("memory").settings_type(breaks_s=(1.0, 60.0))
    asked = ScreenFiles(Screen(settings, 400, 7), tmp_path).request
    (tmp_path / "screen.json").write_text(artefacts.to_text({"request": asked}))
    for number in (20, 30, 30):  # further samples go on where the first ones ended
        result = CliRunner().invoke(app, [*words, "--fresh", str(number)])
        assert result.exit_code == 0, result.output
    assert ran == list(range(30))
    fresh = tmp_path / "memory" / "posterior" / "fresh"
    request = json.loads((fresh / "screen.json").read_text())["request"]
    assert (request["seed"], request["settings"]) == (7, json.loads(artefacts.to_text(asked))["settings"])
    rows = screens.read_table(fresh / "screen.csv")
    n_stable = sum(row["class"] != "unstable" for row in rows)
    said = result.output.replace("\n", " ")
    assert f"Of 30 samples that were simulated anew, {n_stable} do" in said
    assert "430 rules were simulated in all" in said
    posterior = read_stored(tmp_path / "memory" / "posterior.json", Posterior)
    assert posterior.predictive is not None
    assert posterior.predictive.low < n_stable / 30 < posterior.predictive.high
    samples = np.loadtxt(tmp_path / "memory" / "posterior" / "samples.csv", delimiter=",", skiprows=1)
    assert np.array_equal(samples[:30, :24], [[row[name] for name in PARAMETERS] for row in rows])
    other = CliRunner().invoke(app, [*words, "--fresh", "20", "--seed", "9"])
    assert other.exit_code == 2
    assert "other settings" in other.output.replace("\n", " ")


def test_too_small_a_screen_is_refused() -> None:
    with pytest.raises(ConfigError, match="at least 20"):
        screen_posterior(screen_rows(30), Budget(), np.random.SeedSequence(0))


# ----------------------------------------------------------------------------------------- files and commands


def test_a_posterior_is_read_as_it_was_written(tmp_path: Path, pairing: tuple[Posterior, FloatArray]) -> None:
    path = tmp_path / "posterior.json"
    artefacts.write_json(path, pairing[0])
    text = path.read_text()
    again = read_stored(path, Posterior)
    artefacts.write_json(path, again)
    assert path.read_text() == text
    assert answers_of(again) == answers_of(pairing[0])
    content = json.loads(text)
    for damage, words in (
        ({"effective_samples": "many"}, "effective_samples"),
        ({"bands": [{**content["bands"][0], "quantiles": [0.1, 0.2]}]}, "five quantiles"),
        ({"method": "guessed"}, "method"),
        ({"schema": "plasticity-discovery/posterior/2"}, "newer release"),
    ):
        path.write_text(json.dumps({**content, **damage}))
        with pytest.raises(ArtefactError, match=words):
            read_stored(path, Posterior)


def test_rules_of_restarts_are_told_together(pairing: Any) -> None:
    rule, nowhere = Rule.parse({"on_pre": "x_post"}), "it lies outside of the prior"
    ranks = (0.2, 0.6, float("nan"))
    placed = [
        Placed(f"restart {number}", rule, 1.0, rank, "" if np.isfinite(rank) else nowhere)
        for number, rank in enumerate(ranks, 1)
    ]
    told = answers_of(replace(pairing[0], placed=(Placed("chosen rule", rule, 1.0, 0.5), *placed)))["rules"]
    assert "chosen rule 0.50" in told
    assert "Of 3 rules that restarts of the search found, 2 lie within the prior" in told
    assert "0.20 to 0.60 of the samples at lower densities, 0.40 in the middle" in told
    assert nowhere not in told


def test_figures_are_drawn(tmp_path: Path, pairing: tuple[Posterior, FloatArray]) -> None:
    from discover.report.posterior import posterior_section, write_posterior_figures

    assert posterior_section(tmp_path) is None
    names = write_posterior_figures(tmp_path, *pairing)
    artefacts.write_json(tmp_path / "posterior.json", pairing[0])
    section = posterior_section(tmp_path)
    assert section is not None
    assert section.figures == names == ("posterior", "posterior-directions", "posterior-bands")
    assert all((tmp_path / "figures" / f"{name}.svg").stat().st_size > 5000 for name in names)


def test_without_the_extra_one_paragraph_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name.partition(".")[0] in ("torch", "sbi"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return plain(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ExtraMissing, match=r"plasticity-discovery\[posterior\]") as caught:
        with_torch()
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_the_program_imports_nothing_of_the_extra() -> None:
    code = (
        "import sys, discover, pipelines.cli, pipelines.posterior_run, discover.posterior.study, "
        "discover.report.posterior\n"
        "assert not {'torch', 'sbi'} & set(sys.modules), 'imported'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["oja", "--terms", "x*y", "--candidate", "c01"], "give one of them"),
        (["oja", "--terms", "x*q"], "no term"),
        (["oja", "--screen", "no.csv"], "memory"),
        (["memory"], "--screen"),
        (["memory", "--fresh", "5"], "--screen"),
        (["ei-balance", "--restarts", "2", "--candidate", "c01"], "--restarts"),
        (["pairing", "--largest", "2"], "--largest"),
        (["pairing", "--terms", "during: x_pre"], "pre or a post spike"),
    ],
)
def test_bad_input_is_refused(tmp_path: Path, words: list[str], said: str) -> None:
    pytest.importorskip("sbi", reason="the extra `posterior` is not installed") if words[0] == "oja" else None
    from typer.testing import CliRunner

    from pipelines.cli import app

    result = CliRunner().invoke(app, ["posterior", *words, "--results", str(tmp_path)])
    assert result.exit_code == 2
    assert said in result.output.replace("\n", " ")


def test_the_command_writes_the_files_of_pairing(tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from pipelines.cli import app

    words = ["posterior", "pairing", "--results", str(tmp_path), "--samples", "200"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    assert "excluded at a level of more than 99.99%" in result.output.replace("\n", " ")
    rows = (tmp_path / "pairing" / "posterior" / "samples.csv").read_text().splitlines()
    assert len(rows) == 201
    assert rows[0].startswith("pre_spike: x_post,")
    first = (tmp_path / "pairing" / "posterior.json").read_bytes()
    assert CliRunner().invoke(app, words).exit_code == 0
    assert (tmp_path / "pairing" / "posterior.json").read_bytes() == first
