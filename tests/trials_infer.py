"""How often `infer` is right: data without a law, weak laws, and laws outside of what it searches.

    python tests/trials_infer.py nulls weak inside outside --draws 20

prints a table of counts with Wilson's 95 % intervals. Seeds are drawn anew unless --entropy names one. Data
without a law are searched only where the comparison with rearranged data does not say "no rule" already.
"""

from __future__ import annotations

import argparse
import math
from collections import Counter
from collections.abc import Callable, Mapping

import numpy as np
from scipy.signal import lfilter

from discover.expression import canonical, constants, parse, with_constants
from discover.inference import Inference, InferSettings, from_rows, infer
from discover.inference.chance import by_chance_alone
from discover.inference.recordings import Recordings
from discover.inference.verdict import BY_CHANCE

NAMES = ("x", "y", "w")
Make = Callable[[np.random.Generator], Recordings]

# ------------------------------------------------------------------------------- data without and with a law


def slow(rng: np.random.Generator, n: int, columns: int, memory: float) -> np.ndarray:
    """Autoregressive columns of unit variance."""
    noise = rng.normal(size=(n + 500, columns)) * math.sqrt(1 - memory**2)
    return lfilter([1.0], [1.0, -memory], noise, axis=0)[500:]


def without_law(kind: str, rng: np.random.Generator, n_recordings: int = 8, n: int = 100) -> Recordings:
    """States and an update that have nothing to do with each other; ``one`` for a single series."""
    slope, course = rng.normal(size=4), slow(rng, n, 1, 0.9)
    parts = []
    for _ in range(n_recordings):
        columns = rng.normal(size=(n, 4))
        if kind == "autocorrelated":
            columns = slow(rng, n, 4, 0.97)
        elif kind == "offsets":
            columns = columns + 1.5 * rng.normal(size=4)
        elif kind == "random walks":
            columns = np.cumsum(columns, axis=0)
        elif kind == "shared trends":
            columns = columns + 2 * slope * np.linspace(-1, 1, n)[:, None] * rng.uniform(0.7, 1.3, 4)
        elif kind == "shared protocol":
            columns = slow(rng, n, 4, 0.9)
            columns[:, :1] = course
        parts.append(columns)
    if kind.startswith("one series"):
        parts = [
            slow(rng, n * n_recordings, 4, 0.95) if "auto" in kind else rng.normal(size=(n * n_recordings, 4))
        ]
    table = np.concatenate(parts)
    labels = None if len(parts) == 1 else np.repeat([f"r{k}" for k in range(len(parts))], n)
    return from_rows(NAMES, table[:, :3], table[:, 3], labels)


def weak_law(
    law: Callable[..., np.ndarray],
    explained: float,
    rng: np.random.Generator,
    memory: float = 0.0,
    offset: float = 0.0,
    protocol: bool = False,
    n_recordings: int = 8,
    n: int = 100,
) -> Recordings:
    """A law that explains a share of the variance, apart from offsets of recordings."""
    course = rng.normal(size=n)
    states = [slow(rng, n, 3, memory) for _ in range(n_recordings)]
    if protocol:
        for one in states:
            one[:, 0] = course
    noise = [slow(rng, n, 1, memory)[:, 0] + offset * rng.normal() for _ in range(n_recordings)]
    table = np.concatenate(states)
    update = law(*table.T)
    update = update / update.std() * math.sqrt(explained / (1 - explained)) + np.concatenate(noise)
    return from_rows(NAMES, table, update, np.repeat([f"r{k}" for k in range(n_recordings)], n))


def strong_law(
    law: Callable[..., np.ndarray], noise: float, positive: bool, rng: np.random.Generator, n: int = 1000
) -> Recordings:
    """Ten recordings of different sizes of the states; noise relative to the rms of the update."""
    sizes = np.repeat(rng.uniform(0.7, 1.3, 10), n // 10)
    states = (rng.uniform(0, 2, (n, 3)) if positive else rng.normal(size=(n, 3))) * sizes[:, None]
    update = law(*states.T)
    update = update + noise * np.sqrt(np.mean(update**2)) * rng.normal(size=n)
    return from_rows(NAMES, states, update, np.repeat([f"r{k}" for k in range(10)], n // 10))


NULLS = (
    "white noise",
    "autocorrelated",
    "offsets",
    "random walks",
    "shared trends",
    "shared protocol",
    "one series, white",
    "one series, autocorrelated",
)

WEAK: Mapping[str, Callable[..., np.ndarray]] = {
    "x": lambda x, y, w: x,
    "x*y - 0.5*w": lambda x, y, w: x * y - 0.5 * w,
    "x*tanh(y) - 0.4*w*y**2": lambda x, y, w: x * np.tanh(y) - 0.4 * w * y**2,
}

INSIDE: Mapping[str, tuple[Callable[..., np.ndarray], bool]] = {
    "x*y - 0.2*w": (lambda x, y, w: x * y - 0.2 * w, False),
    "x*y - w*y**2": (lambda x, y, w: x * y - w * y**2, False),
    "x*tanh(y) - 0.5*w*y**2": (lambda x, y, w: x * np.tanh(y) - 0.5 * w * y**2, False),
    "x*y/(0.5 + y) - 0.3*w*y": (lambda x, y, w: x * y / (0.5 + y) - 0.3 * w * y, True),
    "x*exp(-abs(y)/0.8) - 0.1*w": (lambda x, y, w: x * np.exp(-np.abs(y) / 0.8) - 0.1 * w, False),
    "0.8*x*y - 0.5*w*y**2 + 0.3*x**2 - 0.4*w": (
        lambda x, y, w: 0.8 * x * y - 0.5 * w * y**2 + 0.3 * x**2 - 0.4 * w,
        False,
    ),
}

OUTSIDE: Mapping[str, Callable[..., np.ndarray]] = {
    "x*sin(2*y) - 0.1*w": lambda x, y, w: x * np.sin(2 * y) - 0.1 * w,
    "y*cos(3*x) - 0.2*w": lambda x, y, w: y * np.cos(3 * x) - 0.2 * w,
    "tanh(x*y - w)": lambda x, y, w: np.tanh(x * y - w),
    "(x - w)*tanh(y - x)": lambda x, y, w: (x - w) * np.tanh(y - x),
    "(x*y - 0.5*w)/(1 + x**2 + y**2)": lambda x, y, w: (x * y - 0.5 * w) / (1 + x**2 + y**2),
    "sqrt(1 + x**2 + y**2) - w": lambda x, y, w: np.sqrt(1 + x**2 + y**2) - w,
    "x*max(y - 0.5, 0) - 0.2*w": lambda x, y, w: x * np.maximum(y - 0.5, 0) - 0.2 * w,
    "1 if x*y > 0 else -0.5, minus 0.3*w": lambda x, y, w: np.where(x * y > 0, 1.0, -0.5) - 0.3 * w,
}


# ------------------------------------------------------------------------------------------------- judgement


def has_form(found: Inference, law: str) -> bool:
    """Whether the chosen rule is the law with constants of its own, those near one left away."""

    def text(node: object) -> str:
        values = [1.0 if abs(abs(v) - 1) < 0.1 else v for v in constants(node)]
        node = canonical(
            with_constants(node, [math.copysign(1.0, v) if abs(v) == 1 else v for v in values]), NAMES
        )
        return str(
            with_constants(node, [math.copysign(0.37, v) if abs(v) != 1 else v for v in constants(node)])
        )

    return text(found.rule.expression()) == text(canonical(parse(law, NAMES), NAMES))


def said(found: Inference) -> str:
    """What the verdict says: ``no rule``, ``missing`` or ``rule``."""
    if found.verdict.form_missing:
        return "missing"
    return "rule" if found.verdict.supported else "no rule"


def interval(count: int, n: int) -> str:
    """Wilson's 95 % interval."""
    z, share = 1.96, count / n
    middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    reach = z / (1 + z**2 / n) * math.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return f"{middle - reach:.2f}-{middle + reach:.2f}"


def row(name: str, counts: Counter[str], n: int) -> str:
    """Return one row of the table."""
    cells = [f"{key} {counts[key]} ({interval(counts[key], n)})" for key in sorted(counts)]
    return f"| {name} | {n} | {', '.join(cells)} |"


def cases(what: str) -> dict[str, Make]:
    """Return what is drawn, by name."""
    if what == "nulls":
        return {kind: lambda rng, kind=kind: without_law(kind, rng) for kind in NULLS}
    if what == "weak":
        made: dict[str, Make] = {}
        for name, law in WEAK.items():
            for share in (0.1, 0.3):
                made[f"{name}, R2 {share}"] = lambda rng, law=law, share=share: weak_law(law, share, rng)
            made[f"{name}, R2 0.3, autocorrelated"] = lambda rng, law=law: weak_law(law, 0.3, rng, memory=0.8)
            made[f"{name}, R2 0.3, offsets"] = lambda rng, law=law: weak_law(law, 0.3, rng, offset=1.0)
            made[f"{name}, R2 0.3, one protocol"] = lambda rng, law=law: weak_law(
                law, 0.3, rng, protocol=True
            )
        return made
    if what == "inside":
        return {
            f"{name}, noise {noise}": lambda rng, law=law, noise=noise: strong_law(law[0], noise, law[1], rng)
            for name, law in INSIDE.items()
            for noise in (0.1, 0.3)
        }
    return {
        f"{name}, noise {noise}": lambda rng, law=law, noise=noise: strong_law(law, noise, False, rng)
        for name, law in OUTSIDE.items()
        for noise in (0.1, 0.3)
    }


def said_without_law(recordings: Recordings, settings: InferSettings, engines: tuple[str, ...]) -> str:
    """What the verdict says, without the search where the comparison with chance already decides."""
    searched, _ = recordings.held_apart(settings.heldout, settings.seed)
    chance = by_chance_alone(recordings.of(searched), settings, bool(engines))
    if chance is not None and chance.p > BY_CHANCE:
        return "no rule"
    return said(infer(recordings, settings, engines))


def outcome(what: str, name: str, found: Inference) -> str:
    """Name what came of one draw."""
    verdict = said(found)
    if what == "weak":
        return verdict
    if has_form(found, name.split(", noise")[0]) if what == "inside" else False:
        return "found" if verdict == "rule" else f"found, said {verdict}"
    return {"rule": "wrong without warning", "missing": "said missing", "no rule": "said no rule"}[verdict]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="+", choices=["nulls", "weak", "inside", "outside"])
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--engine", default="terms", help="terms, operon, or none for polynomials")
    parser.add_argument("--entropy", type=int)
    parser.add_argument("--only", default="")
    given = parser.parse_args()
    root = np.random.SeedSequence(given.entropy)
    print(f"entropy {root.entropy}, engine {given.engine}", flush=True)
    engines = () if given.engine == "none" else tuple(given.engine.split(","))
    for what in given.what:
        print(f"| {what} | draws | outcomes, 95 % intervals |\n|---|---|---|", flush=True)
        for name, make in cases(what).items():
            if given.only not in name:
                continue
            counts: Counter[str] = Counter()
            for child in root.spawn(given.draws):
                recordings = make(np.random.default_rng(child))
                if what == "nulls":
                    counts[said_without_law(recordings, InferSettings(), engines)] += 1
                else:
                    counts[outcome(what, name, infer(recordings, engines=engines))] += 1
            print(row(name, counts, given.draws), flush=True)


if __name__ == "__main__":
    main()
