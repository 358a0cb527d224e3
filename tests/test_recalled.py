"""Engines whose proposals a journal keeps: asked once, and what comes back is the same to the bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import trees
from test_search_terms import sampled

from discover.errors import DiscoverError
from discover.expression import Node, const, parse
from discover.journal import Journal, JournaledTask
from discover.search.engine import Availability, Proposal, Samples, SearchSettings
from discover.search.recalled import RecalledEngine, packed, unpacked
from discover.tasks import get_task

TASK = get_task("oja")
PROBLEMS = TASK.draw(
    TASK.settings_type(n_inputs=2, n_samples=4, n_steps=4, batch=2), 2, np.random.SeedSequence(0)
)


class Counting:
    """An engine that counts how often it is asked."""

    name = "counting"

    def __init__(self) -> None:
        self.asked = 0

    def availability(self) -> Availability:
        return Availability(self.name, True, "1")

    def propose(self, samples: Samples, settings: SearchSettings, seed: int, progress: Any) -> list[Proposal]:
        self.asked += 1
        tree = parse("x*y - 0.1*w*y**2 + max(x, tanh(-y))", samples.variables)
        return [Proposal(tree, 0.1 + self.asked, self.name), Proposal(const(1 / 3), float("inf"), self.name)]


def ask(
    engine: Counting, path: Path, seed: int = 0, settings: SearchSettings | None = None
) -> list[Proposal]:
    with Journal(path, "p") as journal:
        recalled = RecalledEngine(engine, JournaledTask(TASK, journal), PROBLEMS)
        assert recalled.availability() == engine.availability()
        return recalled.propose(sampled("x*y", n=30), settings or SearchSettings(), seed)


def test_an_engine_is_asked_once(tmp_path: Path) -> None:
    engine = Counting()
    first = ask(engine, tmp_path / "journal")
    assert ask(engine, tmp_path / "journal") == first
    assert engine.asked == 1


@pytest.mark.parametrize("other", [{"seed": 1}, {"settings": SearchSettings(max_nodes=7)}])
def test_another_question_is_asked_again(tmp_path: Path, other: dict[str, Any]) -> None:
    engine = Counting()
    ask(engine, tmp_path / "journal")
    ask(engine, tmp_path / "journal", **other)
    assert engine.asked == 2


def test_without_a_journal_the_engine_is_asked(tmp_path: Path) -> None:
    engine = Counting()
    for _ in range(2):
        RecalledEngine(engine, TASK, PROBLEMS).propose(sampled("x*y", n=30), SearchSettings(), 0)
    assert engine.asked == 2


@given(st.lists(st.tuples(trees(), st.floats(allow_nan=False)), max_size=4))
def test_proposals_come_back_as_they_were(content: list[tuple[Node, float]]) -> None:
    proposals = [Proposal(tree, nmse, "engine") for tree, nmse in content]
    assert unpacked(packed(proposals)) == proposals
    assert [str(one.expression) for one in unpacked(packed(proposals))] == [str(tree) for tree, _ in content]


@pytest.mark.parametrize(
    "text",
    [
        "",
        '{"a": 1}',
        "[1]",
        '[[[["const", 1.0]], 0.5]]',
        '[[[], 0.5, "e"]]',
        '[[[["add", 2]], 0.5, "e"]]',
        '[[[["import", 0]], 0.5, "e"]]',
        '[[[["const", "1e999"]], 0.5, "e"]]',
        '[[[["var", "a.b"]], 0.5, "e"]]',
        "[" * 100_000,
    ],
)
def test_a_journal_that_holds_something_else_is_said(text: str) -> None:
    with pytest.raises(DiscoverError):
        unpacked({"text": np.frombuffer(text.encode(), dtype=np.uint8)})
