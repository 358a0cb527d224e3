"""Candidates for a table of protocols: products of traces, bent forms, what engines propose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from discover.pairing.evidence import grouped
from discover.pairing.fit import PairingFit, PairingSettings, simplest
from discover.pairing.grid import Bench, Ranked
from discover.pairing.symbolic import N_LEADING, proposed, variants
from discover.progress import Progress, part, silent
from discover.search.engine import Engine
from discover.search.settings import SearchSettings

__all__ = ["Candidate", "Candidates", "candidates_for"]

N_PRODUCTS, N_BENT, N_PROPOSED = 12, 10, 15
"""Most candidates of each kind that are kept."""


@dataclass(frozen=True, eq=False)
class Candidate:
    """A rule with who proposed it.

    Attributes
    ----------
    ranked : Ranked
    proposed_by : list of str
    same : list of Ranked
        Rules of the same size that say the same of all protocols, because these do not tell terms apart.
    """

    ranked: Ranked
    proposed_by: list[str]
    same: list[Ranked] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class Candidates:
    """All that were kept, best first.

    Attributes
    ----------
    every : list of Candidate
    chosen : Candidate
    n_tried : int
        Forms that were judged, also those that are not kept.
    """

    every: list[Candidate]
    chosen: Candidate
    n_tried: int


def candidates_for(
    bench: Bench,
    found: PairingFit,
    settings: PairingSettings,
    engines: Sequence[Engine],
    search: SearchSettings,
    seed: int,
    progress: Progress = silent,
) -> Candidates:
    """Return the candidates and choose the best of the simplest that are as good as the best.

    Parameters
    ----------
    bench : Bench
    found : PairingFit
        Sets of terms that were tried.
    settings : PairingSettings
    engines : sequence of Engine
    search : SearchSettings
        Of the engines.
    seed : int
    progress : callable, optional
    """
    products = grouped(found.ranked)
    leading = [one for one, _ in products][:N_LEADING]
    kept = [Candidate(one, ["subsets"], same) for one, same in products[:N_PRODUCTS]]
    if all(one.ranked is not found.chosen for one in kept):
        kept += [Candidate(one, ["subsets"], same) for one, same in products if one is found.chosen]
    bent = []
    forms = list(variants(leading))
    for number, form in enumerate(forms):
        progress(0.3 * number / len(forms), f"bent forms of the best rules, {number + 1} of {len(forms)}")
        bent.append(bench.judged(form))
    proposals = proposed(
        bench, leading[:1], engines, search, settings.most_terms + 1, seed, part(progress, 0.3, 0.95)
    )
    named = [(bench.judged(form), names) for form, names in proposals.items()]
    kept += _kept([(one, ["variants"]) for one in bent], kept, N_BENT)
    kept += _kept(named, kept, N_PROPOSED)
    kept.sort(key=lambda one: (one.ranked.left_out_chi2, one.ranked.form.size, str(one.ranked)))
    ranked = [one.ranked for one in kept]
    winner = simplest(ranked, bench.changes, bench.errors)
    chosen = next(one for one in kept if one.ranked is winner)
    progress(1.0, "candidates ranked")
    return Candidates(kept, chosen, len(found.ranked) + len(forms) + len(proposals))


def _kept(
    judged: Sequence[tuple[Ranked | None, list[str]]], there: Sequence[Candidate], most: int
) -> list[Candidate]:
    """Return the best new ones; who proposes one that is there already is written down with it."""
    from discover.pairing.evidence import same_effect

    found: list[Candidate] = []
    sound = [(one, names) for one, names in judged if one is not None]
    for one, names in sorted(sound, key=lambda pair: (pair[0].left_out_chi2, str(pair[0]))):
        twin = next((other for other in (*there, *found) if same_effect(other.ranked, one)), None)
        if twin is not None and twin.ranked.form.size <= one.form.size:
            twin.proposed_by.extend(name for name in names if name not in twin.proposed_by)
        elif len(found) < most:
            found.append(Candidate(one, list(names)))
    return found
