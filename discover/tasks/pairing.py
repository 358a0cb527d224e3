"""Task ``pairing``: a rule that explains what pairing experiments did to synapses.

The problems are protocols, spikes of two neurons, and no network is simulated: the weight starts at one, and
a rule says how it jumps at every spike. The loss of a protocol is the squared difference between predicted
and measured change, in standard errors, over the mean of the squared changes in standard errors: a rule that
does nothing has a mean loss of one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from discover.errors import ConfigError
from discover.known_rules import KnownRule
from discover.pairing.evidence import split
from discover.pairing.fit import PairingSettings
from discover.pairing.protocols import SHIPPED, Protocol, read_protocols
from discover.pairing.rules import events_of, in_pairing_slots, weights_by
from discover.rule import Rule
from discover.slots import POST_SPIKE, PRE_SPIKE, TAU_POST, TAU_PRE, TAU_SLOW_POST, TAU_SLOW_PRE
from discover.tasks.base import Answer, Fold, Task, VisitedStates, rule_of
from sims.pairing import Tie

if TYPE_CHECKING:
    from discover.slots import Slot

__all__ = ["TASK", "PairingTask", "ProtocolProblems", "protocols_of"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

LARGEST_LOSS = 1e6


@dataclass(frozen=True, eq=False)
class ProtocolProblems:
    """Protocols as problems.

    Attributes
    ----------
    protocols : tuple of Protocol
    scale : float
        Mean of the squared changes in standard errors, over all protocols of the task.
    tie : str
        Which of two spikes in one instant comes first.
    """

    protocols: tuple[Protocol, ...]
    scale: float
    tie: Tie

    @property
    def n_problems(self) -> int:
        """Number of protocols."""
        return len(self.protocols)

    @property
    def n_steps(self) -> int:
        """Largest number of spikes of a protocol."""
        return max(len(one.pre_ms) + len(one.post_ms) for one in self.protocols)

    def subset(self, indices: Sequence[int] | IntArray) -> ProtocolProblems:
        """Return some of them."""
        return ProtocolProblems(tuple(self.protocols[int(one)] for one in indices), self.scale, self.tie)

    def errors_of(self, weights: FloatArray) -> FloatArray:
        """Return final weights less one, less the measured changes, in standard errors."""
        changes = np.array([one.change for one in self.protocols])
        found: FloatArray = (weights - 1.0 - changes) / np.array([one.error for one in self.protocols])
        return found

    def losses_of(self, weights: FloatArray) -> FloatArray:
        """Return the losses that go with final weights."""
        losses: FloatArray = self.errors_of(weights) ** 2 / self.scale
        bounded: FloatArray = np.minimum(np.nan_to_num(losses, nan=LARGEST_LOSS), LARGEST_LOSS)
        return bounded


def protocols_of(settings: PairingSettings) -> tuple[Protocol, ...]:
    """Return all protocols that settings name.

    Raises
    ------
    ConfigError
        If a table cannot be read, or a row is no protocol.
    """
    return read_protocols(
        Path(settings.table) if settings.table else SHIPPED,
        settings.columns,
        Path(settings.spikes) if settings.spikes else None,
        settings.error,
    )


class PairingTask(Task):
    """Explain what pairing experiments did."""

    name: ClassVar[str] = "pairing"
    title: ClassVar[str] = "Changes of synapses in pairing experiments"
    slots: ClassVar[tuple[Slot, ...]] = (
        PRE_SPIKE, POST_SPIKE, TAU_PRE, TAU_POST, TAU_SLOW_PRE, TAU_SLOW_POST,
    )  # fmt: skip
    settings_type: ClassVar[type] = PairingSettings
    reference: ClassVar[str] = "stdp-triplet"
    known_rules: ClassVar[tuple[str, ...]] = (
        "stdp-additive", "stdp-triplet", "stdp-triplet-full", "stdp-multiplicative", "stdp-power-law",
        "stdp-guetig",
    )  # fmt: skip
    measures: ClassVar[dict[str, str]] = {
        "error": "predicted less measured change, in standard errors, without its sign"
    }

    def in_own_slots(self, rule: Rule) -> Rule:
        """Return a rule of spiking synapses in the slots of this task."""
        return in_pairing_slots(rule)

    def data_digest(self, settings: PairingSettings) -> str:
        """Return the checksum of the tables; what the settings say where they are gone."""
        from hashlib import sha256

        paths = [Path(one) for one in (settings.table, settings.spikes) if one] or [SHIPPED]
        try:
            return sha256(b"".join(sha256(path.read_bytes()).digest() for path in paths)).hexdigest()
        except OSError:
            return settings.sha256

    def answer_for(self, settings: PairingSettings) -> Answer:
        """Say that there is one form to find in the table of the program, and nothing in permuted changes."""
        return "nothing" if settings.permuted else "one form"

    def draw(self, settings: PairingSettings, n_problems: int, seed: np.random.SeedSequence) -> Any:
        """Return the protocols that rules are fitted to; there are as many as there are."""
        protocols = split(protocols_of(settings), settings, int(seed.generate_state(1)[0])).fitted
        size = float(np.mean([(one.change / one.error) ** 2 for one in protocols]))
        if not size > 0:
            raise ConfigError("No protocol of the table changed anything: there is nothing to explain.")
        return ProtocolProblems(protocols, size, settings.tie)

    def losses(self, rule: Any, problems: Any, n_steps: int | None = None) -> FloatArray:
        """Loss of each protocol."""
        if not isinstance(rule, Rule):
            rule = rule_of(self, rule)
        ends = [weights[-1] for weights in weights_by(rule, problems.protocols, problems.tie)]
        losses: FloatArray = problems.losses_of(np.array(ends))
        return losses

    def probe(self, problems: Any, n_states: int, seed: np.random.SeedSequence) -> dict[str, VisitedStates]:
        """States at the spikes of the protocols with the usual time constants, and random weights."""
        return self._states(Rule.parse("pre_spike: 0; post_spike: 0"), problems, n_states, seed, spread=0.5)

    def visit(
        self, rule: Any, problems: Any, n_states: int, seed: np.random.SeedSequence
    ) -> dict[str, VisitedStates]:
        """States at the spikes of the protocols under a rule."""
        return self._states(rule if isinstance(rule, Rule) else rule_of(self, rule), problems, n_states, seed)

    def _states(
        self,
        rule: Rule,
        problems: ProtocolProblems,
        n_states: int,
        seed: np.random.SeedSequence,
        spread: float = 0.0,
    ) -> dict[str, VisitedStates]:
        rng, events = np.random.default_rng(seed), events_of(rule, problems.protocols, problems.tie)
        before = np.concatenate(
            [weights[:-1] for weights in weights_by(rule, problems.protocols, problems.tie)]
        )
        number = np.repeat(np.arange(problems.n_problems), np.diff(events.starts))
        step = np.arange(len(number)) - events.starts[number]
        columns = {name: values[0] for name, values in events.traces.items()}
        columns["w"] = before + rng.uniform(-spread, spread, len(before))
        found = {}
        for slot, rows in ((PRE_SPIKE, events.is_pre), (POST_SPIKE, ~events.is_pre)):
            places = np.flatnonzero(rows & np.isfinite(columns["w"]))
            picks = np.sort(rng.choice(places, n_states)) if places.size else places
            values = np.column_stack([columns[name][picks] for name in slot.variables])
            found[slot.name] = VisitedStates(values, number[picks], step[picks])
        return found

    def evaluate(self, rule: Rule | KnownRule, problems: Any) -> dict[str, FloatArray]:
        """Measures of each protocol."""
        found = rule if isinstance(rule, Rule) else rule.rule
        assert found is not None  # there are no known networks
        ends = np.array([weights[-1] for weights in weights_by(found, problems.protocols, problems.tie)])
        return {"error": np.abs(problems.errors_of(ends)), "loss": problems.losses_of(ends)}

    def learning_curve(
        self, rule: Rule | KnownRule, problems: Any, n_points: int
    ) -> tuple[IntArray, FloatArray]:
        """Loss if the experiment had ended after so many spikes, of all that a protocol has."""
        found = rule if isinstance(rule, Rule) else rule.rule
        assert found is not None
        tables = weights_by(found, problems.protocols, problems.tie)
        steps = np.linspace(0, problems.n_steps, n_points).round().astype(np.int64)
        weights = np.array([[table[min(step, len(table) - 1)] for table in tables] for step in steps])
        return steps, np.array([problems.losses_of(row) for row in weights])

    def folds(self, settings: Any) -> tuple[Fold, ...]:
        """Return none: protocols are left out by themselves, by frequency, by lag and by group instead."""
        return ()


TASK = PairingTask()
