"""Rules of several slots from a front of expressions for each: all of them, or a beam over the slots."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
import pytest

from discover.expression import Node, parse
from discover.rule import Rule
from discover.search.combine import MOST_COMBINATIONS, combined
from discover.slots import get_slot

SLOTS = ("feedforward", "lateral", "sliding", "on_pre", "on_post")
N_ENTRIES = 7


def front(slot: str) -> list[Node]:
    """Longer and longer sums, each with its number as its first constant."""
    variables = get_slot(slot).variables
    texts = [
        " + ".join(f"{k + 1 + number}.5*{name}**{k + 1}" for k in range(number + 1) for name in variables[:1])
        for number in range(N_ENTRIES)
    ]
    return [parse(text, variables) for text in texts]


FRONTS = {slot: front(slot) for slot in SLOTS}
NUMBER = {(slot, node): n for slot, nodes in FRONTS.items() for n, node in enumerate(nodes)}


def picks_of(rule: Rule) -> tuple[int, ...]:
    return tuple(NUMBER[slot, rule.expressions[slot]] for slot in SLOTS)


class Network:
    """Knows what every combination costs, and counts what it is asked."""

    def __init__(self, seed: int, coupling: float) -> None:
        rng = np.random.default_rng(seed)
        self.alone = rng.uniform(0, 1, (len(SLOTS), N_ENTRIES))
        self.pairs = coupling * rng.uniform(0, 1, (len(SLOTS), len(SLOTS), N_ENTRIES, N_ENTRIES))
        self.n_asked = 0

    def loss(self, picks: Sequence[int]) -> float:
        slots = range(len(SLOTS))
        alone = sum(self.alone[s, picks[s]] for s in slots)
        return float(alone + sum(self.pairs[s, t, picks[s], picks[t]] for s in slots for t in range(s)))

    def __call__(self, rules: Sequence[Rule]) -> np.ndarray:
        self.n_asked += len(rules)
        return np.array([self.loss(picks_of(rule)) for rule in rules])


ALL = np.array(list(product(range(N_ENTRIES), repeat=len(SLOTS))))


def of_all(network: Network) -> np.ndarray:
    losses = sum(network.alone[s, ALL[:, s]] for s in range(len(SLOTS)))
    return losses + sum(
        network.pairs[s, t, ALL[:, s], ALL[:, t]] for s in range(len(SLOTS)) for t in range(s)
    )


def test_few_combinations_are_all_of_them_and_nothing_is_asked() -> None:
    two = {slot: FRONTS[slot] for slot in SLOTS[:2]}
    rules = combined(two, {}, lambda _: pytest.fail("nobody needs to know"))
    assert len(set(rules)) == N_ENTRIES**2


@pytest.mark.parametrize("seed", range(5))
def test_the_best_of_independent_slots_is_found(seed: int) -> None:
    network = Network(seed, coupling=0.0)
    rules = combined(FRONTS, {}, network)
    assert min(network.loss(picks_of(rule)) for rule in rules) == pytest.approx(of_all(network).min())
    assert network.n_asked < N_ENTRIES ** len(SLOTS) / 10
    assert len(rules) <= MOST_COMBINATIONS


def test_coupled_slots_end_near_the_best() -> None:
    """Where slots depend on each other block coordinates may miss the best, but not by much."""
    shares = []
    for seed in range(20):
        network = Network(seed, coupling=0.3)
        found = min(network.loss(picks_of(rule)) for rule in combined(FRONTS, {}, network))
        shares.append(np.mean(of_all(network) < found - 1e-9))
    assert np.median(shares) == 0.0
    assert max(shares) < 0.001


def test_what_explodes_is_left_behind_and_no_rule_is_asked_twice() -> None:
    network = Network(0, coupling=0.0)
    seen: list[Rule] = []

    def losses(rules: Sequence[Rule]) -> np.ndarray:
        seen.extend(rules)
        values = network(rules)
        values[[picks_of(rule)[0] == 3 for rule in rules]] = np.nan
        return values

    rules = combined(FRONTS, {}, losses)
    assert len(seen) == len(set(seen))
    assert all(picks_of(rule)[0] != 3 for rule in rules)


def test_a_slot_without_proposals_is_left_out_and_constants_are_in_every_rule() -> None:
    spiking = {"on_pre": FRONTS["on_pre"], "on_post": []}
    rules = combined(spiking, {"tau_post": parse("20", ())}, lambda _: np.zeros(0))
    assert len(rules) == N_ENTRIES
    assert all(rule.slots == ("on_pre", "tau_post") for rule in rules)
    assert combined({"on_pre": []}, {}, lambda _: np.zeros(0)) == []
