"""An evolution of expressions that the network's loss drives."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from discover.errors import EngineError, RunFailed
from discover.expression import Node, parse
from discover.fit import FitSettings, fit
from discover.pareto import ParetoFront
from discover.progress import Progress, silent
from discover.report.figures import spent_figure
from discover.rule import Rule
from discover.search import engine, search
from discover.search.closed_loop import CLOSED_LOOP, HOPELESS, SPEEDS, _Judge, closed_loop
from discover.search.combine import MOST_COMBINATIONS
from discover.search.engine import Proposal, Samples
from discover.search.operon import evolve_on
from discover.search.settings import OperonSettings, SearchSettings, TermsSettings
from discover.search.teacher import Lesson
from discover.search.trial import SIMPLER
from discover.tasks import collect, get_task
from pipelines.cli import app

TASK = get_task("oja")
SMALL = TASK.settings_type(n_inputs=3, n_samples=60, n_steps=60)
PROBLEMS = TASK.draw(SMALL, 4, np.random.SeedSequence(0))
TINY = SearchSettings(
    operators=(),
    max_nodes=15,
    terms=TermsSettings(max_factors=2, max_terms=2, beam_width=5, n_refined=2),
    operon=OperonSettings(
        generations=2, population_size=20, chunk=2, task_generations=4, task_population=30, max_rows=60
    ),
)


def node(text: str) -> Node:
    return parse(text, ("x", "y", "w"))


def lesson() -> Lesson:
    states = TASK.probe(PROBLEMS, 100, np.random.SeedSequence(1))["feedforward"].values
    return Lesson({"feedforward": Samples(("x", "y", "w"), states, states[:, 0])})


@pytest.fixture
def judge() -> _Judge:
    points = dict(lesson().samples["feedforward"].columns)
    return _Judge(TASK, PROBLEMS, "feedforward", points, 1.0, max_nodes=15)


def test_one_function_is_simulated_once(judge: _Judge) -> None:
    first = judge(node("x*y"))
    n_simulated = judge.n_simulated
    assert n_simulated == len(SPEEDS) * PROBLEMS.n_problems
    for text in ("y*x", "2*x*y", "x*y + 0*w", "x*y*y/y"):
        assert judge(node(text)) == first
    assert judge.n_simulated == n_simulated
    judge(node("-x*y"))
    assert judge.n_simulated == 2 * n_simulated


def test_worth_is_the_lowest_loss_over_the_speeds(judge: _Judge) -> None:
    worth = judge(node("x*y - w*y**2"))
    (complexity, (loss, rule)) = max(judge.best.items())
    assert worth == loss == TASK.losses(rule, PROBLEMS).mean()
    assert complexity >= rule.complexity - 4
    values = Rule.parse("x*y - w*y**2").numpy()["feedforward"](**judge.points)
    unit = 1.0 / np.sqrt(np.mean(values**2))
    everything = [
        TASK.losses(Rule.parse("x*y - w*y**2").scaled(speed * unit), PROBLEMS).mean() for speed in SPEEDS
    ]
    assert worth == pytest.approx(min(everything))


def test_only_the_best_go_on_to_more_problems() -> None:
    points = dict(lesson().samples["feedforward"].columns)
    problems = TASK.draw(SMALL, 12, np.random.SeedSequence(0))
    judge = _Judge(TASK, problems, "feedforward", points, 1.0, max_nodes=15, n_first=2)
    assert [one.n_problems for one in judge.rounds] == [2, 6, 4]
    texts = ["x*y - w*y**2", "-x*y", "x", "-w", "w", "-x", "y*w", "-y"]
    judge.all_of([node(text) for text in texts])
    # Eight at four speeds on two problems, two at two speeds on six more, one at its best on the last four.
    assert judge.n_simulated == 8 * 4 * 2 + 2 * 2 * 6 + 1 * 1 * 4
    ((loss, rule),) = judge.best.values()
    assert loss == pytest.approx(TASK.losses(rule, problems).mean())
    assert loss == judge(node("x*y - w*y**2"))
    assert [len(seen) for seen in judge.seen.values()] == [8, 2, 1]
    n_simulated = judge.n_simulated
    judge(node("-x*y*w"))  # of those that come later, too, the worse ones meet few problems
    assert judge.n_simulated == n_simulated + 8


@pytest.mark.parametrize("text", ["0*x", "1/(x - x)", "log(-1 - x**2)", "tanh(" * 16 + "x" + ")" * 16])
def test_what_is_no_rule_costs_nothing(judge: _Judge, text: str) -> None:
    assert judge(node(text)) == HOPELESS
    assert judge.n_simulated == 0


def test_rules_that_a_simpler_one_beats_are_not_kept(judge: _Judge) -> None:
    for text in ("x*y - w*y**2", "x*y", "x", "x*y + x"):
        judge(node(text))
    losses = [TASK.losses(rule, PROBLEMS).mean() for rule in judge.front()]
    sizes = [rule.complexity for rule in judge.front()]
    assert losses == sorted(losses, reverse=True)
    assert sizes == sorted(sizes)
    counts = [count for count, _ in judge.trace]
    assert counts == sorted(counts)


CHILD = """
import json, sys
request = json.loads(sys.stdin.readline())
assert request["asks"] and request["local_search"] == 0
for tree in ([["var", 0, 1.0]], [["var", 1, 2.0], ["var", 0, 1.0], ["Mul", 2]]):
    print(json.dumps({"ask": tree}), flush=True)
    answer = json.loads(sys.stdin.readline())
    assert answer == len(tree)
print(json.dumps({"answer": []}), flush=True)
"""


def test_the_child_is_told_what_its_trees_are_worth() -> None:
    asked: list[str] = []

    def worth(tree: Node) -> float:
        asked.append(str(tree))
        return {1: 1.0, 3: 1.0}.get(tree.complexity, 3.0)

    samples = lesson().samples["feedforward"]
    evolve_on(worth, samples, TINY, 1, command=(sys.executable, "-c", CHILD))
    assert asked == ["1*x", "1*x*(2*y)"]


def test_what_goes_wrong_in_a_simulation_comes_back() -> None:
    def worth(_: Node) -> float:
        raise RunFailed("no network")

    with pytest.raises(RunFailed, match="no network"):
        evolve_on(worth, lesson().samples["feedforward"], TINY, 1, command=(sys.executable, "-c", CHILD))


@pytest.mark.parametrize("text", ["import sys; sys.exit(3)", "print('{\"trees\": 1', flush=True)"])
def test_a_child_that_dies_is_one_error(text: str) -> None:
    with pytest.raises(EngineError, match="operon"):
        evolve_on(
            lambda tree: 1.0, lesson().samples["feedforward"], TINY, 1, command=(sys.executable, "-c", text)
        )


def test_the_same_seed_finds_the_same_rules() -> None:
    first, spent = closed_loop(TASK, PROBLEMS, lesson(), TINY, 5)
    again, as_much = closed_loop(TASK, PROBLEMS, lesson(), TINY, 5)
    assert first
    assert [str(rule) for rule in first] == [str(rule) for rule in again]
    assert spent == as_much
    assert spent.n_simulated % PROBLEMS.n_problems == 0


def test_several_slots_are_refused() -> None:
    both = replace(lesson(), samples={"feedforward": lesson().samples["feedforward"], "lateral": None})  # type: ignore[dict-item]
    with pytest.raises(EngineError, match="several slots"):
        closed_loop(TASK, PROBLEMS, both, TINY, 1)


def test_both_ways_are_set_side_by_side() -> None:
    options = FitSettings(
        restarts=1, n_train=8, n_heldout=8, n_tuning=0, steps=20, path_steps=5, refit_steps=5
    )
    found = fit(TASK, SMALL, options, 0)
    network = replace(TINY.network, n_states=60, n_train=8, n_heldout=8, n_refined=2, refine_steps=3)
    front = search(
        TASK, SMALL, found, collect(TASK, SMALL, 0), replace(TINY, objective="task", network=network), 3,
        engines=("terms",),
    )  # fmt: skip
    selection = TASK.draw(SMALL, 8, np.random.SeedSequence(3).spawn(5)[1])
    ways = {one.way: one for one in front.spent}
    assert list(ways) == ["engines on the teacher's update", CLOSED_LOOP]
    for way, one in ways.items():
        assert one.n_simulated > 100
        own = [
            TASK.losses(each.rule, selection).mean()
            for each in front.candidates
            if (CLOSED_LOOP in each.provenance.proposed_by) == (way == CLOSED_LOOP)
            and SIMPLER
            not in each.provenance.refined_by  # what was made of both ways' candidates later is neither's
        ]
        assert one.heldout_loss <= min(own) + 1e-12
    assert any(CLOSED_LOOP in one.provenance.proposed_by for one in front.candidates)
    assert ParetoFront.from_json(front.to_json()) == front
    assert len(spent_figure(front.spent).axes[0].lines) == 2


class Repeating:
    """An engine that proposes one rule so many times."""

    name = "terms"

    def __init__(self, n_proposals: int) -> None:
        self.n_proposals = n_proposals

    def availability(self) -> engine.Availability:
        return engine.Availability(self.name, True)

    def propose(
        self, samples: Samples, settings: SearchSettings, seed: int, progress: Progress = silent
    ) -> list[Proposal]:
        return [Proposal(node("0.3*x*y - 0.3*w*y**2"), 0.1, self.name)] * self.n_proposals


def test_what_is_simulated_to_combine_fronts_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond so many combinations each is tried in the network; that is spent, like all other trials."""
    options = FitSettings(
        restarts=1, n_train=8, n_heldout=8, n_tuning=0, steps=5, path_steps=2, refit_steps=2
    )
    found, visited = fit(TASK, SMALL, options, 0), collect(TASK, SMALL, 0)
    network = replace(
        TINY.network, n_states=60, n_train=8, n_heldout=8, n_test=8, n_refined=1, refine_steps=1, simplify=0,
        rounds=0,
    )  # fmt: skip
    tiny = replace(TINY, objective="task", network=network)
    spent = []
    for n_proposals in (MOST_COMBINATIONS, MOST_COMBINATIONS + 1):
        monkeypatch.setattr(engine, "ENGINES", {"terms": lambda n=n_proposals: Repeating(n)})
        spent.append(search(TASK, SMALL, found, visited, tiny, 3, engines=("terms",)).spent)
    few, many = (one[0].n_simulated for one in spent)
    assert many - few == (MOST_COMBINATIONS + 1) * network.n_train
    assert spent[0][1] == spent[1][1]


def test_an_unknown_objective_is_refused(toy: Callable[..., None]) -> None:
    result = CliRunner().invoke(app, ["run", "toy.toml", "--objective", "taks"])
    assert result.exit_code == 2
    assert "Did you mean 'task'" in result.output


@pytest.mark.slow
def test_all_sums_of_two_products_are_tried_where_asked() -> None:
    # A tiny evolution does not come across the difference of the two products of the delta rule.
    task = get_task("error")
    settings = task.settings_type(
        n_inputs=3, duration_s=2.0, sample_ms=5.0, window_ms=50.0, learning_rate=2.7
    )
    problems = task.draw(settings, 8, np.random.SeedSequence(0))
    states = task.probe(problems, 100, np.random.SeedSequence(1))["error"].values
    given = Lesson({"error": Samples(("s", "u", "w", "v"), states, states[:, 0])})
    delta_rule = Rule.parse({"error": "s*v - s*u"}).coefficients()["error"]

    def is_found(degree: int) -> bool:
        rules, _ = closed_loop(task, problems, given, replace(TINY, task_degree=degree), 0)
        tables = [rule.coefficients()["error"] for rule in rules if rule.is_polynomial]
        return any(
            table.keys() == delta_rule.keys() and sum(table.values()) == pytest.approx(0.0, abs=1e-9)
            for table in tables
        )

    assert not is_found(0)
    assert is_found(2)
