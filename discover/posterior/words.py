"""A posterior in plain sentences, for the command line and the report."""

from __future__ import annotations

import numpy as np

from discover.posterior.forms import Direction, Posterior

__all__ = ["RESTART", "answers_of"]

RESTART = "restart"
"""How names of rules begin that restarts of the search found."""

STIFF, SLOPPY = 0.5, 0.8
"""Spread over that of the prior up to which a direction is stiff, and from which on it is sloppy."""

MOST_NAMED = 3
CLAIMED = 0.95


def answers_of(posterior: Posterior) -> dict[str, str]:
    """Return what a posterior says, by what it is about."""
    found = {
        "samples": _samples(posterior),
        "spent": _spent(posterior),
        "calibration": _calibration(posterior),
        "predictive": _predictive(posterior),
        "stiff and sloppy": _directions(posterior),
        "compensations": _compensations(posterior),
        "rules": _placed(posterior),
        "surface": _surface(posterior),
        "second sampler": _sampler(posterior),
        "excluded": _excluded(posterior),
        "prediction": _bands(posterior),
        "notes": " ".join(posterior.notes),
    }
    return {name: text for name, text in found.items() if text}


def _samples(posterior: Posterior) -> str:
    n = posterior.family.n_parameters
    means = {
        "neural": f"rules that do {posterior.n_problems} problems in a row ({posterior.condition})",
        "exact": f"rules given {posterior.n_problems} protocols ({posterior.condition})",
        "screen": f"rules of a screen ({posterior.condition})",
    }
    return (
        f"{posterior.n_samples} samples of {means[posterior.method]}, {n} "
        f"parameter{'s' if n > 1 else ''}; they tell "
        f"as much as {posterior.effective_samples:.0f} independent ones."
    )


def _spent(posterior: Posterior) -> str:
    spent = posterior.spent
    if not spent.n_rules:
        return "" if posterior.method != "exact" else "Nothing was simulated: the likelihood is known."
    text = (
        f"{spent.n_rules} rules were simulated in {spent.n_runs} inner loops; {spent.n_accepted} of them "
        "do what is "
        f"asked. Of rules drawn from the prior {spent.prior_share:.1%} do"
    )
    if np.isfinite(spent.restricted_share) and posterior.method == "neural":
        text += f", of those drawn where the classifier expects such rules {spent.restricted_share:.0%}"
    if np.isfinite(spent.restricted_share) and posterior.method == "screen":
        text += (
            "; of quartets that the classifier had not seen, weighed as samples of the posterior are, "
            f"{spent.restricted_share:.1%} do, {spent.restricted_share / max(spent.prior_share, 1e-12):.1f} "
            "times as many"
        )
    more = (
        f" Weighing and checking took {spent.n_checked_runs} more inner loops."
        if spent.n_checked_runs
        else ""
    )
    return f"{text}.{more}"


def _calibration(posterior: Posterior) -> str:
    found = posterior.calibration
    if found is None:
        return ""
    verdict = "uniform, as they should be" if found.passed else "not uniform: the network is not calibrated"
    return (
        f"Ranks of {found.n_tests} rules that the network was not trained on are {verdict} (lowest p, "
        "times the "
        f"number of parameters, {found.lowest_p:.2f}; a classifier tells them from uniform ones with "
        "accuracy "
        f"{found.c2st_ranks:.2f}, and samples from these rules with {found.c2st_prior:.2f}; chance is "
        "0.5). Regions "
        f"of the posterior hold their share of these rules to within {found.largest_gap:.2f}."
    )


def _predictive(posterior: Posterior) -> str:
    found = posterior.predictive
    if posterior.method == "screen":
        return _fresh(posterior)
    if found is None:
        return ""
    text = (
        f"On {found.n_problems} fresh problems {found.share:.1%} of {found.n_samples} samples do the "
        "task (95 % "
        f"interval {found.low:.1%} to {found.high:.1%})"
    )
    if np.isfinite(found.unweighed_share):
        text += f"; of the network's own samples, before they are weighed, {found.unweighed_share:.1%}"
    return f"{text}."


def _fresh(posterior: Posterior) -> str:
    found, before = posterior.predictive, posterior.spent
    if found is None:
        return "No sample was simulated anew; the option --fresh does it."
    gain = found.share / max(before.prior_share, 1e-12)
    return (
        f"Of {found.n_samples} samples that were simulated anew, {round(found.share * found.n_samples)} do "
        f"({found.share:.1%}, 95 % interval {found.low:.1%} to {found.high:.1%}), {gain:.1f} times the share "
        f"of the prior. {before.n_rules + found.n_samples} rules were simulated in all."
    )


def _directions(posterior: Posterior) -> str:
    if not posterior.directions:
        return ""
    stiff = [one for one in posterior.directions if one.spread <= STIFF]
    sloppy = [one for one in posterior.directions if one.spread >= SLOPPY]
    first, last = posterior.directions[0], posterior.directions[-1]
    return (
        f"{len(stiff)} of {len(posterior.directions)} directions are stiff (less than half of the "
        "prior's spread) "
        f"and {len(sloppy)} are sloppy (at least 0.8 of it). Stiffest: {_axis(first)}, with "
        f"{first.spread:.2f} of "
        f"the prior's spread. Sloppiest: {_axis(last)}, with {last.spread:.2f}."
    )


def _axis(direction: Direction) -> str:
    ordered = sorted(direction.weights.items(), key=lambda item: -abs(item[1]))[:MOST_NAMED]
    return ", ".join(f"{value:+.2f} {name}" for name, value in ordered)


def _compensations(posterior: Posterior) -> str:
    if not posterior.compensations:
        return ""
    named = [
        f"{one.first} and {one.second} ({one.correlation:+.2f})"
        for one in posterior.compensations[:MOST_NAMED]
    ]
    return f"What makes up for what, at fixed values of all else: {'; '.join(named)}."


def _placed(posterior: Posterior) -> str:
    single = [one for one in posterior.placed if not one.name.startswith(RESTART)]
    restarts = [one for one in posterior.placed if one.name.startswith(RESTART)]
    ranked = [one for one in single if np.isfinite(one.density_rank)]
    rest = [one for one in single if not np.isfinite(one.density_rank)]
    parts = []
    if ranked:
        named = "; ".join(
            f"{one.name} {one.density_rank:.2f}"
            + (f" at {one.speed:.3g} times its speed" if one.speed != 1 else "")
            for one in ranked
        )
        parts.append(f"Share of samples with a lower density than each rule: {named}.")
    if rest:
        parts.append("Without a rank: " + "; ".join(f"{one.name}, {one.why}" for one in rest) + ".")
    if restarts:
        ranks = [one.density_rank for one in restarts if np.isfinite(one.density_rank)]
        parts.append(
            f"Of {len(restarts)} rules that restarts of the search found, {len(ranks)} lie within the prior"
            + (
                f", with {min(ranks):.2f} to {max(ranks):.2f} of the samples at lower densities, "
                f"{np.median(ranks):.2f} in the middle."
                if ranks
                else "."
            )
        )
    return " ".join(parts)


def _surface(posterior: Posterior) -> str:
    found = posterior.surface
    if found is None:
        return ""
    low, _, middle, _, high = found.predicted
    low_corrected, _, middle_corrected, _, high_corrected = found.corrected
    return (
        f"The mean field predicts {middle:.2f} times the simulated rate ({low:.2f} to {high:.2f} over "
        f"{found.n_samples} "
        f"samples); with the measured covariances of the spike trains {middle_corrected:.2f} times "
        f"({low_corrected:.2f} "
        f"to {high_corrected:.2f}), within 20 % for {found.within:.0%}. The surface of rules at the "
        "target, with "
        f"covariances, lies {'inside' if found.inside else 'outside'} the samples."
    )


def _sampler(posterior: Posterior) -> str:
    found = posterior.sampler
    if found is None:
        return ""
    worst = max(found.distances.values())
    return (
        f"Hamiltonian sampling with exact gradients at temperature {found.temperature:.3g} "
        f"({found.effective_chain:.0f} "
        "effective samples) and the network's samples weighed for the same target "
        f"({found.effective_network:.0f}) "
        f"differ by {worst:.2f} at most between the cumulative distributions of a parameter."
    )


def _excluded(posterior: Posterior) -> str:
    if not posterior.exclusions:
        return ""
    one = max(posterior.exclusions, key=lambda entry: entry.level)
    level = f"{one.level:.2%}" if one.level < 0.9999 else f"more than {0.9999:.2%}"
    return (
        f"Rules of {one.name}, without {one.without}, are excluded at a level of {level}; the data make "
        "the family "
        f"{one.odds:.3g} times as probable as them."
    )


def _bands(posterior: Posterior) -> str:
    left = [one for one in posterior.bands if not one.is_held_out]
    held = [one for one in posterior.bands if one.is_held_out]
    if not left:
        return ""
    chosen = [one for one in posterior.band_coverage if one.nominal in (0.5, 0.9)]
    text = "Bands of prediction for protocols left out one by one hold " + ", ".join(
        f"{round(one.found * one.n)} of {one.n} where they claim {one.nominal:.0%}" for one in chosen
    )
    if held:
        inside = sum(one.level <= CLAIMED for one in held)
        text += f". Of {len(held)} protocols of other groups the 95 % band holds {inside}"
    return f"{text}."
